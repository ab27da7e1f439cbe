"""Trains the network; may be killed at any moment and goes on from the last checkpoint.

python -m recipes.pico.train --out runs/pico --tokenizer models/pico/tokenizer.json --minutes 80
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing as mp
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from queue import Full
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from recipes.pico.feed import Batch, batches
from recipes.pico.muon import Muon
from recipes.pico.network import Network, Shape

# A network that knows nothing learns to read only when the text is large and little; each stage ends when
# the running loss per answer token is below its gate. The last stage is for the rest of the run. Before it,
# most pages are single tiles full of text: per unit of work they teach the most reading.
LATE = {
    "receipt": 0.34,
    "form": 0.34,
    "screen": 0.09,
    "invoice": 0.06,
    "letter": 0.03,
    "table": 0.04,
    "shapes": 0.04,
    "clip": 0.04,
    "chart": 0.01,
    "pair": 0.01,
}
STAGES: tuple[tuple[dict[str, float], float], ...] = (
    ({"words:word": 1.0}, 0.8),
    ({"words:word": 0.3, "words:lines": 0.7}, 0.9),
    ({"words": 0.4, "receipt": 0.3, "form": 0.3}, 0.9),
    ({**LATE, "words": 1.2}, 0.45),
    ({**LATE, "words": 0.9}, 0.0),
)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint and log")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--begin", type=Path, help="safetensors file to start from instead of random weights")
    parser.add_argument("--shape", type=Path, help="JSON of recipes.pico.network.Shape; default: the shipped sizes")
    parser.add_argument("--minutes", type=float, default=80.0, help="length of the run; the schedule follows it")
    parser.add_argument("--stage", type=int, default=0, help=f"first stage of the curriculum, 0 to {len(STAGES) - 1}")
    parser.add_argument("--mix", help='replaces the last stage, e.g. "receipt=3,form=3,words=1"')
    parser.add_argument("--tiles", type=int, default=60, help="tiles per step")
    parser.add_argument("--lr", type=float, default=3e-3, help="step size of the matrices")
    parser.add_argument("--lr-rest", type=float, default=1e-3, help="step size of embeddings, norms and biases")
    parser.add_argument("--warmup", type=int, default=50, help="steps")
    parser.add_argument("--decay", type=float, default=0.4, help="share of the run in which the step size falls to 0")
    parser.add_argument("--workers", type=int, default=1, help="processes that render pages")
    parser.add_argument("--threads", type=int, default=1, help="threads of the training process on a CPU")
    parser.add_argument("--save-every", type=float, default=120.0, help="seconds between checkpoints")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _render(
    queue: mp.Queue[Batch], stage: Synchronized[int], mixes: list[dict[str, float]], options: dict[str, Any]
) -> None:
    os.nice(2)
    torch.set_num_threads(1)
    numbers = itertools.count(options["start"] + options["worker"], options["workers"])
    source = batches(options["tokenizer"], mixes, lambda: stage.value, options["tiles"], numbers, options["seed"])
    parent = os.getppid()
    for batch in source:
        while True:
            try:
                queue.put(batch, timeout=10)
                break
            except Full:
                if os.getppid() != parent:  # the training process was killed
                    return


def _start_feed(
    a: argparse.Namespace, stage: Synchronized[int], mixes: list[dict[str, float]], start: int
) -> mp.Queue[Batch]:
    context = mp.get_context("spawn")
    queue: mp.Queue[Batch] = context.Queue(maxsize=4 * a.workers)
    for worker in range(a.workers):
        options = {
            "tokenizer": str(a.tokenizer),
            "tiles": a.tiles,
            "seed": a.seed,
            "start": start,
            "worker": worker,
            "workers": a.workers,
        }
        context.Process(target=_render, args=(queue, stage, mixes, options), daemon=True).start()
    return queue


def optimisers(net: Network, lr: float, lr_rest: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for everything else."""
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for name, p in net.named_parameters():
        hidden = p.ndim == 2 and "embed" not in name
        (matrices if hidden else rest).append(p)
    return [
        Muon(matrices, lr, decay=0.01),
        torch.optim.AdamW(rest, lr_rest, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def loss_of(net: Network, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Mean loss over answer tokens, the loss of each, and the row (page) each belongs to."""
    tiles, ids, positions = (
        torch.from_numpy(x).to(device, non_blocking=True) for x in (batch.tiles, batch.ids, batch.positions)
    )
    mask = torch.from_numpy(batch.mask).to(device)
    additive = torch.zeros(mask.shape, dtype=torch.bfloat16, device=device).masked_fill_(~mask, -1e4)[:, None]
    with torch.autocast(device.type, torch.bfloat16):
        hidden = net.hidden(tiles, ids, positions, additive)
        rows, columns = torch.from_numpy(batch.answer).to(device).nonzero(as_tuple=True)
        # The token before an answer token predicts it; inside a branch they are neighbours.
        logits = net.logits(hidden[rows, columns - 1])
    each = F.cross_entropy(logits.float(), ids[rows, columns], reduction="none")
    return each.mean(), each.detach(), rows


def rate(progress: float, step: int, warmup: int, decay: float) -> float:
    """Share of the full step size at ``progress`` (0 to 1) of the run."""
    return min((step + 1) / warmup, 1.0) * min(1.0, max(0.0, 1.0 - progress) / decay)


class Run:
    """State of one training run and its checkpoint."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a = a
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(a.seed)
        self.net = Network(Shape.read(a.shape) if a.shape else Shape()).to(self.device)
        self.optimisers = optimisers(self.net, a.lr, a.lr_rest)
        self.step, self.pages, self.seconds, self.stage = 0, 0, 0.0, a.stage
        self.running: dict[str, float] = {}
        a.out.mkdir(parents=True, exist_ok=True)
        self.path = a.out / "checkpoint.pt"
        if self.path.exists():
            self._load()
        elif a.begin:
            self.net.load_state_dict({k: v.float() for k, v in load_file(a.begin).items()})

    def _load(self) -> None:
        state = torch.load(self.path, map_location=self.device, weights_only=True)
        self.net.load_state_dict(state["net"])
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.step, self.pages, self.seconds, self.stage = (state[k] for k in ("step", "pages", "seconds", "stage"))
        self.running = state["running"]

    def save(self) -> None:
        """Write the checkpoint beside the old one, then take its place in one move."""
        state = {
            "net": self.net.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step,
            "pages": self.pages,
            "seconds": self.seconds,
            "stage": self.stage,
            "running": self.running,
        }
        fresh = self.path.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.path)

    def learn(self, batch: Batch, share: float) -> float:
        """One step at ``share`` of the full step size; returns the mean loss."""
        for optimiser, lr in zip(self.optimisers, (self.a.lr, self.a.lr_rest), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = lr * share
        loss, each, rows = loss_of(self.net, batch, self.device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step, self.pages = self.step + 1, self.pages + len(batch.families)
        return self.note(batch, each, rows)

    def pass_gate(self, loss: float) -> bool:
        """Go to the next stage of the curriculum if ``loss`` is below the gate of this one."""
        passed: bool = loss < STAGES[self.stage][1]
        self.stage += int(passed)
        return passed

    def note(self, batch: Batch, each: Tensor, rows: Tensor) -> float:
        """Running mean loss per family; returns the mean of the batch."""
        found: dict[str, list[float]] = defaultdict(list)
        for loss, row in zip(each.tolist(), rows.tolist(), strict=True):
            found[batch.families[row]].append(loss)
        for family, values in found.items():
            mean = sum(values) / len(values)
            self.running[family] = 0.95 * self.running.get(family, mean) + 0.05 * mean
        return float(each.mean())


def train(a: argparse.Namespace) -> None:
    """The loop."""
    torch.set_num_threads(a.threads)
    run = Run(a)
    if a.compile:
        run.net.model.vision_model.compile(dynamic=False)
        run.net.model.text_model.compile(dynamic=True)
    mixes = [dict(mix) for mix, _ in STAGES]
    if a.mix:
        mixes[-1] = {k: float(v) for k, v in (part.split("=") for part in a.mix.split(","))}
    stage: Synchronized[int] = mp.get_context("spawn").Value("i", run.stage)
    queue = _start_feed(a, stage, mixes, run.pages)
    saved = clock = time.monotonic()
    mean_loss = 3.0
    for batch in _endless(queue):
        progress = run.seconds / (a.minutes * 60)
        if progress >= 1.0:
            break
        share = rate(progress, run.step, a.warmup, a.decay)
        mean_loss = 0.97 * mean_loss + 0.03 * run.learn(batch, share)
        now = time.monotonic()
        run.seconds, clock = run.seconds + now - clock, now
        if run.step % 10 == 0:
            _log(run, mean_loss, share, queue)
        if run.pass_gate(mean_loss):
            stage.value, mean_loss = run.stage, 3.0
        if now - saved > a.save_every:
            run.save()
            saved = now
    run.save()


def _endless(queue: mp.Queue[Batch]) -> Iterator[Batch]:
    while True:
        yield queue.get()


def _log(run: Run, loss: float, share: float, queue: mp.Queue[Batch]) -> None:
    line = {
        "step": run.step,
        "pages": run.pages,
        "minutes": round(run.seconds / 60, 2),
        "stage": run.stage,
        "loss": round(loss, 4),
        "rate": round(share, 3),
        "waiting": queue.qsize(),
        "families": {k: round(v, 3) for k, v in sorted(run.running.items())},
    }
    with (run.a.out / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    train(arguments())
