"""A look at the networks of a run: fixed patches of the validation cases, scored without pairs.

The score compares what can be compared without pairs: the HU inside the body of sCT patches with those
of CT patches at the same normalised place in the body, as a 1-D Wasserstein distance. It sees a skull in
the wrong region and wrong HU, not a wrong shape: look at the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import wasserstein_distance
from torch import nn

from creps.checkpoint import build_generator
from creps.data.cohort import Case, Cohort, Modality
from creps.data.patches import centred_location, read_patch
from creps.figures import patch_row
from creps.preprocessing.intensity import AIR_NETWORK, network_to_hu
from creps.settings import Settings
from creps.volume import Array

__all__ = ["PatchValidation"]

HEIGHTS = (0.5, 0.25, 0.75)
"""Where along the body's box the patches of a case lie; the first one is pictured."""

VALUES = 20_000
"""About so many voxels stand for a patch in the score."""


@dataclass(frozen=True)
class FixedPatch:
    """A patch that every validation looks at.

    Attributes:
        array: (D, H, W) in network units.
        body: (D, H, W) body mask.
    """

    array: Array
    body: npt.NDArray[np.bool_]


class PatchValidation:
    """Scores and pictures of the fixed patches of a cohort.

    Args:
        cohort: Its validation cases are used, or its training cases where it has none.
        settings: The whole tree.
        device: Where the networks are.
    """

    def __init__(self, cohort: Cohort, settings: Settings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        mrs, cts = (_chosen(cohort, m, settings.training.validation_cases) for m in ("mr", "ct"))
        size = settings.sampling.patch_size
        self.mr = [[_fixed(cohort, case, size, height, 0.0) for case in mrs] for height in HEIGHTS]
        self.ct = [[_fixed(cohort, case, size, height, AIR_NETWORK) for case in cts] for height in HEIGHTS]
        self.references = [np.concatenate([_values(ct.array, ct.body) for ct in row]) for row in self.ct]

    @torch.no_grad()
    def __call__(self, generator: nn.Module, final: nn.Module) -> tuple[dict[str, float], npt.NDArray[np.uint8]]:
        """Look at the networks.

        Args:
            generator: The one in training; it stays as it is.
            final: The one to synthesize with.

        Returns:
            Values for the curves, and a picture with a row (MR, sCT, CT) for each case.
        """
        network = self._copy(final).eval()
        scts = [[self._synthesize(network, mr.array[None])[0] for mr in row] for row in self.mr]
        distances = [
            wasserstein_distance(_values(sct, mr.body), reference)
            for row, cases, reference in zip(scts, self.mr, self.references, strict=True)
            for sct, mr in zip(row, cases, strict=True)
            if mr.body.any() and reference.size
        ]
        score = float(np.mean(distances)) if distances else float("inf")
        values = {"validation_score_hu": score, "train_eval_difference_hu": self._difference(generator)}
        rows = [
            patch_row(mr.array, sct, self.ct[0][number % len(self.ct[0])].array)
            for number, (mr, sct) in enumerate(zip(self.mr[0], scts[0], strict=True))
        ]
        return values, np.concatenate(rows)

    def _difference(self, generator: nn.Module) -> float:
        """Mean HU difference between training and evaluation mode on one batch: 0 without batch norm."""
        network, mr = self._copy(generator), np.stack([patch.array for patch in self.mr[0]])
        in_eval = self._synthesize(network.eval(), mr)
        return float(network_to_hu(np.abs(in_eval - self._synthesize(network.train(), mr)).mean()))

    def _copy(self, generator: nn.Module) -> nn.Module:
        """A plain network with the same state: nothing that one of several processes could wait in."""
        network = build_generator(self.settings.generator)
        network.load_state_dict(generator.state_dict())
        return network.to(self.device).to(memory_format=torch.channels_last_3d)

    def _synthesize(self, network: nn.Module, mr: Array) -> Array:
        """(B, D, H, W) MR → sCT, both in network units."""
        patches = torch.from_numpy(mr)[:, None].to(self.device, memory_format=torch.channels_last_3d)
        bf16 = self.settings.training.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            sct: Array = network(patches)[:, 0].float().cpu().numpy()
        return sct


def _chosen(cohort: Cohort, modality: Modality, count: int) -> list[Case]:
    cases = cohort.cases(modality, "validation") or cohort.cases(modality, "train")
    return list(cases[:count])


def _fixed(cohort: Cohort, case: Case, size: tuple[int, int, int], height: float, fill: float) -> FixedPatch:
    (first, end), *in_plane = case.body
    centre = (first + height * (end - first), *((a + b) / 2 for a, b in in_plane))
    where = centred_location(centre, case.shape, size)
    body = read_patch(np.asarray(cohort.body(case), dtype=np.float32), where, 0.0) > 0
    return FixedPatch(read_patch(cohort.array(case), where, fill), body)


def _values(array: Array, body: npt.NDArray[np.bool_]) -> Array:
    inside = array[body]
    return np.asarray(network_to_hu(inside[:: max(1, len(inside) // VALUES)]), dtype=np.float32)
