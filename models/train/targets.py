"""What each cell of a sample should say, from the teacher's maps and the labels.

The teacher (YuNet) has the same cells as the network, so its score of every cell is a target of its own (dense
distillation). Labels correct it: cells whose box fits a labelled face learn the label's box and a raised score, cells
where the teacher sees a face and no label does learn a lowered one, and labelled faces that the teacher misses are left
to the assignment in losses.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .detector import STRIDES, Maps
from .faces import Faces, intersection, area, iou

ACTIVE = 0.2  # teacher scores from here on are a face to it
MISSED = 0.3  # a labelled face is missed if no fitting cell reaches this
CONFIRMED_POWER = 0.7  # a confirmed score s becomes s ** 0.7: 0.5 to 0.62
REFUTED_FACTOR = 0.3
REFUTED_WEIGHT = 0.5  # labels have gaps
MIN_FACE_PX = 9  # smaller faces are not assigned by label


@dataclass
class Targets:
    """Per cell, all float32."""

    scores: np.ndarray  # [cells] quality, 0..1
    weights: np.ndarray  # [cells] of the quality loss; 0: no loss
    boxes: np.ndarray  # [cells, 4] corners in pixels
    points: np.ndarray  # [cells, 10] pixels
    box_weights: np.ndarray  # [cells] of the box loss
    point_weights: np.ndarray  # [cells] of the landmark loss
    assign: Faces  # faces left to the assignment by label


def from_labels(faces: Faces, size: int) -> Targets:
    """Without a teacher: all faces by assignment, no loss where faces are ignored. `size`: side of the sample in pixels."""
    cells = sum((size // s) ** 2 for s in STRIDES)
    zero = lambda *shape: np.zeros((cells, *shape), np.float32)
    small = faces.sizes() < MIN_FACE_PX
    weights = outside(faces.boxes[faces.ignore | small], size)
    return Targets(zero(), weights, zero(4), zero(10), zero(), zero(), faces[~(faces.ignore | small)])


def outside(boxes: np.ndarray, size: int) -> np.ndarray:
    """1 for the cells whose centres lie outside all boxes, else 0."""
    maps = []
    for stride in STRIDES:
        n = size // stride
        free = np.ones((n, n), np.float32)
        for left, top, right, bottom in np.clip(np.round(boxes / stride), 0, n).astype(int):
            free[top:bottom, left:right] = 0
        maps.append(free.ravel())
    return np.concatenate(maps)


def distilled(teacher: Maps, faces: Faces) -> Targets:
    """Teacher and labels together."""
    scores = teacher.scores.astype(np.float32)
    weights, boxes = np.ones_like(scores), teacher.boxes.astype(np.float32).copy()
    active = np.flatnonzero(scores > ACTIVE)
    labelled = faces[~faces.ignore]
    missed = np.ones(len(labelled), bool)
    if len(active):
        seen, target = boxes[active], scores[active]
        overlap = iou(seen, labelled.boxes) if len(labelled) else np.zeros((len(active), 1), np.float32)
        best, confirmed = overlap.argmax(1), overlap.max(1) > 0.5
        known = np.concatenate([labelled.boxes, faces.boxes[faces.ignore]])
        inside = intersection(seen, known) / np.maximum(area(seen), 1e-6)[:, None] if len(known) else np.zeros((len(active), 1))
        refuted = ~confirmed & (inside.max(1) < 0.3)
        if len(labelled):
            boxes[active[confirmed]] = labelled.boxes[best[confirmed]]
            missed = ~((overlap > 0.5) & (target[:, None] > MISSED)).any(0)
        scores[active] = np.where(confirmed, target**CONFIRMED_POWER, np.where(refuted, target * REFUTED_FACTOR, target))
        weights[active[refuted]] = REFUTED_WEIGHT
    box_weights = np.where(scores > ACTIVE, scores, 0).astype(np.float32)
    point_weights = np.where(teacher.scores > 0.3, teacher.scores, 0).astype(np.float32)
    left_over = labelled[missed & (labelled.sizes() >= MIN_FACE_PX)]
    return Targets(scores, weights, boxes, teacher.points.reshape(-1, 10).astype(np.float32), box_weights, point_weights, left_over)
