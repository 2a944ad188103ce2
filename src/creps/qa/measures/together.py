"""Everything that is measured of an sCT, in one pass over one scene."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from creps.machine import cores
from creps.qa.measures import bone, outline, signal, symmetry, tissue
from creps.qa.measures.measure import Measure
from creps.qa.scene import Scene
from creps.volume import Volume

__all__ = ["Measured", "measure"]

log = logging.getLogger(__name__)

T = TypeVar("T")

PLACES = ("anatomy", "orientation")
"""Checks that are made of `tissue.by_place`."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured.

    Attributes:
        scene: What it was measured on.
        measures: Name → number and place.
        by_place: (36,) where bone, air and body are, see `tissue.by_place`; None if that failed.
        errors: Check → why it was not measured, where the code failed unexpectedly.
    """

    scene: Scene
    measures: dict[str, Measure]
    by_place: npt.NDArray[np.float64] | None
    errors: dict[str, str] = field(default_factory=dict)


def measure(mr: Volume, sct: Volume, body: Volume) -> Measured:
    """Measure an sCT and its MR.

    An unexpected exception within one measure is logged and kept in `Measured.errors`; the others are measured.

    Args:
        mr: In scanner units, on any grid.
        sct: In HU, on any grid.
        body: Body mask, 1 inside, on any grid.

    Raises:
        ValueError: the mask is empty.
    """
    scene = Scene.of(mr, sct, body)
    parts: dict[tuple[str, ...], Callable[[], dict[str, Measure]]] = {  # what takes longest begins first
        ("sides_differ",): lambda: {"sides_differ": symmetry.sides(scene)},
        ("one_sided_bone", "one_sided_void"): lambda: symmetry.one_sided(scene),
        ("shift", "edges_shared", "mirrored"): lambda: outline.agreement(scene),
        ("bone_missing", "bone_unexplained"): lambda: bone.unlike_the_mr(scene),
        ("bone_unlikely", "bone_without_edges"): lambda: bone.unsupported(scene),
        ("contour_mean", "contour_p95"): lambda: outline.contour(scene),
        ("air_in_signal", "tissue_in_void", "void_radius"): lambda: signal.air_and_signal(scene),
        ("noise",): lambda: {"noise": signal.noise(mr)},
        ("fat", "soft_tissue", "bone", "unevenness"): lambda: tissue.levels(scene),
        ("cut_slices",): lambda: {"cut_slices": outline.cut_slices_share(body)},
        ("slice_step", "plane_step"): lambda: tissue.steps(scene),
        ("bias_field",): lambda: {"bias_field": signal.bias_field(scene)},
        ("signal_beside", "shading"): lambda: signal.artefacts(scene),
        ("bone_continuity", "bone_thickness", "bone_at_skin"): lambda: bone.shape(scene),
        ("bone_share", "air_share", "fat_share"): lambda: tissue.shares(scene),
        ("saturated",): lambda: {"saturated": tissue.saturated(scene)},
    }
    measures: dict[str, Measure] = {}
    errors: dict[str, str] = {}
    with ThreadPoolExecutor(cores()) as pool:  # most of the time is spent in SciPy, which lets other threads run
        attempts = list(pool.map(_attempt, parts.keys(), parts.values()))
    for names, (found, why) in zip(parts, attempts, strict=True):
        measures |= dict.fromkeys(names, Measure(None)) if found is None else found
        errors |= dict.fromkeys(names, why) if why else {}
    places, why = _attempt(PLACES, lambda: tissue.by_place(scene))
    errors |= dict.fromkeys(PLACES, why) if why else {}
    return Measured(scene, measures, places, errors)


def _attempt(names: tuple[str, ...], part: Callable[[], T]) -> tuple[T | None, str]:
    """What a part measures, or None and why it failed: a defect in one check must not cost the user the sCT."""
    try:
        return part(), ""
    except Exception as error:  # noqa: BLE001 - any defect of the code is recorded, and the other checks go on
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        log.warning("QA did not measure %s: %s", ", ".join(names), why)
        return None, why
