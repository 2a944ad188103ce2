"""`Body`: what is painted, tissue after tissue, and what is known of the person."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.unseen.space import Field, Space
from benchmarks.unseen.tissues import LABEL

__all__ = ["Body"]


class Body:
    """A label map that later shapes paint over earlier ones.

    Attributes:
        space: Where it is painted.
        labels: (D, H, W), values of `LABEL`; air to begin with.
        notes: What is worth noting of the person; filled by `finished`.
        fillings: Teeth with metal so far.
        dental: Probability of a filling in a tooth.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.labels = np.zeros(space.shape, dtype=np.uint8)
        self.notes: dict[str, Any] = {}
        self.fillings = 0
        self.dental = float(space.rng.choice([0.0, 0.0, 0.1, 0.3]))

    def paint(
        self, shape: Field, tissue: str, *, only: tuple[str, ...] = (), where: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """Fill the inside of a shape.

        Args:
            shape: Signed distance (D, H, W), negative inside.
            tissue: What with.
            only: Tissues that it may replace; all if empty.
            where: (D, H, W): where it may paint.
        """
        inside = shape < 0
        if where is not None:
            inside = inside & where
        if only:
            replaced = np.zeros(len(LABEL), dtype=bool)
            replaced[[LABEL[name] for name in only]] = True
            inside[inside] = replaced[self.labels[inside]]
        self.labels[inside] = LABEL[tissue]

    def erase(self, skin: Field) -> None:
        """Leave nothing but air outside the skin."""
        self.labels[skin >= 0] = LABEL["air"]

    def finished(self, notes: dict[str, Any]) -> Body:
        """The body with notes of the person."""
        self.notes = notes
        return self
