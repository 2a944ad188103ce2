"""One plan on a person's true CT, recalculated on any number of sCTs.

The influence matrix, the weights and the true ranges are computed once; `creps dose` does the same for one sCT.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.dose.cases import Person, Radiation, Region, plan_of, structures
from creps.dose.density import DEFAULT_TABLE
from creps.dose.differences import structure_values, target_dose
from creps.dose.dvh import synthrad_dvh
from creps.dose.engine import Engine
from creps.dose.gamma import gamma_index
from creps.dose.images import CtImage, axial
from creps.dose.proton_range import RangeErrors, range_error
from creps.dose.scene import Scene, build_scene, with_sct
from creps.volume import Volume

__all__ = ["Planned"]

CRITERION = (2.0, 2.0)


class Planned:
    """A plan of one radiation on the true CT of a person.

    Doses are compared in the true CT's body and, for ranges, along every ray.

    Args:
        person: The person.
        region: Selects plan and structures.
        radiation: ``photons`` or ``protons``.
    """

    def __init__(self, person: Person, region: Region, radiation: Radiation) -> None:
        self.plan = plan_of(region, radiation)
        truth = _image(person.ct, "the CT")
        self.scene = build_scene(truth, truth, structures(person, region), self.plan, DEFAULT_TABLE)
        self.engine = Engine(self.scene, self.plan)
        self.weights, self.dose = self.engine.optimised()
        self.deepest = self.engine.deepest_spots(self.scene.ct.density) if radiation == "protons" else []

    def figures(self, sct: Volume) -> dict[str, Any]:
        """Dose differences of an sCT, as plain JSON values.

        Raises:
            InputError: creps would refuse the sCT, for example because its body is elsewhere.
        """
        scene = with_sct(self.scene, _image(sct, "the sCT"), DEFAULT_TABLE)
        again = self.engine.recalculated(scene.sct.density, self.weights)
        target = target_dose(scene, self.plan, self.dose, again)
        values = structure_values(scene, self.dose, again)
        gamma = gamma_index(self.dose.total_gy, again.total_gy, scene.grid, *CRITERION)
        return {
            "dose_error_percent": target.error_percent,
            "mean_difference_percent": target.mean_difference_percent,
            "isocentre_difference_percent": target.isocentre_difference_percent,
            "synthrad_dvh": synthrad_dvh(values, scene.target, (target.conformity_ct, target.conformity_sct)),
            "gamma_percent": 100 * gamma.share_within_one,
            **(self._ranges(scene) if self.deepest else {}),
        }

    def _ranges(self, scene: Scene) -> dict[str, Any]:
        """Range errors of all rays of all beams together."""
        spots = self.engine.deepest_spots(scene.sct.density)
        beams = zip(self.engine.beams, self.deepest, spots, strict=True)
        errors = [range_error(beam, scene.grid, true, own)[0] for beam, true, own in beams]
        every = RangeErrors(tuple(x for one in errors for x in one.errors_mm), sum(one.lost for one in errors))
        return {f"range_{name}": value for name, value in every.values().items()}


def _image(volume: Volume, name: str) -> CtImage:
    """Past the checks of what is read: constant water is no CT."""
    upright = axial(volume.with_array(volume.array.astype(np.float32)))
    return CtImage(upright, name, None, {})
