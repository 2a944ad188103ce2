"""Bring the style term to the size of the adversarial one (section 2.2: "magnitudes … are adjusted")."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["MagnitudeBalance"]


class MagnitudeBalance(nn.Module):
    """The weight of the style term, either given or measured over the first steps and then frozen.

    While it is measured, the weight is the ratio of the mean magnitudes so far. The state is in
    buffers, so that it is saved and resumed with the networks; they stay on the CPU, so that a frozen
    weight costs no synchronisation with a device.

    Args:
        weight: The weight if nothing is to be measured.
        steps: Steps to measure over; 0 keeps `weight`.
        ratio: Weighted style over adversarial magnitude that is aimed at.
    """

    weight: torch.Tensor
    reference_sum: torch.Tensor
    term_sum: torch.Tensor
    seen: torch.Tensor

    def __init__(self, weight: float, steps: int = 0, ratio: float = 1.0) -> None:
        super().__init__()
        self.steps = steps
        self.ratio = ratio
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float64))
        self.register_buffer("reference_sum", torch.zeros((), dtype=torch.float64))
        self.register_buffer("term_sum", torch.zeros((), dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def frozen(self) -> bool:
        """Whether the weight will not change any more."""
        return int(self.seen) >= self.steps

    def record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"weight": float(self.weight), "measured_over_steps": int(self.seen), "frozen": self.frozen}

    @torch.no_grad()
    def update(self, term: torch.Tensor, reference: torch.Tensor) -> None:
        """Take one step's magnitudes into account, unless the weight is frozen."""
        if self.frozen:
            return
        self.seen += 1
        self.term_sum += float(term.detach().abs())
        self.reference_sum += float(reference.detach().abs())
        self.weight.copy_(self.ratio * self.reference_sum / self.term_sum.clamp_min(1e-30))
