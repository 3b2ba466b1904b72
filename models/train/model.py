"""The network: a small anchor-free detector of about 113,000 parameters, 224 MFLOP at 320x320.

Input: BGR 0..255, float [B, 3, H, W], sides multiples of 32. Per cell of strides 8, 16 and 32 it gives CHANNELS numbers:
a quality logit; dx, dy, log w, log h; five landmark offsets. All lengths are in strides, from the cell's left top corner.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
CHANNELS = 15
NECK = 48
QUALITY, BOX, POINTS = slice(0, 1), slice(1, 5), slice(5, 15)
INPUT_SCALE = 1 / 64  # in front of the first convolution; export folds it in


class ConvBn(nn.Sequential):
    """Convolution and batch norm, optionally a ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, momentum=0.03),
            *([nn.ReLU(inplace=True)] if relu else []),
        )

    def folded(self) -> nn.Sequential:
        """The same in evaluation mode as one convolution."""
        conv = nn.utils.fuse_conv_bn_eval(self[0].eval(), self[1].eval())
        return nn.Sequential(conv, *list(self)[2:])


class Block(nn.Module):
    """Depthwise 3x3, pointwise, one batch norm, a residual where the shape is kept, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.dw = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.pw = ConvBn(inputs, outputs, 1, relu=False)
        self.residual = stride == 1 and inputs == outputs
        self.halves = stride == 2

    def depthwise(self, x: Tensor) -> Tensor:
        if self.halves and self.training and x.device.type == "cpu":
            # The same numbers: on CPUs the gradient of a strided depthwise convolution is ten times slower than this.
            full = F.conv2d(x, self.dw.weight, padding=1, groups=self.dw.groups)
            return full[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
        return self.dw(x)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pw(self.depthwise(x))
        return F.relu_(x + y if self.residual else y)


def stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Halves the resolution, then `blocks` more blocks."""
    return nn.Sequential(Block(inputs, outputs, 2), *[Block(outputs, outputs) for _ in range(blocks)])


class FaceNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(inplace=True), ConvBn(16, 32, 3, 2), Block(32, 32))
        self.s8, self.s16, self.s32 = stage(32, 64, 3), stage(64, 96, 3), stage(96, 96, 1)
        self.lat = nn.ModuleList([nn.Conv2d(channels, NECK, 1) for channels in (64, 96, 96)])
        self.smooth = nn.ModuleList([Block(NECK, NECK) for _ in STRIDES])
        self.head = nn.ModuleList([Block(NECK, NECK) for _ in STRIDES])
        self.out = nn.ModuleList([nn.Conv2d(NECK, CHANNELS, 1) for _ in STRIDES])
        self.input_scale = INPUT_SCALE
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if module.groups > 1 else "relu")
        for out in self.out:  # nothing found, boxes of 3.3 strides round the cell's centre
            nn.init.normal_(out.weight, std=0.01)
            nn.init.zeros_(out.bias)
            with torch.no_grad():
                out.bias[:5] = torch.tensor([-4.6, 0.5, 0.5, 1.2, 1.2])

    def neck(self, x: Tensor) -> list[Tensor]:
        """Features [B, NECK, H/s, W/s] for each stride s."""
        if self.input_scale != 1:
            x = x * self.input_scale
        c8 = self.s8(self.stem(x))
        c16 = self.s16(c8)
        c32 = self.s32(c16)
        p32 = F.relu(self.lat[2](c32))
        p16 = F.relu(self.lat[1](c16) + F.interpolate(p32, scale_factor=2.0, mode="nearest"))
        p8 = F.relu(self.lat[0](c8) + F.interpolate(p16, scale_factor=2.0, mode="nearest"))
        return [smooth(p) for p, smooth in zip((p8, p16, p32), self.smooth)]

    def heads(self, x: Tensor) -> list[Tensor]:
        """What the output convolutions see, as `neck`."""
        return [head(f) for f, head in zip(self.neck(x), self.head)]

    def forward(self, x: Tensor) -> Tensor:
        """[B, cells, CHANNELS], strides one after the other, rows first."""
        return self.with_neck(x)[0]

    def with_neck(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The output of forward and the neck's features."""
        neck = self.neck(x)
        return by_cell([out(head(f)) for f, head, out in zip(neck, self.head, self.out)]), neck

    def fold(self) -> FaceNet:
        """Fold batch norms and the input scale into the convolutions, for inference; changes this network."""

        def walk(module: nn.Module) -> None:
            for name, child in module.named_children():
                if isinstance(child, ConvBn):
                    setattr(module, name, child.folded())
                else:
                    walk(child)

        walk(self.eval())
        self.stem[0].weight.data *= self.input_scale
        self.input_scale = 1
        return self


def by_cell(maps: list[Tensor]) -> Tensor:
    """Maps [B, C, H/s, W/s] of all strides as [B, cells, C]."""
    return torch.cat([m.permute(0, 2, 3, 1).flatten(1, 2) for m in maps], 1)


class Adapter(nn.Module):
    """From the neck's features to the teacher's, for distillation; no part of the detector."""

    def __init__(self, teacher_channels: int = 64):
        super().__init__()
        self.adapt = nn.ModuleList([nn.Conv2d(NECK, teacher_channels, 1) for _ in STRIDES])

    def forward(self, neck: list[Tensor]) -> Tensor:
        """[B, cells, teacher_channels]"""
        return by_cell([adapt(f) for f, adapt in zip(neck, self.adapt)])


def grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cells [cells, 2] (column, row) and their strides [cells, 1] for a picture of these sides in pixels."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        cells.append(torch.stack([columns.flatten(), rows.flatten()], 1))
        strides.append(torch.full((rows.numel(), 1), stride))
    return torch.cat(cells).float().to(device), torch.cat(strides).float().to(device)


def decode_boxes(raw: Tensor, cells: Tensor, strides: Tensor) -> Tensor:
    """Raw box numbers [..., 4] to corners in pixels."""
    centres = (cells + raw[..., :2]) * strides
    half = raw[..., 2:].clamp(-3, 4).exp() * strides / 2
    return torch.cat([centres - half, centres + half], -1)


def decode_points(raw: Tensor, cells: Tensor, strides: Tensor) -> Tensor:
    """Raw landmark numbers [..., 10] to x, y pairs in pixels."""
    return (raw + cells.repeat(1, 5)) * strides
