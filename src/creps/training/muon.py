"""Muon: AdamW whose updates of hidden weights are orthogonal matrices (not in the paper).

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; the size of an update as in Liu et al. 2025,
arXiv:2502.16982, so that a learning rate of AdamW fits. `torch.optim.Muon` takes matrices only, and computes in
bfloat16 even where the hardware has no units for it; a convolution's weight is a matrix of output channels here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

__all__ = ["Muon", "orthogonalized"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95

SIZE = 0.2
"""Root mean square of an update relative to the learning rate, as AdamW has it."""


class Muon(torch.optim.AdamW):
    """Orthogonalized momentum for hidden weights, AdamW for everything else.

    Args:
        hidden: Weights with two or more axes, the first one for the output channels.
        others: All other parameters.
        lr: Learning rate of both.
        betas: AdamW's momenta.
        weight_decay: Decoupled weight decay of both.

    >>> weight, bias = nn.Parameter(torch.eye(2)), nn.Parameter(torch.zeros(2))
    >>> optimizer = Muon([weight], [bias], lr=0.1)
    >>> (weight.sum() + bias.sum()).backward()
    >>> optimizer.step()
    >>> bool((weight < torch.eye(2)).all() and (bias < 0).all())
    True
    """

    def __init__(
        self,
        hidden: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-2,
    ) -> None:
        groups = [{"params": list(hidden), "hidden": True}, {"params": list(others), "hidden": False}]
        super().__init__([group for group in groups if group["params"]], lr, betas, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["hidden"]]
            super().step()
        finally:
            self.param_groups = groups
        for group in groups:
            if group["hidden"]:
                self._orthogonal_step(group)
        return loss

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        rate = float(group["lr"])
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros(())  # AdamW expects one in every state that it loads
                state["momentum"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            state["step"] += 1
            momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
            direction = orthogonalized(weight.grad.lerp(momentum, MOMENTUM).flatten(1))
            size = SIZE * max(direction.shape) ** 0.5
            weight.mul_(1 - rate * group["weight_decay"])
            weight.add_(direction.reshape(weight.shape), alpha=-rate * size)


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of a matrix (rows, columns) near 1, by five Newton-Schulz iterations in float32.

    Singular values below about a thousandth of the largest stay small; the others end within .7 to 1.2. Every iteration
    is a polynomial of the matrix times its transpose, so all of them are done on that small square matrix.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    found = (matrix.T if tall else matrix).float()
    found = found / found.norm().clamp_min(1e-7)
    a, b, c = COEFFICIENTS
    gram, factor = found @ found.T, torch.eye(len(found), device=found.device)
    for _ in range(ITERATIONS):
        step = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal().add_(a)
        factor, gram = step @ factor, step @ gram @ step
    found = factor @ found
    return found.T if tall else found
