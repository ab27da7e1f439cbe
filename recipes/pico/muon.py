"""Muon: momentum whose matrix updates are made orthogonal, for all hidden matrices.

The orthogonalisation is the quintic Newton-Schulz iteration of Keller Jordan's published method, written
anew here; matrices of one shape are iterated together, which on a CPU saves most of the call overhead.
"""

# mypy: allow-subclassing-any, allow-untyped-decorators, disable-error-code="override"

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor


def orthogonal(stack: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: [M, N, K] to [M, N, K]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = stack.shape[1] > stack.shape[2]
    x = stack.to(torch.bfloat16)
    x = x.transpose(1, 2) if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.transpose(1, 2)
        x = a * x + (b * square + c * (square @ square)) @ x
    x = x.transpose(1, 2) if tall else x
    out: Tensor = x.to(stack.dtype)
    return out


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; step size in units of an Adam step (rms about 0.2)."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape].append(p)
            for shape, params in shapes.items():
                self._step_shape(group, shape, params)

    def _step_shape(self, group: dict[str, float], shape: torch.Size, params: list[Tensor]) -> None:
        moved = []
        for p in params:
            assert p.grad is not None
            state = self.state[p]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].mul_(group["momentum"]).add_(p.grad)
            moved.append(p.grad.add(state["momentum"], alpha=group["momentum"]))
        updates = orthogonal(torch.stack(moved))
        size = group["lr"] * 0.2 * float(max(shape)) ** 0.5
        for p, update in zip(params, updates, strict=True):
            p.mul_(1 - group["lr"] * group["decay"]).add_(update, alpha=-size)
