"""The training loss: quality, box and landmarks per cell, from dense targets and from faces assigned to cells by label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .model import BOX, POINTS, STRIDES, decode_boxes, decode_points, grid

QUALITY_GAIN, BOX_GAIN, POINTS_GAIN = 2.5, 2.0, 4.0
SIZE_RANGE_PX = ((0, 56), (28, 128), (64, float("inf")))  # faces that each stride may take, by the root of their area
LABEL_QUALITY = 0.9  # target of an assigned cell whose box fits perfectly


@dataclass
class Batch:
    """`size` x `size` pictures and their targets (targets.py), stacked."""

    pictures: Tensor  # uint8 [B, 3, size, size]
    scores: Tensor  # [B, cells]
    weights: Tensor  # [B, cells]
    boxes: Tensor  # [B, cells, 4]
    points: Tensor  # [B, cells, 10]
    box_weights: Tensor  # [B, cells]
    point_weights: Tensor  # [B, cells]
    faces: Tensor  # [n, 16] faces to assign: index in the batch, box, points, 1 where the points count

    def to(self, device: torch.device) -> Batch:
        return Batch(*(value.to(device, non_blocking=True) for value in vars(self).values()))


def pair_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of corner boxes [..., 4], pair by pair."""
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return shared / (union + 1e-6)


def eiou_loss(a: Tensor, b: Tensor) -> Tensor:
    """Efficient IoU loss [n] (Zhang et al. 2021): 1 - IoU, plus centre distance and side differences over the hull's."""
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    centres = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    sides = (a[:, 2:] - a[:, :2]) - (b[:, 2:] - b[:, :2])
    distance = centres.square().sum(1) / (hull.square().sum(1) + 1e-6)
    return 1 - pair_iou(a, b) + distance + (sides.square() / (hull.square() + 1e-6)).sum(1)


class DetectionLoss:
    """Call with the network's output [B, cells, 15] and its batch; gives the loss and its three parts."""

    def __init__(self, size: int, device: torch.device):
        self.size = size
        self.cells, self.strides = grid(size, size, device)
        offsets = torch.arange(-2, 3, device=device)
        self.window = torch.cartesian_prod(offsets, offsets).flip(1)  # [25, 2] cells round a face's centre

    def __call__(self, out: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        count = out.shape[1]
        raw, scores, weights = out.float().flatten(0, 1), batch.scores.flatten().clone(), batch.weights.flatten().clone()
        dense = batch.box_weights.flatten().nonzero()[:, 0]
        targets = [batch.boxes.flatten(0, 1)[dense]], [batch.points.flatten(0, 1)[dense]]
        gains = [batch.box_weights.flatten()[dense]], [batch.point_weights.flatten()[dense]]
        index = [dense]
        if len(batch.faces):
            face, cell, quality = self.assign(out.detach().float(), batch.faces)
            scores[cell] = torch.maximum(scores[cell], quality)
            weights[cell] = 1
            labels = batch.faces[face]
            targets[0].append(labels[:, 1:5]), targets[1].append(labels[:, 5:15])
            gains[0].append(torch.full_like(quality, LABEL_QUALITY)), gains[1].append(labels[:, 15] * LABEL_QUALITY)
            index.append(cell)
        index = torch.cat(index)
        box_targets, point_targets = (torch.cat(t) for t in targets)
        box_gains, point_gains = (torch.cat(g) for g in gains)
        cells, strides, chosen = self.cells[index % count], self.strides[index % count], raw[index]
        boxes = decode_boxes(chosen[:, BOX], cells, strides)
        box = (eiou_loss(boxes, box_targets).clamp(max=6) * box_gains).sum() / box_gains.sum().clamp(1)
        size = (box_targets[:, 2:] - box_targets[:, :2]).prod(1).clamp(16).sqrt()
        error = (decode_points(chosen[:, POINTS], cells, strides) - point_targets) / size[:, None]
        points = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.05, reduction="none").mean(1)
        points = (points * point_gains).sum() / point_gains.sum().clamp(1)
        quality = self.quality(raw[:, 0], scores, weights)
        loss = QUALITY_GAIN * quality + BOX_GAIN * box + POINTS_GAIN * points
        return loss, {"loss": loss.item(), "quality": quality.item(), "box": box.item(), "points": points.item()}

    @staticmethod
    def quality(logits: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
        """Quality focal loss (Li et al. 2020) with exponent 1: cross entropy, weighted by how far off the score is."""
        entropy = F.binary_cross_entropy_with_logits(logits, scores, reduction="none")
        off = (scores - logits.detach().sigmoid()).abs()
        return (entropy * off * weights).sum() / scores.sum().clamp(1)

    def candidates(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cells that each face may take: their indices, whether they are allowed, distance over face size; all [n, 75]."""
        sides = faces[:, 3:5] - faces[:, 1:3]
        size, centres = sides.prod(1).clamp(1).sqrt(), (faces[:, 1:3] + faces[:, 3:5]) / 2
        indices, allowed, distances, base = [], [], [], 0
        for stride, (low, high) in zip(STRIDES, SIZE_RANGE_PX):
            n = self.size // stride
            cell = (centres / stride).floor().long()[:, None] + self.window
            away = (cell + 0.5) * stride - centres[:, None]
            reach = (0.3 * size).clamp(1.0 * stride, 2.5 * stride)[:, None]
            on_grid = ((cell >= 0) & (cell < n)).all(-1) & (away.abs().amax(-1) <= reach)
            allowed.append(on_grid & ((size >= low) & (size < high))[:, None])
            column, row = cell.clamp(0, n - 1).unbind(-1)
            indices.append(base + row * n + column)
            distances.append(away.norm(dim=-1) / size[:, None])
            base += n * n
        return torch.cat(indices, 1), torch.cat(allowed, 1), torch.cat(distances, 1)

    @torch.no_grad()
    def assign(self, out: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Simplified SimOTA (Ge et al. 2021): pairs of face index and flat cell index, and the cells' quality targets."""
        indices, allowed, distances = self.candidates(faces)
        guess = out[faces[:, :1].long(), indices]
        boxes = decode_boxes(guess[..., BOX], self.cells[indices], self.strides[indices])
        overlap = pair_iou(boxes, faces[:, None, 1:5]) * allowed
        cost = F.softplus(-guess[..., 0]) - 3 * (overlap + 1e-6).log() + 3 * distances + ~allowed * 1e5
        take = overlap.topk(10, 1).values.sum(1).round().clamp(1, 8)
        rank = cost.argsort(1).argsort(1)
        face, candidate = ((rank < take[:, None]) & allowed).nonzero(as_tuple=True)
        flat = faces[face, 0].long() * out.shape[1] + indices[face, candidate]
        cost = cost[face, candidate]
        best = torch.full((out.shape[0] * out.shape[1],), 1e9, device=out.device).scatter_reduce(0, flat, cost, "amin")
        won = cost <= best[flat]  # a cell wanted by two faces goes to the cheaper
        face, candidate, flat = face[won], candidate[won], flat[won]
        return face, flat, overlap[face, candidate].clamp(0.05, 1).sqrt() * LABEL_QUALITY
