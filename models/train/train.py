"""Train: resumable, seeded, on a GPU if there is one, else on the CPU.

    python -m train.train --cache CACHE/train --teacher YUNET.onnx --out RUN --steps 200000 --decay-steps 20000

RUN/last.pt holds everything needed to go on; the same command goes on from it. To start from other weights: --init FILE.
The learning rate warms up, stays, and falls linearly to 0 over the last --decay-steps; raise --steps to go on for longer.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from .dataset import FaceSamples, collate
from .losses import FEATURE_GAIN, Batch, DetectionLoss
from .model import Adapter, FaceNet, read_checkpoint

WARM_UP_STEPS = 150
WEIGHT_DECAY = 0.01
GRADIENT_CLIP = 5.0
EMA_DECAY = 0.9985


def learning_rate(step: int, peak: float, steps: int, decay_steps: int) -> float:
    """Of step `step`, counted from 0."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return peak * min(warm, max(0.0, (steps - step) / max(1, decay_steps)))


def tensors(net: nn.Module) -> list[torch.Tensor]:
    """Parameters and the statistics of the batch norms."""
    return [t for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()]


class Run:
    """The network, its optimiser and its exponential moving average, and where they are kept."""

    def __init__(self, out: Path, device: torch.device):
        self.out, self.device = out, device
        self.net = FaceNet().to(device, memory_format=torch.channels_last)
        self.adapter = Adapter().to(device)
        parameters = [*self.net.parameters(), *self.adapter.parameters()]
        decayed, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups)
        self.net.train()
        self.step = self.samples = self.starts = 0
        self.average = copy.deepcopy(self.net)
        self.averaged, self.current = tensors(self.average), tensors(self.net)

    def load(self, init: Path | None) -> None:
        """Go on from the run's own checkpoint, else start from the weights `init`, else from random ones."""
        last = self.out / "last.pt"
        if last.exists():
            state = read_checkpoint(last, self.device)
            self.net.load_state_dict(state["net"])
            self.adapter.load_state_dict(state["adapter"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average.load_state_dict(state["average"])
            self.step, self.samples, self.starts = state["step"], state["samples"], state["starts"] + 1
        elif init:
            state = read_checkpoint(init, self.device)
            self.net.load_state_dict(state.get("average", state))
            self.average.load_state_dict(self.net.state_dict())

    def save(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        state = {name: getattr(self, name).state_dict() for name in ("net", "adapter", "optimiser", "average")}
        state |= {name: getattr(self, name) for name in ("step", "samples", "starts")}
        torch.save(state, self.out / "last.tmp")
        os.replace(self.out / "last.tmp", self.out / "last.pt")

    @torch.no_grad()
    def update_average(self) -> None:
        decay = min(EMA_DECAY, self.step / (self.step + 20))
        torch._foreach_mul_(self.averaged, decay)
        torch._foreach_add_(self.averaged, self.current, alpha=1 - decay)

    def train_step(self, batch: Batch, loss: DetectionLoss, rate: float, half: bool) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        pictures = batch.pictures.float().contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            out, neck = self.net.with_neck(pictures)
            imitated = self.adapter(neck) if batch.features.shape[-1] else None
        total, parts = loss(out, batch)
        if imitated is not None:
            imitation = loss.imitation(imitated, batch)
            total = total + FEATURE_GAIN * imitation
            parts["features"] = imitation.item()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), GRADIENT_CLIP)
        self.optimiser.step()
        self.step += 1
        self.samples += len(batch.pictures)
        self.update_average()
        return parts


def batches(options: argparse.Namespace, starts: int) -> Iterator[Batch]:
    samples = FaceSamples(options.cache, options.teacher, options.size, options.seed, starts)
    loader = DataLoader(samples, options.batch, num_workers=options.workers, collate_fn=collate, pin_memory=torch.cuda.is_available())
    return iter(loader)


def train(options: argparse.Namespace) -> list[dict[str, float]]:
    """Trains to `options.steps`; gives the parts of every step's loss."""
    torch.manual_seed(options.seed)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(options.out, device)
    run.load(options.init)
    loss, source = DetectionLoss(options.size, device), batches(options, run.starts)
    history, saved = [], time.monotonic()
    while run.step < options.steps:
        rate = learning_rate(run.step, options.rate, options.steps, options.decay_steps)
        history.append(run.train_step(next(source).to(device), loss, rate, options.half))
        if run.step % options.log_every == 0:
            recent = history[-options.log_every :]
            means = {name: round(sum(h[name] for h in recent) / len(recent), 4) for name in recent[0]}
            print(json.dumps({"step": run.step, "samples": run.samples, "time_s": round(time.time()), "rate": round(rate, 6), **means}), flush=True)
        if time.monotonic() - saved > options.save_every_s:
            run.save()
            saved = time.monotonic()
    run.save()
    return history


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="the training cache of prepare; none: drawn faces only")
    parser.add_argument("--teacher", type=Path, help="YuNet-n with dynamic input size; none: no distillation")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--init", type=Path, help="weights or a checkpoint to start from")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--decay-steps", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=320, help="side of a sample in pixels, a multiple of 32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that make samples; 0: none but this")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the network; 0: PyTorch's choice")
    parser.add_argument("--half", action="store_true", help="bfloat16 where it is safe: a third faster on CPUs that have it")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--save-every-s", type=float, default=120)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse())
