"""Validation of a run's networks during training: fixed patches of the validation cases, and simulated pairs.

The score is in HU, lower is better, see docs/concepts/label-free-score.md. It is the error on simulated pairs where a
run learns from such pairs, else the label-free score. Neither measures a model's error on patients: look at the
pictures.

The forward pass is the training's own, not that of `creps.inference`: the folded network differs in the last digits,
and one batch also runs in training mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from creps import hu
from creps.cohort.cohort import Cohort
from creps.figures import patch_row
from creps.label_free.patches import HEIGHTS, fixed_patches
from creps.label_free.score import Score
from creps.machine import resolve_precision
from creps.networks.build import build_generator
from creps.preprocessing.intensity import network_to_hu
from creps.settings import Settings
from creps.volume import Array

__all__ = ["PatchValidation"]

OUTSIDE = -0.95
"""What is not denser is air, in network units of CT."""


class PatchValidation:
    """Scores and pictures of the fixed patches of a cohort.

    Args:
        cohort: Its validation cases are used, or its training cases where it has none; without CT, the pairs alone
            are scored.
        settings: The whole tree.
        device: Where the networks are.
        pairs: Makes simulated MR and CT patches that the run does not learn from, (D, H, W) each in network units;
            called at the first validation. With them the score is the error on these pairs.
    """

    def __init__(
        self,
        cohort: Cohort,
        settings: Settings,
        device: torch.device,
        pairs: Callable[[], Sequence[tuple[Array, Array]]] = tuple,
    ) -> None:
        self.settings, self.device, self._make_pairs = settings, device, pairs
        count, size = settings.training.validation_cases, settings.sampling.patch_size
        self.mr, self.ct = (fixed_patches(cohort, modality, count, size) for modality in ("mr", "ct"))
        self.score = Score(self.mr, self.ct) if self.ct else None

    @cached_property
    def pairs(self) -> Sequence[tuple[Array, Array]]:
        """The simulated pairs; empty without any."""
        return self._make_pairs()

    @torch.no_grad()
    def __call__(self, generator: nn.Module, final: nn.Module) -> tuple[dict[str, float], npt.NDArray[np.uint8]]:
        """Score the networks and draw their patches.

        Args:
            generator: The network in training; it is not changed.
            final: The network to synthesize with.

        Returns:
            Values for the curves, and a picture with a row (MR, sCT, CT) for each case.
        """
        network = self._copy(final).eval()
        scts = self._synthesize(network, [mr.array for mr in self.mr])
        values = {"train_eval_difference_hu": self._difference(generator)}
        if self.score is not None:
            values = self.score(scts, self._synthesize(network, [mr.shifted for mr in self.mr])) | values
        if self.pairs:
            values["simulated_error_hu"] = self._error(network)
            values["validation_score"] = values["simulated_error_hu"]
        pictured = zip(self.mr[: len(self.mr) // len(HEIGHTS)], scts, strict=False)
        cts = self.ct[: len(self.ct) // len(HEIGHTS)]
        rows = [
            patch_row(mr.array, sct, cts[i % len(cts)].array if cts else None) for i, (mr, sct) in enumerate(pictured)
        ]
        return values, np.concatenate(rows)

    def _error(self, network: nn.Module) -> float:
        """Mean absolute error in HU over the bodies of the simulated pairs."""
        scts = self._synthesize(network, [mr for mr, _ in self.pairs])
        errors = [np.abs(sct - ct)[ct > OUTSIDE] for sct, (_, ct) in zip(scts, self.pairs, strict=True)]
        found = np.concatenate(errors)
        return float(found.mean()) * hu.PER_NETWORK_UNIT if found.size else math.nan

    def _difference(self, generator: nn.Module) -> float:
        """Mean HU difference between training and evaluation mode on one batch: 0 without batch norm."""
        network, mrs = self._copy(generator), [mr.array for mr in self.mr[: len(self.mr) // len(HEIGHTS)]]
        pairs = zip(self._synthesize(network.eval(), mrs), self._synthesize(network.train(), mrs), strict=True)
        return float(np.mean([network_to_hu(np.abs(a - b)).mean() for a, b in pairs]))

    def _copy(self, generator: nn.Module) -> nn.Module:
        """A plain network with the same state, without the communication between processes."""
        network = build_generator(self.settings.generator)
        network.load_state_dict(generator.state_dict())
        return network.to(self.device).to(memory_format=torch.channels_last_3d)

    def _synthesize(self, network: nn.Module, mrs: Sequence[Array]) -> list[Array]:
        """MR → sCT, both (D, H, W) in network units; as many at once as there are cases."""
        bf16 = resolve_precision(self.settings.training.precision, self.device) == "bf16"
        together, scts = len(self.mr) // len(HEIGHTS), []
        for first in range(0, len(mrs), together):
            patches = torch.from_numpy(np.stack(mrs[first : first + together]))[:, None]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                sct = network(patches.to(self.device, memory_format=torch.channels_last_3d))
            scts += list(sct[:, 0].float().cpu().numpy())
        return scts
