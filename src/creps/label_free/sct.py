"""The label-free score of finished sCTs, from any model or program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creps.cohort.cohort import Cohort
from creps.errors import InputError
from creps.label_free.patches import FixedPatch, fixed_patches, patches_of
from creps.label_free.score import Score
from creps.preprocessing.intensity import AIR_NETWORK, hu_to_network
from creps.preprocessing.mask import body_box
from creps.preprocessing.resample import resample
from creps.preprocessing.target_grid import bring_onto
from creps.volume import Volume

__all__ = ["score_scts"]


def score_scts(
    scts: Sequence[Volume],
    bodies: Sequence[Volume],
    cohort: Cohort,
    *,
    patch_size: tuple[int, int, int],
    reference_cases: int = 3,
) -> dict[str, float]:
    """Score synthetic CTs against the CTs of other patients: no paired CT is needed.

    The score is that of a run's validation, in its patches at three heights of the body, without the disagreement of
    overlapping predictions: a finished sCT has one value per voxel. So scores compare sCTs of one kind with each
    other, not with the curves of a run.

    Args:
        scts: In HU, on any grid.
        bodies: Body mask of each sCT, above 0.5 inside, on any grid.
        cohort: Its validation CTs are the reference, or its training CTs where it has none.
        patch_size: (D, H, W) in voxels of the cohort's grid, such as a model's patch size.
        reference_cases: CTs to compare with, at most.

    Returns:
        ``validation_score`` and ``place_distance_hu`` in HU (lower is better), ``bone_ratio`` and ``spread_ratio``
        relative to the CTs; NaN where a part cannot be computed. ``disagreement_hu`` is always NaN.

    Raises:
        InputError: there is no sCT, a body is missing or empty.
    """
    if not scts or len(scts) != len(bodies):
        raise InputError(f"{len(scts)} sCTs and {len(bodies)} bodies are given.", "Give a body for every sCT.")
    spacing_mm = cohort.manifest.preparation.spacing_mm
    patches = [
        patch
        for sct, body in zip(scts, bodies, strict=True)
        for patch in _patches_of(sct, body, spacing_mm, patch_size)
    ]
    score = Score(patches, fixed_patches(cohort, "ct", reference_cases, patch_size))
    return score([patch.array for patch in patches], [patch.shifted for patch in patches])


def _patches_of(
    sct: Volume, body: Volume, spacing_mm: tuple[float, float, float], size: tuple[int, int, int]
) -> list[FixedPatch]:
    grid = resample(sct.reoriented(), spacing_mm)
    inside = np.asarray(bring_onto(body, grid, 0.0).array > 0.5)
    if not inside.any():
        raise InputError("The body of an sCT is empty.", "Give a mask that is 1 inside the patient.")
    d, h, w = body_box(inside)
    patches = patches_of(hu_to_network(grid.array), inside, (d, h, w), grid.spacing_mm, size, AIR_NETWORK)
    return [FixedPatch(patch.array, patch.place, patch.array, (0, 0, 0)) for patch in patches]
