"""Balance the style term against the adversarial one (Hémon et al. 2023, section 2.2: "magnitudes … are adjusted")."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["MagnitudeBalance"]


class MagnitudeBalance(nn.Module):
    """The weight of the style term, either given or measured over the first steps and then frozen.

    While it is measured, weight = ratio · Σ|adversarial| / Σ|style| over the steps so far. The state is in buffers, so
    that it is saved and resumed with the networks; they stay on the CPU, so that a frozen weight costs no
    synchronisation with a device.

    >>> balance = MagnitudeBalance(weight=20, steps=2)
    >>> balance.update(torch.tensor(0.125), torch.tensor(0.5))
    >>> balance.record()
    {'weight': 4.0, 'measured_over_steps': 1, 'frozen': False}

    Args:
        weight: The weight if it is not measured.
        steps: Steps to measure over; 0 keeps `weight`.
        ratio: Magnitude of the weighted style term over the adversarial one.
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
        """Whether the weight is final."""
        return int(self.seen) >= self.steps

    def record(self) -> dict[str, Any]:
        """The state as plain JSON values."""
        return {"weight": float(self.weight), "measured_over_steps": int(self.seen), "frozen": self.frozen}

    @torch.no_grad()
    def update(self, term: torch.Tensor, reference: torch.Tensor) -> None:
        """Add the magnitudes of one step, unless the weight is frozen.

        Args:
            term: The style term, a scalar.
            reference: The adversarial term, a scalar.
        """
        if self.frozen:
            return
        self.seen += 1
        self.term_sum += float(term.detach().abs())
        self.reference_sum += float(reference.detach().abs())
        self.weight.copy_(self.ratio * self.reference_sum / self.term_sum.clamp_min(1e-30))
