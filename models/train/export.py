"""Write weights as ONNX (opset 13) in YuNet's output convention, with its batch norms and input scale folded.

    python -m train.export RUN/last.pt --out models

Writes face-edge-n.onnx, whose free dimensions are called `height` and `width`: an ONNX Runtime session that fixes them by
name (AddFreeDimensionOverrideByName) is as fast as one over a fixed-shape file. --sizes 640x384 adds fixed files.
Outputs for each stride s: cls_s and obj_s [1, cells, 1], both the quality, so that sqrt(cls * obj) is the score; bbox_s
[1, cells, 4] and kps_s [1, cells, 10] as in model.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from .model import BOX, POINTS, QUALITY, STRIDES, FaceNet

NAME = "face-edge-n"
OUTPUTS = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]
CHANNELS_OF = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


class YuNetOutputs(nn.Module):
    """The folded network with its output convolutions cut by meaning, so that the graph needs no Slice and no Shape."""

    def __init__(self, net: FaceNet):
        super().__init__()
        self.net = net
        self.parts = nn.ModuleList([nn.ModuleList([_part(out, s) for s in (QUALITY, BOX, POINTS)]) for out in net.out])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        quality, boxes, points = [], [], []
        for feature, parts in zip(self.net.heads(x), self.parts):
            q, b, p = (part(feature).permute(0, 2, 3, 1).reshape(1, -1, part.out_channels) for part in parts)
            quality.append(q.sigmoid()), boxes.append(b), points.append(p)
        return *quality, *[q.clone() for q in quality], *boxes, *points


def _part(conv: nn.Conv2d, channels: slice) -> nn.Conv2d:
    part = nn.Conv2d(conv.in_channels, channels.stop - channels.start, 1)
    part.weight.data, part.bias.data = conv.weight.data[channels].clone(), conv.bias.data[channels].clone()
    return part


def calibrate(net: FaceNet, scale: float, bias: float) -> None:
    """Change the quality logit q to scale * q + bias; a monotone change, so no order of scores changes."""
    for out in net.out:
        out.weight.data[QUALITY] *= scale
        out.bias.data[QUALITY] = out.bias.data[QUALITY] * scale + bias


def load_network(*paths: Path) -> FaceNet:
    """From a checkpoint of train.py (its average) or a bare state dictionary; of several, the mean of their weights."""
    files = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    states = [file.get("average", file) for file in files]
    net = FaceNet()
    net.load_state_dict({name: sum(s[name].double() for s in states) / len(states) for name in states[0]})
    return net.eval()


def write(net: FaceNet, path: Path, size: tuple[int, int] | None = None) -> None:
    """`net`: folded here, so it cannot be trained on. `size`: width and height of a fixed file."""
    graph = YuNetOutputs(net.fold() if net.input_scale != 1 else net).eval()
    width, height = size or (320, 320)
    axes = None if size else {"input": {2: "height", 3: "width"}} | {name: {1: "n_" + name} for name in OUTPUTS}
    picture = torch.zeros(1, 3, height, width)
    torch.onnx.export(graph, picture, str(path), opset_version=13, input_names=["input"], output_names=OUTPUTS, dynamic_axes=axes)
    model = onnx.load(path)
    model.producer_name, model.producer_version = "face-edge", ""
    model.doc_string = "BGR 0..255, NCHW, height and width multiples of 32"
    for output in model.graph.output:
        dims = output.type.tensor_type.shape.dim
        dims[0].dim_value, dims[2].dim_value = 1, CHANNELS_OF[output.name.split("_")[0]]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("weights", type=Path, nargs="+", help="of several checkpoints of one run, the mean is exported")
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--sizes", nargs="*", default=[], help="WIDTHxHEIGHT of further, fixed files")
    arguments.add_argument("--quality-scale", type=float, default=1.0, help="see calibrate.py")
    arguments.add_argument("--quality-bias", type=float, default=0.0)
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    net = load_network(*options.weights)
    calibrate(net, options.quality_scale, options.quality_bias)
    write(net, options.out / f"{NAME}.onnx")
    for text in options.sizes:
        width, height = map(int, text.split("x"))
        write(net, options.out / f"{NAME}_{text}.onnx", (width, height))


if __name__ == "__main__":
    main()
