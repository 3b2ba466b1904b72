"""Average precision of detectors on WIDER FACE pictures, by the official protocol (IoU 0.5, lists easy, medium and hard).

    python -m train.evaluate --wider DIR ours.onnx yunet.onnx       final figures
    python -m train.evaluate --dev CACHE/dev ours.onnx yunet.onnx   the development split, while tuning

DIR holds images/, labels.json and official_gt/wider_*_val.mat. `gate`: faces of the hard list whose shorter side is at
least 40 px once the picture's long side is 640. The development split has no lists: all labelled faces of at least 10 px,
by their shorter side at that scale. One JSON object a model goes to standard output.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.io import loadmat

from .dataset import load_cache
from .detector import open_detector

SCORE_FLOOR = 0.02
MATCH_IOU = 0.5
THRESHOLDS = 1000
LONG_SIDE_PX = 640
FALSE_ALARMS_PER_PICTURE = 0.1  # where the recall of a group of faces is read
OPERATING_SCORE = 0.6  # the default threshold of the service


@dataclass
class Item:
    """One labelled picture. `keep`: which faces [n] count, by the name of a list; the others are ignored."""

    picture: np.ndarray | Path
    boxes: np.ndarray  # [n, 4] left, top, width, height
    keep: dict[str, np.ndarray]

    def read(self) -> np.ndarray:
        return cv2.imread(str(self.picture)) if isinstance(self.picture, Path) else self.picture


@dataclass
class Matches:
    """Detections of one picture, best first, and the face that each fits."""

    scores: np.ndarray  # [d]
    face: np.ndarray  # [d] index of the face with the largest IoU
    fits: np.ndarray  # [d] bool: that IoU is enough


def shorter_side(boxes: np.ndarray, picture_shape: tuple[int, ...]) -> np.ndarray:
    """Pixels once the picture's long side is LONG_SIDE_PX."""
    return boxes[:, 2:].min(1) * LONG_SIDE_PX / max(picture_shape[:2])


def size_groups(side: np.ndarray) -> dict[str, np.ndarray]:
    edges = (10, 20, 40, 80, 160, 10_000)
    return {f"size {low}-{high}" if high < 10_000 else f"size {low}+": (side >= low) & (side < high) for low, high in zip(edges, edges[1:])}


def wider_items(folder: Path) -> Iterator[Item]:
    """Pictures of labels.json with the official boxes and lists, and groups of the hard list by attribute."""
    ground = loadmat(folder / "official_gt" / "wider_face_val.mat")
    lists = {k: loadmat(folder / "official_gt" / f"wider_{k}_val.mat")["gt_list"] for k in ("easy", "medium", "hard")}
    paths = {Path(e["file"]).stem: folder / e["file"] for e in json.loads((folder / "labels.json").read_text())}
    for event in range(len(ground["event_list"])):
        for i, name in enumerate(ground["file_list"][event][0]):
            path = paths.get(str(name[0][0]))
            if path is None:
                continue
            boxes = ground["face_bbx_list"][event][0][i][0].astype(np.float64)
            keep = {k: np.isin(np.arange(len(boxes)), v[event][0][i][0].ravel().astype(int) - 1) for k, v in lists.items()}
            side = shorter_side(boxes, cv2.imread(str(path)).shape)
            keep["gate"] = keep["hard"] & (side >= 40)
            label = lambda key: ground[f"{key}_label_list"][event][0][i][0].ravel()
            groups = size_groups(side)
            for key, values in ATTRIBUTES.items():
                groups |= {f"{key}: {value}": (label(key) == n) & (side >= 20) for n, value in enumerate(values)}
            yield Item(path, boxes, keep | {k: v & keep["hard"] for k, v in groups.items()})


ATTRIBUTES = {
    "blur": ("clear", "normal", "heavy"),
    "occlusion": ("none", "partial", "heavy"),
    "pose": ("typical", "untypical"),
    "illumination": ("normal", "extreme"),
}


def dev_items(cache: Path) -> Iterator[Item]:
    for items in load_cache(cache).values():
        for item in items:
            boxes = item.faces.boxes.astype(np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            side = shorter_side(boxes, item.picture.shape)
            valid = ~item.faces.ignore
            keep = {"all": valid & (side >= 10), "gate": valid & (side >= 40), "turned": valid & item.faces.turned & (side >= 40)}
            yield Item(item.picture, boxes, keep | {k: v & valid for k, v in size_groups(side).items()})


def match(item: Item, boxes: np.ndarray, scores: np.ndarray) -> Matches:
    """`boxes` [d, 4] corners. IoU as the official code computes it: with one pixel added to every side."""
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    if not len(item.boxes) or not len(boxes):
        return Matches(scores, np.zeros(len(boxes), int), np.zeros(len(boxes), bool))
    low, high = item.boxes[:, :2], item.boxes[:, :2] + item.boxes[:, 2:]
    sides = np.minimum(boxes[:, None, 2:], high) - np.maximum(boxes[:, None, :2], low) + 1
    shared = sides.clip(0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)[:, None] + (item.boxes[:, 2:] + 1).prod(1)
    overlap = shared / (areas - shared)
    return Matches(scores, overlap.argmax(1), overlap.max(1) >= MATCH_IOU)


def average_precision(items: list[Item], matches: list[Matches], key: str) -> float:
    """Per cent, by the official protocol; nan where no face counts."""
    total = sum(item.keep[key].sum() for item in items)
    everything = np.concatenate([m.scores for m in matches])
    if not total or not len(everything):
        return float("nan")
    low, high = everything.min(), everything.max()
    levels = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS
    proposed, recalled = np.zeros(THRESHOLDS), np.zeros(THRESHOLDS)
    for item, found in zip(items, matches):
        if not len(found.scores) or not len(item.boxes):
            continue
        kept = item.keep[key][found.face] & found.fits
        first = np.zeros(len(kept), bool)
        hits = np.flatnonzero(kept)
        first[hits[np.unique(found.face[hits], return_index=True)[1]]] = True
        counts = ~(found.fits & ~kept)  # detections of faces that do not count are no proposals
        last = np.searchsorted(-(found.scores - low) / (high - low), -levels, side="right") - 1
        proposed += np.where(last >= 0, counts.cumsum()[last], 0)
        recalled += np.where(last >= 0, first.cumsum()[last], 0)
    precision = np.concatenate([[0], recalled / np.maximum(proposed, 1e-9), [0]])
    recall = np.concatenate([[0], recalled / total, [1]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * envelope[1:]).sum() * 100)


def false_alarm_scores(matches: list[Matches]) -> np.ndarray:
    """Scores of the detections that fit no labelled face, largest first."""
    return -np.sort(-np.concatenate([m.scores[~m.fits] for m in matches]))


def recall(items: list[Item], matches: list[Matches], key: str, threshold: float) -> float:
    """Per cent of the faces found at this score or above."""
    total = found = 0
    for item, m in zip(items, matches):
        hit = np.zeros(len(item.boxes), bool)
        hit[m.face[m.fits & (m.scores >= threshold)]] = True
        total += item.keep[key].sum()
        found += (hit & item.keep[key]).sum()
    return 100 * found / max(total, 1)


def evaluate(path: Path, items: list[Item], long_side: int, lists: list[str], detailed: bool) -> dict:
    """`lists` get an AP; the other groups of faces, if asked for, their recall at a common rate of false alarms."""
    detector, matches = open_detector(path), []
    for item in items:
        boxes, scores, _ = detector.detect(item.read(), long_side, SCORE_FLOOR)
        matches.append(match(item, boxes.astype(np.float64), scores.astype(np.float64)))
    result: dict = {"model": path.name} | {k: round(average_precision(items, matches, k), 2) for k in lists}
    alarms = false_alarm_scores(matches)
    threshold = float(alarms[min(int(FALSE_ALARMS_PER_PICTURE * len(items)), len(alarms) - 1)])
    result[f"score at {FALSE_ALARMS_PER_PICTURE} false alarms a picture"] = round(threshold, 3)
    result[f"gate recall at {OPERATING_SCORE}"] = round(recall(items, matches, "gate", OPERATING_SCORE), 2)
    result[f"false alarms a picture at {OPERATING_SCORE}"] = round(float((alarms >= OPERATING_SCORE).sum() / len(items)), 3)
    if detailed:
        groups = [k for k in items[0].keep if k not in lists]
        result["recall"] = {k: round(recall(items, matches, k, threshold), 1) for k in groups}
    return result


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("models", type=Path, nargs="+")
    source = arguments.add_mutually_exclusive_group(required=True)
    source.add_argument("--wider", type=Path)
    source.add_argument("--dev", type=Path)
    arguments.add_argument("--long-side", type=int, default=LONG_SIDE_PX)
    arguments.add_argument("--detailed", action="store_true", help="recall by size, blur, occlusion, pose and lighting")
    options = arguments.parse_args()
    cv2.setNumThreads(1)
    items = list(wider_items(options.wider) if options.wider else dev_items(options.dev))
    lists = ["easy", "medium", "hard", "gate"] if options.wider else ["all", "gate", "turned"]
    print(json.dumps({"pictures": len(items), "faces": {k: int(sum(i.keep[k].sum() for i in items)) for k in items[0].keep}}), flush=True)
    for path in options.models:
        print(json.dumps(evaluate(path, items, options.long_side, lists, options.detailed)), flush=True)


if __name__ == "__main__":
    main()
