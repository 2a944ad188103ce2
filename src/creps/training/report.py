"""The report of a training step: its loss terms and their weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

__all__ = ["TERM_NAMES", "StepReport"]

TERM_NAMES = (
    *("d_real", "d_fake", "r1", "d_real_mr", "d_fake_mr", "r1_mr", "adversarial", "adversarial_mr"),
    *("style", "content", "cycle_mr", "cycle_ct", "identity_mr", "identity_ct", "nce", "nce_identity"),
    *("supervised", "simulated"),
)
"""Every loss term that a step may report."""


@dataclass
class StepReport:
    """The loss terms of a step.

    Attributes:
        terms: Unweighted loss terms by name.
        weights: The weight of each in its network's loss.
    """

    terms: dict[str, torch.Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: torch.Tensor, weight: float, parts: int = 1) -> torch.Tensor:
        """Record a term of one of `parts` equal parts of a batch, and return it weighted."""
        self.terms[name] = self.terms.get(name, 0) + value.detach() / parts
        self.weights[name] = weight
        return weight * value
