"""Everything that is measured of an sCT, in one pass over one scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from creps.qa.measures import bone, outline, signal, symmetry, tissue
from creps.qa.measures.measure import Measure
from creps.qa.scene import Scene
from creps.volume import Volume

__all__ = ["Measured", "measure"]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured.

    Attributes:
        scene: What it was measured on.
        measures: Name → number and place.
        by_place: (36,) where bone, air and body are, see `tissue.by_place`.
    """

    scene: Scene
    measures: dict[str, Measure]
    by_place: npt.NDArray[np.float64]


def measure(mr: Volume, sct: Volume, body: Volume) -> Measured:
    """Measure an sCT and its MR.

    Args:
        mr: In scanner units, on any grid.
        sct: In HU, on any grid.
        body: Body mask, 1 inside, on any grid.

    Raises:
        ValueError: the mask is empty.
    """
    scene = Scene.of(mr, sct, body)
    measures = {
        **outline.contour(scene),
        **outline.agreement(scene),
        **tissue.levels(scene),
        **tissue.shares(scene),
        **tissue.steps(scene),
        "saturated": tissue.saturated(scene),
        **bone.shape(scene),
        **bone.unlike_the_mr(scene),
        **bone.unsupported(scene),
        **symmetry.one_sided(scene),
        "sides_differ": symmetry.sides(scene),
        **signal.air_and_signal(scene),
        **signal.artefacts(scene),
        "bias_field": signal.bias_field(scene),
        "noise": signal.noise(mr),
        "cut_slices": outline.cut_slices_share(body),
    }
    return Measured(scene, measures, tissue.by_place(scene))
