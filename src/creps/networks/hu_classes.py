"""A distribution over HU for every voxel: classes at fixed HU, and what is read off them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["CENTRES_HU", "HuClasses"]

CENTRES_HU = (
    *(-1000, -900, -700, -500, -300, -150, -100, -60, -20, 10, 30, 50, 80, 130, 200, 300, 450, 650),
    *(900, 1200, 1600, 2100, 3000),
)  # fmt: skip
"""HU of the classes: close together where tissues are told apart by few HU."""

NETWORK_UNIT_HU = 1000.0


class HuClasses(nn.Module):
    """Classes at `CENTRES_HU`; a value between two of them belongs to both in part."""

    centres: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", torch.tensor(CENTRES_HU) / NETWORK_UNIT_HU, persistent=False)

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

    def cross_entropy(self, logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Cross entropy to the classes of known values.

        Args:
            logits: (…, classes).
            values: (…) in network units.

        Returns:
            (…).
        """
        value = values.clamp(float(self.centres[0]), float(self.centres[-1]))
        above = torch.bucketize(value, self.centres).clamp(1, len(self) - 1)
        low, high = self.centres[above - 1], self.centres[above]
        share = (value - low) / (high - low)
        logs = functional.log_softmax(logits, dim=-1)
        of_low, of_high = (logs.gather(-1, place[..., None])[..., 0] for place in (above - 1, above))
        return -((1 - share) * of_low + share * of_high)
