"""Training samples: square views of cached pictures, mosaics of four of them, and collages of single faces over them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from . import augment, targets
from .detector import YuNetLike
from .drawn import Sprite, draw_face
from .faces import Faces
from .losses import Batch

DRAWN_FACES = 250  # kinds of drawn face per worker
TURNED_GAIN = 3.0  # untypical poses are chosen as the face of a view so much more often
SCENE_SHARE, MOSAIC_SHARE = 0.60, 0.20  # of samples; the rest are collages
DRAWN_SHARE = 0.12  # of the faces in a collage
ECHOES = 3  # times a sample is used, each time degraded anew: making one and asking the teacher costs more than degrading it
ECHO_BUFFER = 96  # samples among which the next is drawn, so that echoes are far apart


@dataclass
class Cached:
    """A picture of the cache: BGR uint8 [H, W, 3] (a view of the file) and its faces."""

    picture: np.ndarray
    faces: Faces


def load_cache(folder: Path) -> dict[str, list[Cached]]:
    """Pictures by source."""
    labels = np.load(folder / "labels.npz")
    everything = Faces(*(labels[name] for name in Faces.__dataclass_fields__))
    pixels = np.memmap(folder / "pictures.bin", np.uint8, "r")
    sources: dict[str, list[Cached]] = {}
    first = 0
    for (offset, height, width, count), source in zip(labels["rows"].tolist(), labels["sources"].tolist()):
        picture = pixels[offset : offset + height * width * 3].reshape(height, width, 3)
        sources.setdefault(source, []).append(Cached(picture, everything[first : first + count]))
        first += count
    return sources


def noise_scene(rng: np.random.Generator, size: int) -> Cached:
    """A blurred random picture without faces, for training on drawn faces alone."""
    coarse = rng.integers(0, 255, (int(rng.integers(2, 24)),) * 2 + (3,), np.uint8)
    return Cached(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), Faces.empty())


class SampleMaker:
    """Draws samples of `size` x `size` pixels: a picture and its faces, geometry done, not yet degraded."""

    def __init__(self, cache: Path | None, size: int, rng: np.random.Generator):
        self.size, self.rng = size, rng
        sources = load_cache(cache) if cache else {}
        trainable = lambda items: [c for c in items if (~c.faces.ignore).any()]
        self.portraits = trainable(sources.pop("lfw", []))
        self.scenes = [trainable(items) for items in sources.values()]
        sizes = np.array([len(items) for items in self.scenes], float)
        self.scene_odds = np.sqrt(sizes) / np.sqrt(sizes).sum() if len(sizes) else sizes
        self.drawn = [draw_face(rng, int(rng.integers(48, 160))) for _ in range(DRAWN_FACES if cache else 40)]

    def sample(self) -> tuple[np.ndarray, Faces]:
        kind = self.rng.random()
        if self.scenes and kind < SCENE_SHARE:
            picture, faces = self.scene(self.size, self.size)
        elif self.scenes and kind < SCENE_SHARE + MOSAIC_SHARE:
            picture, faces = self.mosaic()
        else:
            picture, faces = self.collage(*self.scene(self.size, self.size))
        if self.rng.random() < 0.5:
            picture, faces = cv2.flip(picture, 1), faces.mirrored(self.size)
        if self.rng.random() < 0.2:
            picture, faces = self.rotated(picture, faces)
        return picture, faces

    def face_size(self, view: int) -> float:
        """Side in pixels to bring a face to, in a view this large."""
        low, high = (7, 30) if self.rng.random() < 0.3 else (16, view * 0.95)
        return float(np.exp(self.rng.uniform(np.log(low), np.log(max(high, low + 4)))))

    def scene(self, width: int, height: int) -> tuple[np.ndarray, Faces]:
        if not self.scenes:
            return self.view(noise_scene(self.rng, self.size), width, height, 1.0, None)
        source = self.scenes[self.rng.choice(len(self.scenes), p=self.scene_odds)]
        item = source[self.rng.integers(len(source))]
        contain, cover = sorted((width / item.picture.shape[1], height / item.picture.shape[0]))
        if self.rng.random() < 0.75:
            odds = np.where(item.faces.ignore, 0.0, np.where(item.faces.turned, TURNED_GAIN, 1.0))
            focus = item.faces[[self.rng.choice(len(odds), p=odds / odds.sum())]]
            scale = self.face_size(min(width, height)) / max(focus.sizes()[0], 3)
            # Not much smaller than the view: plain ground teaches little.
            scale = max(scale, contain * self.rng.uniform(0.7, 1.0))
            return self.view(item, width, height, scale, focus.boxes[0])
        return self.view(item, width, height, cover * np.exp(self.rng.uniform(-0.2, 0.8)), None)

    def view(self, item: Cached, width: int, height: int, scale: float, focus: np.ndarray | None) -> tuple[np.ndarray, Faces]:
        """A `width` x `height` cut of a picture at about this scale, with the box `focus` in it."""
        rng, (rows, columns) = self.rng, item.picture.shape[:2]
        stretch = np.exp(rng.uniform(-0.1, 0.1))
        scale = np.clip(scale, 0.12, 3.0)
        wanted = np.array([width / (scale * stretch), height / (scale / stretch)])
        cut = np.minimum([columns, rows], wanted)
        if focus is None:
            start = rng.uniform(0, 1, 2) * ([columns, rows] - cut)
        else:
            slack = cut - (focus[2:] - focus[:2])
            start = np.where(slack > 0, focus[2:] - cut + rng.uniform(0, 1, 2) * slack, focus[:2] - rng.uniform(0, 1, 2) * -slack)
        left, top = np.clip(start, 0, [columns, rows] - cut).astype(int)
        part = item.picture[top : top + max(2, round(cut[1])), left : left + max(2, round(cut[0]))]
        out = min(width, max(1, round(width * cut[0] / wanted[0]))), min(height, max(1, round(height * cut[1] / wanted[1])))
        mode = cv2.INTER_AREA if scale < 0.8 else cv2.INTER_LINEAR
        picture = cv2.resize(part, out, interpolation=mode)
        ratio = np.array(out) / part.shape[1::-1]
        faces = item.faces.moved(ratio, -np.array([left, top]) * ratio).clipped(*out)
        return self.padded(picture, faces, width, height)

    def padded(self, picture: np.ndarray, faces: Faces, width: int, height: int) -> tuple[np.ndarray, Faces]:
        """Placed on a plain ground if smaller than the view."""
        h, w = picture.shape[:2]
        if (h, w) == (height, width):
            return picture, faces
        ground = np.full((height, width, 3), self.rng.choice([0, 0, 127, self.rng.integers(255)]), np.uint8)
        x, y = int(self.rng.integers(0, width - w + 1)), int(self.rng.integers(0, height - h + 1))
        ground[y : y + h, x : x + w] = picture
        return ground, faces.moved(shift=(x, y))

    def mosaic(self) -> tuple[np.ndarray, Faces]:
        size = self.size
        cx, cy = (int(v) for v in self.rng.uniform(0.35, 0.65, 2) * size)
        picture, parts = np.empty((size, size, 3), np.uint8), []
        for x, y, w, h in ((0, 0, cx, cy), (cx, 0, size - cx, cy), (0, cy, cx, size - cy), (cx, cy, size - cx, size - cy)):
            picture[y : y + h, x : x + w], faces = self.scene(w, h)
            parts.append(faces.moved(shift=(x, y)))
        return picture, Faces.join(parts)

    def collage(self, picture: np.ndarray, faces: Faces) -> tuple[np.ndarray, Faces]:
        """One to eight single faces pasted over a scene where they do not cover each other."""
        picture, taken = np.array(picture), []
        for _ in range(int(self.rng.integers(1, 9))):
            sprite = self.sprite()
            h, w = sprite.picture.shape[:2]
            for _ in range(6):
                x, y = int(self.rng.integers(0, self.size - w + 1)), int(self.rng.integers(0, self.size - h + 1))
                if all(x >= r or x + w <= l or y >= b or y + h <= t for l, t, r, b in taken):
                    box = x, y, x + w, y + h
                    taken.append(box)
                    paste(picture, sprite, x, y)
                    faces = Faces.join([faces.covered_by(box), sprite.faces.moved(shift=(x, y))])
                    break
        return picture, faces

    def sprite(self) -> Sprite:
        """A drawn face or a portrait, at its final size."""
        if not self.portraits or self.rng.random() < DRAWN_SHARE:
            return resized(self.drawn[self.rng.integers(len(self.drawn))], self.face_size(self.size * 0.8), self.size)
        item = self.portraits[self.rng.integers(len(self.portraits))]
        sprite = Sprite(item.picture, None, item.faces)
        if self.rng.random() < 0.7:
            sprite = self.trimmed(sprite)
        return resized(sprite, self.face_size(self.size * 0.95), self.size)

    def trimmed(self, sprite: Sprite) -> Sprite:
        """Cut to the main face and some of its surroundings."""
        box = main_face(sprite.faces)
        margin = self.rng.uniform(0.15, 0.6) * (box[2] - box[0])
        height, width = sprite.picture.shape[:2]
        left, top = (int(max(v - margin, 0)) for v in box[:2])
        right, bottom = int(min(box[2] + margin, width)), int(min(box[3] + margin, height))
        faces = sprite.faces.moved(shift=(-left, -top)).clipped(right - left, bottom - top)
        return Sprite(sprite.picture[top:bottom, left:right], None, faces)

    def rotated(self, picture: np.ndarray, faces: Faces) -> tuple[np.ndarray, Faces]:
        degrees = self.rng.uniform(-25, 25)
        matrix = cv2.getRotationMatrix2D((self.size / 2, self.size / 2), degrees, 1.0)
        picture = cv2.warpAffine(picture, matrix, (self.size, self.size))
        return picture, faces.rotated(matrix, degrees).clipped(self.size, self.size)


def main_face(faces: Faces) -> np.ndarray:
    return faces.boxes[np.argmax(faces.sizes() * ~faces.ignore)]


def resized(sprite: Sprite, face_size: float, limit: int) -> Sprite:
    """Main face brought to this width, the whole within `limit` pixels."""
    box = main_face(sprite.faces)
    height, width = sprite.picture.shape[:2]
    scale = min(face_size / max(box[2] - box[0], 1), 3.0, limit / width, limit / height)
    size = max(6, int(width * scale)), max(6, int(height * scale))
    resize = lambda image: cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 0.8 else cv2.INTER_LINEAR)
    opacity = None if sprite.opacity is None else resize(sprite.opacity)[..., None]
    return Sprite(resize(sprite.picture), opacity, sprite.faces.moved((size[0] / width, size[1] / height)))


def paste(picture: np.ndarray, sprite: Sprite, x: int, y: int) -> None:
    h, w = sprite.picture.shape[:2]
    place = picture[y : y + h, x : x + w]
    place[:] = sprite.picture if sprite.opacity is None else place * (1 - sprite.opacity) + sprite.picture * sprite.opacity


class FaceSamples(IterableDataset):
    """Endless samples with their targets; `cache` None: drawn faces only; `teacher` None: no distillation.

    `round_` should change with every start of a run, so that a resumed one does not see the same samples again.
    """

    def __init__(self, cache: Path | None, teacher: Path | None, size: int, seed: int, round_: int = 0):
        self.cache, self.teacher, self.size, self.seed, self.round = cache, teacher, size, seed, round_

    def __iter__(self) -> Iterator[tuple[np.ndarray, targets.Targets]]:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        seed = [self.seed, self.round, worker.id if worker else 0]
        rng = np.random.default_rng(seed)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        for picture, faces, target in self.echoed(rng):
            # The teacher saw the clean picture, the network sees a degraded one and must say the same.
            if rng.random() < 0.15:
                picture = np.array(picture)
                augment.draw_masks(rng, picture, faces)
            yield augment.degraded(rng, picture), target

    def echoed(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, Faces, targets.Targets]]:
        """Clean samples, each ECHOES times, in random order."""
        teacher = YuNetLike(self.teacher, features=True) if self.teacher else None
        maker, buffer = SampleMaker(self.cache, self.size, rng), []
        while True:
            if len(buffer) < ECHO_BUFFER * (ECHOES - 1) / ECHOES + 1:
                picture, faces = maker.sample()
                target = targets.distilled(teacher.maps(picture), faces) if teacher else targets.from_labels(faces, self.size)
                yield picture, faces, target
                buffer += [(picture, faces, target)] * (ECHOES - 1)
            else:
                i = int(rng.integers(len(buffer)))
                buffer[i], buffer[-1] = buffer[-1], buffer[i]
                yield buffer.pop()


def collate(samples: list[tuple[np.ndarray, targets.Targets]]) -> Batch:
    pictures = torch.from_numpy(np.stack([picture for picture, _ in samples])).permute(0, 3, 1, 2)
    dense = [np.stack([getattr(t, name) for _, t in samples]) for name in list(Batch.__dataclass_fields__)[1:8]]
    rows = [
        np.concatenate([np.full((len(t.assign), 1), i), t.assign.boxes, t.assign.points.reshape(-1, 10), t.assign.has_points[:, None]], 1)
        for i, (_, t) in enumerate(samples)
    ]
    faces = torch.from_numpy(np.concatenate(rows).astype(np.float32))
    return Batch(pictures, *(torch.from_numpy(d) for d in dense), faces)
