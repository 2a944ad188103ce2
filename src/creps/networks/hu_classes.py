"""A distribution over HU for every voxel: classes at fixed HU, and what is read off them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from creps import hu

__all__ = ["CENTRES_HU", "HuClasses"]

CENTRES_HU = (
    *(-1000, -900, -700, -500, -300, -150, -100, -60, -20, 10, 30, 50, 80, 130, 200, 300, 450, 650),
    *(900, 1200, 1600, 2100, 3000),
)  # fmt: skip
"""HU of the classes: close together where tissues are told apart by few HU."""

EDGES = (
    CENTRES_HU[0] / hu.PER_NETWORK_UNIT,
    *((low + high) / 2 / hu.PER_NETWORK_UNIT for low, high in pairwise(CENTRES_HU)),
    CENTRES_HU[-1] / hu.PER_NETWORK_UNIT,
)
WIDTHS = tuple(high - low for low, high in pairwise(EDGES))
"""Where the classes' ranges meet, and how wide these are, in network units."""


class HuClasses(nn.Module):
    """Classes at `CENTRES_HU`; a value between two of them belongs to both in part."""

    centres: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", torch.tensor(CENTRES_HU) / hu.PER_NETWORK_UNIT, persistent=False)

    def __len__(self) -> int:
        return len(CENTRES_HU)

    def mean(self, logits: torch.Tensor) -> torch.Tensor:
        """(…, classes) → (…): the mean of each voxel's distribution, in network units."""
        return logits.softmax(dim=-1) @ self.centres

    def deviation(self, logits: torch.Tensor) -> torch.Tensor:
        """(…, classes) → (…): its standard deviation, in network units."""
        shares = logits.softmax(dim=-1)
        mean, square = shares @ self.centres, shares @ self.centres**2
        return (square - mean**2).clamp(min=0).sqrt()

    def median(self, logits: torch.Tensor) -> torch.Tensor:
        """(…, classes) → (…): its median, which has the least expected absolute error.

        Each class's share is spread evenly from halfway to the class below to halfway to the one above, so the median
        moves continuously with the logits.
        """
        shares = logits.softmax(dim=-1)
        reached = shares.cumsum(dim=-1)
        place = (reached < 0.5).sum(dim=-1, keepdim=True).clamp(max=len(self) - 1)
        share = shares.gather(-1, place).clamp(min=1e-6)
        before = reached.gather(-1, place) - share
        middle = (self.centres[1:] + self.centres[:-1]) / 2
        low = torch.cat([self.centres[:1], middle])[place]
        high = torch.cat([middle, self.centres[-1:]])[place]
        found = low + ((0.5 - before) / share).clamp(0, 1) * (high - low)
        return found[..., 0]

    @torch.no_grad()
    def read(self, logits: torch.Tensor, *, spread: bool = False) -> torch.Tensor:
        """The same median, and with `spread` the same deviation, of logits whose classes come first: for inference.

        The median lies above a class's range by all of its width, within it in part, or below it. So each class adds
        its share of its width, one class after another, and nothing is sorted or looked up.

        Args:
            logits: (classes, N), few enough voxels to stay in the processor's cache.
            spread: Whether the deviation is wanted too.

        Returns:
            (1, N), or (2, N) with the deviation, in network units.
        """
        shares = (logits - logits.amax(dim=0)).exp_()
        total = shares.sum(dim=0)
        left, least = total * 0.5, total * 1e-6
        median = torch.full_like(left, EDGES[0])
        for share, width in zip(shares, WIDTHS, strict=True):
            median.add_((left / torch.maximum(share, least)).clamp_(0, 1), alpha=width)
            left.sub_(share)
        if not spread:
            return median[None]
        mean, square = torch.stack([self.centres, self.centres**2]) @ shares / total
        return torch.stack([median, (square - mean**2).clamp(min=0).sqrt()])

    def mean_and_cross_entropy(self, logits: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean of each voxel's distribution, and its cross entropy to the classes of a known value.

        Args:
            logits: (…, classes).
            values: (…) in network units.

        Returns:
            Both (…).
        """
        value = values.clamp(float(self.centres[0]), float(self.centres[-1]))
        above = torch.bucketize(value, self.centres).clamp(1, len(self) - 1)
        low, high = self.centres[above - 1], self.centres[above]
        share = (value - low) / (high - low)
        logs = functional.log_softmax(logits, dim=-1)
        of_low, of_high = (logs.gather(-1, place[..., None])[..., 0] for place in (above - 1, above))
        return logs.exp() @ self.centres, -((1 - share) * of_low + share * of_high)
