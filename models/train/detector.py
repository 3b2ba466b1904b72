"""Detectors as ONNX files: YuNet's output convention (ours and YuNet) and that of the Ultra-Light family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime

from .faces import nms

STRIDES = (8, 16, 32)
NMS_IOU = 0.45


@dataclass
class Maps:
    """What a detector says about every cell of a picture, strides 8, 16, 32 one after the other, rows first."""

    scores: np.ndarray  # [cells] 0..1
    boxes: np.ndarray  # [cells, 4] left, top, right, bottom in pixels
    points: np.ndarray  # [cells, 5, 2] pixels
    features: np.ndarray | None = None  # [cells, channels] what the outputs are computed from, if asked for


def open_session(model: str | Path | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """`model`: a file or its contents."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def with_feature_outputs(path: str | Path) -> tuple[bytes, list[str]]:
    """A YuNet file that also gives the feature maps [1, channels, rows, columns] its output branches start from.

    They are found from cls_s backwards: the last two operators of the branch that are convolutions, and their input.
    """
    model = onnx.load(str(path))
    makers = {output: node for node in model.graph.node for output in node.output}
    names = []
    for stride in STRIDES:
        name, convolutions = f"cls_{stride}", 0
        while convolutions < 2:
            node = makers[name]
            convolutions += node.op_type == "Conv"
            name = node.input[0]
        names.append(name)
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return model.SerializeToString(), names


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells [cells, 2] (column, row) and their strides [cells] for a picture whose sides are multiples of 32."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], 1))
        strides.append(np.full(rows.size, stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


class YuNetLike:
    """A file with outputs cls, obj, bbox, kps for each stride; any input size that is a multiple of 32."""

    def __init__(self, path: str | Path, features: bool = False):
        model, self.features = with_feature_outputs(path) if features else (path, [])
        self.session = open_session(model)
        self.input = self.session.get_inputs()[0].name
        self.outputs = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]

    def maps(self, picture: np.ndarray) -> Maps:
        """`picture`: BGR uint8 [H, W, 3], sides multiples of 32."""
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        out = self.session.run(self.outputs + self.features, {self.input: planes})
        cls, obj, box, points = (np.concatenate([o[0] for o in out[i : i + 3]]) for i in (0, 3, 6, 9))
        cells, strides = grid(*picture.shape[:2])
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        centres = (cells + box[:, :2]) * strides[:, None]
        half = np.exp(np.clip(box[:, 2:], -9, 9)) * strides[:, None] / 2
        points = (points.reshape(-1, 5, 2) + cells[:, None]) * strides[:, None, None]
        features = [f[0].reshape(f.shape[1], -1).T for f in out[12:]]
        boxes = np.concatenate([centres - half, centres + half], 1)
        return Maps(scores, boxes, points, np.concatenate(features) if features else None)

    def detect(self, picture: np.ndarray, long_side: int | None, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes [n, 4], scores [n], points [n, 5, 2] in the picture's pixels; the picture is brought to `long_side` first."""
        height, width = picture.shape[:2]
        scale = long_side / max(height, width) if long_side else 1.0
        h, w = max(1, round(height * scale)), max(1, round(width * scale))
        canvas = np.zeros((-(-h // 32) * 32, -(-w // 32) * 32, 3), np.uint8)
        mode = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        canvas[:h, :w] = picture if scale == 1 else cv2.resize(picture, (w, h), interpolation=mode)
        maps = self.maps(canvas)
        found = np.flatnonzero(maps.scores > threshold)
        keep = found[nms(maps.boxes[found], maps.scores[found], NMS_IOU)]
        return maps.boxes[keep] / scale, maps.scores[keep], maps.points[keep] / scale


class UltraLight:
    """A file with outputs scores [1, N, 2] and boxes [1, N, 4] (corners, 0..1) and one fixed input size."""

    def __init__(self, path: str | Path):
        self.session = open_session(path)
        self.input = self.session.get_inputs()[0]

    def detect(self, picture: np.ndarray, long_side: int | None, threshold: float) -> tuple[np.ndarray, np.ndarray, None]:
        """As YuNetLike.detect, without points; the picture is stretched to the file's own size, `long_side` is unused."""
        height, width = picture.shape[:2]
        size = self.input.shape[3], self.input.shape[2]
        rgb = (cv2.cvtColor(cv2.resize(picture, size), cv2.COLOR_BGR2RGB).astype(np.float32) - 127) / 128
        scores, boxes = self.session.run(None, {self.input.name: rgb.transpose(2, 0, 1)[None]})
        found = np.flatnonzero(scores[0, :, 1] > threshold)
        boxes, scores = boxes[0, found] * np.float32([width, height] * 2), scores[0, found, 1]
        keep = nms(boxes, scores, NMS_IOU)
        return boxes[keep], scores[keep], None


def open_detector(path: str | Path) -> YuNetLike | UltraLight:
    """The right class for a file, by the names of its outputs."""
    names = {o.name for o in open_session(path).get_outputs()}
    return YuNetLike(path) if "cls_8" in names else UltraLight(path)
