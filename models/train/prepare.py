"""Build the training cache: decoded, reduced pictures in one flat file, and their labels.

    python -m train.prepare --out CACHE --teacher YUNET.onnx --wider DIR --facemask DIR --lfw DIR

Every data folder is optional. Labels are the human boxes where a set has them; the teacher adds landmarks to them, and is
the only label where a set has none (LFW). Faces the teacher is unsure of are marked as ignored. A tenth of the WIDER
pictures, chosen by the hash of the name, is the development split: it goes to a cache of its own and is never trained on.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from .detector import YuNetLike
from .faces import Faces, iou

LONG_SIDE_PX = {"wider": 768, "facemask": 512, "lfw": 250}  # pictures are reduced to this, never enlarged
TEACHER_SIDE_PX = {"wider": 672, "facemask": 640, "lfw": 224}  # what the teacher works on
SURE, UNSURE = 0.6, 0.25  # teacher scores: a label of its own; ignored in between
DEV_PARTS = 10  # one of this many WIDER pictures is held out


def is_dev(name: str) -> bool:
    return zlib.crc32(Path(name).name.encode()) % DEV_PARTS == 0


def corner_boxes(xywh: list[list[float]]) -> np.ndarray:
    boxes = np.array(xywh, np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def wider(folder: Path, dev: bool) -> Iterator[tuple[Path, Faces]]:
    for entry in json.loads((folder / "labels.json").read_text()):
        if is_dev(entry["file"]) == dev:
            rows = np.array(entry["boxes_xywh_blur_invalid_occl_pose"], np.float32).reshape(-1, 8)
            yield folder / entry["file"], Faces.of(corner_boxes(rows[:, :4]), ignore=rows[:, 5] > 0, turned=rows[:, 7] > 0)


def facemask(folder: Path) -> Iterator[tuple[Path, Faces]]:
    for entry in json.loads((folder / "labels.json").read_text()):
        yield folder / entry["file"], Faces.of(corner_boxes([b[:4] for b in entry["boxes_xywh_class"]]))


def lfw(folder: Path) -> Iterator[tuple[Path, None]]:
    for path in sorted(folder.rglob("*.jpg")):
        yield path, None


def with_teacher(human: Faces | None, picture: np.ndarray, teacher: YuNetLike, side: int) -> Faces:
    """The labels of a picture: human boxes with the teacher's landmarks, and what only the teacher sees."""
    boxes, scores, points = teacher.detect(picture, side, UNSURE)
    if human is None:
        return Faces.of(boxes, points, ignore=scores < SURE)
    overlap = iou(human.boxes, boxes) if len(boxes) else np.zeros((len(human), 1))
    best = overlap.argmax(1)
    agreed = overlap.max(1) > 0.5
    if len(boxes):
        human.points[agreed] = points[best[agreed]]
        human.has_points[:] = agreed & (scores[best] > 0.5)
    alone = np.setdiff1d(np.arange(len(boxes)), best[overlap.max(1) > 0.4])
    extra = Faces.of(boxes[alone], points[alone], ignore=np.ones(len(alone)))  # a missing label or a false alarm: unknown
    return Faces.join([human, extra])


def reduced(picture: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    scale = min(1.0, side / max(picture.shape[:2]))
    if scale == 1.0:
        return picture, scale
    height, width = picture.shape[:2]
    return cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA), scale


def write_cache(out: Path, pictures: Iterator[tuple[str, Path, Faces | None]], teacher: YuNetLike) -> None:
    """`out`/pictures.bin: BGR bytes one picture after the other; `out`/labels.npz: where each is, and its faces."""
    out.mkdir(parents=True, exist_ok=True)
    offset, rows, names, sources, labels = 0, [], [], [], []
    with open(out / "pictures.bin", "wb") as file:
        for source, path, human in pictures:
            picture = cv2.imread(str(path))
            if picture is None:
                print("unreadable:", path)
                continue
            picture, scale = reduced(picture, LONG_SIDE_PX[source])
            human = human.moved((scale, scale)) if human is not None else None
            faces = with_teacher(human, picture, teacher, TEACHER_SIDE_PX[source])
            file.write(picture.tobytes())
            rows.append((offset, *picture.shape[:2], len(faces)))
            offset += picture.size
            names.append(path.name), sources.append(source), labels.append(faces)
    faces = Faces.join(labels or [Faces.empty()])
    np.savez(out / "labels.npz", rows=np.array(rows, np.int64), names=np.array(names), sources=np.array(sources), **vars(faces))
    counts = {s: sources.count(s) for s in sorted(set(sources))}
    print(f"{out}: {counts}, faces {(~faces.ignore).sum()}, with landmarks {faces.has_points.sum()}, ignored {faces.ignore.sum()}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--teacher", type=Path, required=True, help="YuNet-n with dynamic input size")
    for name in ("wider", "facemask", "lfw"):
        arguments.add_argument(f"--{name}", type=Path)
    options = arguments.parse_args()
    cv2.setNumThreads(1)
    teacher = YuNetLike(options.teacher)

    def training() -> Iterator[tuple[str, Path, Faces | None]]:
        if options.wider:
            yield from (("wider", *item) for item in wider(options.wider, dev=False))
        if options.facemask:
            yield from (("facemask", *item) for item in facemask(options.facemask))
        if options.lfw:
            yield from (("lfw", *item) for item in lfw(options.lfw))

    write_cache(options.out / "train", training(), teacher)
    if options.wider:
        write_cache(options.out / "dev", (("wider", *item) for item in wider(options.wider, dev=True)), teacher)


if __name__ == "__main__":
    main()
