"""Several generators that predict the same voxels: their mean, and how far they disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from creps.networks.generator import Generator, InferenceForm

__all__ = ["Ensemble"]


class Ensemble(Generator):
    """The mean of several generators; the variance between them joins that within (deep ensembles).

    Lakshminarayanan et al. 2017, Advances in Neural Information Processing Systems 30, section 2.4: mean and variance
    of a mixture with equal shares. For inference only.

    Args:
        members: Generators of the same input, at least one.
    """

    def __init__(self, members: Sequence[Generator]) -> None:
        super().__init__()
        self._members = list(members)
        self.kept = nn.ModuleList(members)
        self.width = max(member.width for member in members)

    @property
    def halo(self) -> int | None:
        """The largest of the members'; None if one has none."""
        halos = [member.halo for member in self._members]
        return None if None in halos else max(halo for halo in halos if halo is not None)

    @property
    def stride(self) -> int:
        """A common multiple of the members'."""
        return math.lcm(*(member.stride for member in self._members))

    @property
    def yields_spread(self) -> bool:
        """If all members do."""
        return all(member.yields_spread for member in self._members)

    def forward(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 1, D, H, W), the mean of the members."""
        return _mean(self._members, mr)

    @torch.no_grad()
    def with_spread(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 2, D, H, W): mean, and root of the variance within plus that between members."""
        return _mean_and_spread(self._members, mr)

    def folded(self, dtype: torch.dtype) -> InferenceForm | None:
        """The same of the members' fast forms, if all have one."""
        forms = [form for form in (member.folded(dtype) for member in self._members) if form is not None]
        return FoldedEnsemble(forms) if len(forms) == len(self._members) else None

    def bytes_at_peak(self, voxels: int, itemsize: int) -> int:
        """Memory in bytes: of the largest member, and of what the others have predicted."""
        largest = max(member.bytes_at_peak(voxels, itemsize) for member in self._members)
        return largest + 8 * voxels * len(self._members)


class FoldedEnsemble(InferenceForm):
    """`Ensemble` of fast forms.

    Args:
        members: Forms of the same input, at least one.
    """

    def __init__(self, members: Sequence[InferenceForm]) -> None:
        super().__init__()
        self._members = list(members)
        self.kept = nn.ModuleList(members)
        self.yields_spread = all(member.yields_spread for member in members)

    def forward(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 1, D, H, W), the mean of the members."""
        return _mean(self._members, mr)

    def with_spread(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 2, D, H, W), as `Ensemble.with_spread`."""
        return _mean_and_spread(self._members, mr)

    def bytes_at_peak(self, voxels: int) -> int:
        """Memory in bytes: of the largest member, and of what the others have predicted."""
        return max(member.bytes_at_peak(voxels) for member in self._members) + 8 * voxels * len(self._members)


def _mean(members: Sequence[Generator | InferenceForm], mr: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = sum((member(mr).float() for member in members), torch.zeros((), device=mr.device))
    return total / len(members)


def _mean_and_spread(members: Sequence[Generator | InferenceForm], mr: torch.Tensor) -> torch.Tensor:
    predicted = [member.with_spread(mr).float() for member in members]
    values = torch.stack([one[:, 0] for one in predicted])
    within = torch.stack([one[:, 1] for one in predicted]).square().mean(dim=0)
    return torch.stack([values.mean(dim=0), (within + values.var(dim=0, correction=0)).sqrt()], dim=1)
