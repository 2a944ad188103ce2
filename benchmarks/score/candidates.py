"""Every candidate part of a label-free score, for one checkpoint on fixed patches of unpaired cases.

Those that paid are the product's (creps.label_free.validation); the others stay here, so that the table can be made
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.stats import wasserstein_distance
from torch import nn

from creps.cohort.cohort import Cohort
from creps.label_free.patches import FixedPatch, fixed_patches
from creps.label_free.score import ByPlace, Score
from creps.preprocessing.intensity import network_to_hu
from creps.training.simulation.from_ct import simulate_mr
from creps.volume import Array


class Candidates:
    """All parts for networks of one cohort.

    Args:
        cohort: With validation cases.
        size: Of the patches.
        cases: MRs and CTs at most.
        draws: MRs simulated of each CT patch.
    """

    def __init__(self, cohort: Cohort, size: tuple[int, int, int], cases: int = 3, draws: int = 1) -> None:
        self.mrs, self.cts = (fixed_patches(cohort, modality, cases, size) for modality in ("mr", "ct"))
        self.score = Score(self.mrs, self.cts)
        self.texture = ByPlace(_gradient_hu, self.cts)
        self.local = ByPlace(_local_spread, self.cts)
        preparation = cohort.manifest.preparation
        spacing_mm, outside = preparation.spacing_mm, not preparation.remove_outside
        self.pairs = []
        for number in range(draws * len(self.cts)):
            ct, rng = self.cts[number % len(self.cts)], np.random.default_rng(number)
            self.pairs.append((simulate_mr(ct.array, ct.body, spacing_mm, rng, outside=outside), ct))

    @torch.no_grad()
    def __call__(self, generator: nn.Module) -> dict[str, float]:
        """All parts, each lower for a better model as far as it is to be believed."""
        generator = generator.eval().to(memory_format=torch.channels_last_3d)
        scts = _run(generator, [mr.array for mr in self.mrs])
        made = _run(generator, [mr for mr, _ in self.pairs])
        errors = [np.abs(network_to_hu(s - ct.array)) for s, (_, ct) in zip(made, self.pairs, strict=True)]
        bones = [_dice(s > 0.2, ct.array > 0.2, ct.body) for s, (_, ct) in zip(made, self.pairs, strict=True)]
        inside = [e[ct.body] for e, (_, ct) in zip(errors, self.pairs, strict=True)]
        shifted = _run(generator, [mr.shifted for mr in self.mrs])
        own = self.score(scts, shifted)
        del own["validation_score"]  # of its parts, see regret.py
        return own | {
            "hu_by_height": _by_height(scts, self.mrs, self.cts),
            "texture": self.texture(scts, self.mrs),
            "local_spread": self.local(scts, self.mrs),
            "mind": _over_body(_mind, scts, self.mrs),
            "edges": _over_body(_edges, scts, self.mrs),
            "unexplained": _over_body(_unexplained, scts, self.mrs),
            "simulated": float(np.concatenate(inside).mean()),
            "simulated_median": float(np.median([i.mean() for i in inside])),
            "simulated_bone": 1 - float(np.mean(bones)),
            "train_eval": self._modes(generator),
        }

    def _modes(self, generator: nn.Module) -> float:
        arrays = [mr.array for mr in self.mrs[:3]]
        evaluated = _run(generator, arrays)
        trained = _run(generator.train(), arrays)
        generator.eval()
        differences = [np.abs(a - b)[mr.body] for a, b, mr in zip(evaluated, trained, self.mrs[:3], strict=True)]
        return float(network_to_hu(np.concatenate(differences)).mean())


def _run(generator: nn.Module, mrs: list[Array]) -> list[Array]:
    batches = [torch.from_numpy(np.stack(mrs[i : i + 3]))[:, None] for i in range(0, len(mrs), 3)]
    with torch.no_grad():
        return [
            sct
            for batch in batches
            for sct in generator(batch.contiguous(memory_format=torch.channels_last_3d))[:, 0].float().numpy()
        ]


def _by_height(scts: list[Array], mrs: list[FixedPatch], cts: list[FixedPatch]) -> float:
    """The score before: each patch against all CT patches of its height."""
    cases, distances = len(mrs) // 3, []
    for number, (sct, mr) in enumerate(zip(scts, mrs, strict=True)):
        row = cts[number // cases * (len(cts) // 3) :][: len(cts) // 3]
        reference = np.concatenate([ct.array[ct.body][::5] for ct in row])
        distances.append(wasserstein_distance(network_to_hu(sct[mr.body][::5]), network_to_hu(reference)))
    return float(np.mean(distances))


def _over_body(part: Callable[[Array, Array], Array], scts: Sequence[Array], mrs: Sequence[FixedPatch]) -> float:
    values = [part(sct, mr.array)[mr.body] for sct, mr in zip(scts, mrs, strict=True)]
    return float(np.concatenate(values).mean())


def _mind(sct: Array, mr: Array) -> Array:
    """Difference of self-similarity, which MR and CT share (MIND, Heinrich et al. 2012)."""
    return np.asarray(np.abs(_similarities(sct) - _similarities(mr)).mean(axis=0))


def _similarities(image: Array) -> Array:
    """(6, D, H, W) likeness of each voxel's surroundings to those of its six neighbours, in [0, 1]."""
    padded, (d, h, w) = np.pad(image, 1, mode="edge"), image.shape
    starts = [(2, 1, 1), (0, 1, 1), (1, 2, 1), (1, 0, 1), (1, 1, 2), (1, 1, 0)]
    squares = [np.square(image - padded[a : a + d, b : b + h, c : c + w]) for a, b, c in starts]
    differences = np.stack([ndimage.uniform_filter(square, 3, mode="nearest") for square in squares])
    variance = differences.mean(axis=0)
    variance = np.clip(variance, 1e-3 * variance.mean() + 1e-8, 1e3 * variance.mean() + 1e-8)
    return np.asarray(np.exp(-(differences - differences.min(axis=0)) / variance))


def _edges(sct: Array, mr: Array) -> Array:
    """1 - cos² of the angle between the gradients, where either image has an edge."""
    a, b = np.array(np.gradient(sct)), np.array(np.gradient(mr))
    norm = ((a**2).sum(0) + 0.05**2) * ((b**2).sum(0) + 0.05**2)
    return np.asarray(1 - (a * b).sum(0) ** 2 / norm)


def _unexplained(sct: Array, mr: Array) -> Array:
    """HU that no line of the MR explains within 5³ voxels."""

    def mean(x: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        return np.asarray(ndimage.uniform_filter(x.astype(np.float64), 5))

    v = mean(mr**2) - mean(mr) ** 2 + 1e-4
    covariance = mean(mr * sct) - mean(mr) * mean(sct)
    left = mean(sct**2) - mean(sct) ** 2 - covariance**2 / v
    return np.asarray(1000 * np.sqrt(np.maximum(left, 0)))


def _gradient_hu(array: Array) -> Array:
    """How much HU change from a voxel to the next."""
    return np.asarray(np.sqrt(np.square(np.array(np.gradient(network_to_hu(array)))).sum(axis=0)))


def _local_spread(array: Array) -> Array:
    x = network_to_hu(array).astype(np.float64)
    return np.asarray(np.sqrt(np.maximum(ndimage.uniform_filter(x**2, 5) - ndimage.uniform_filter(x, 5) ** 2, 0)))


def _dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_], body: npt.NDArray[np.bool_]) -> float:
    a, b = a & body, b & body
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
