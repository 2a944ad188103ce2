"""pyRadPlan as the dose engine: beams, influence matrix, optimisation, recalculation.

pyRadPlan (BSD-3-Clause) is an optional dependency and is imported on first use. Traps that this module closes:

- Its energy layers come from a built-in table, whatever table the dose uses. It therefore gets an image in the HU that
  this table maps to our densities.
- It would sample densities at the centres of its voxels. It gets averages, on the dose grid, and never converts.
- It would erase whatever lies outside all structures, such as a couch that was asked for.
- It draws its own progress bars, reads keys from the terminal, and uses a GPU if there is one.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from creps.dose.beams import Beam, PlannedDose, Ray
from creps.dose.memory import check_memory
from creps.dose.plan import DosePlan
from creps.dose.scene import Scene
from creps.errors import InputError, SettingsError
from creps.provenance import installed_version
from creps.volume import Array

__all__ = ["RBE", "Engine", "check_engine", "engine_versions"]

RBE = 1.1
"""Constant weight of proton dose."""

BROKEN_PYDANTIC = (2, 14)
"""From this version on, pyRadPlan 0.5 cannot serialise a ray: its serializer passes a second argument."""

INSTALL = "Install it with: pip install 'creps[dose]'"

Share = Callable[[float], None]
"""Called with the share of a step that is done."""


def engine_versions() -> dict[str, str]:
    """Versions of the engine and of what computes gamma, for records."""
    return {name: installed_version(name) or "not installed" for name in ("pyRadPlan", "pymedphys", "pydantic")}


class Engine:
    """One plan on one scene: steered on the CT, optimised there, recalculated on the sCT.

    Args:
        scene: Images and structures.
        plan: The plan.

    Raises:
        SettingsError: pyRadPlan is not installed, or pydantic is a version that it does not work with.
        InputError: no beamlet reaches the target.
    """

    def __init__(self, scene: Scene, plan: DosePlan) -> None:
        self._p = _imported()
        with _quiet():
            self.scene, self.plan = scene, plan
            self._body = scene.ct.body | scene.sct.body
            self._setup = self._plan_of_engine()
            ct = self._ct(_engine_hu(scene.ct.density))
            self._structures = self._structure_set(ct)
            self._steering = self._steer(ct)
        self.beams = tuple(self._beam(beam) for beam in self._steering.beams)
        if any(beam.beamlets == 0 for beam in self.beams):
            lost = next(beam.gantry_degrees for beam in self.beams if beam.beamlets == 0)
            raise InputError(
                f"No {'spot' if plan.radiation == 'protons' else 'beamlet'} of the beam at {lost:g} degrees reaches the"
                " target.",
                "Choose another angle or a smaller spot_mm in the plan file.",
            )

    def optimised(self, share: Share | None = None) -> tuple[npt.NDArray[np.float64], PlannedDose]:
        """Compute the influence matrix on the CT once and optimise the weights.

        Args:
            share: Called with the share of the matrix that is done.

        Returns:
            The weights of all beamlets, so that the median of the target is the prescription, and the dose on the CT.

        Raises:
            InputError: the matrix does not fit into memory, or the plan gives the target no dose.
        """
        check_memory(self.scene, self.plan, sum(beam.beamlets for beam in self.beams))
        with _quiet(share):
            engine = self._engine()
            matrix = engine.calc_dose_influence(self._ct(self.scene.ct.density), self._structures, self._steering)
            weights = np.asarray(
                self._p.fluence_optimization(
                    self._ct(self.scene.ct.density), self._structures, self._steering, matrix, self._setup
                )
            )
            dose = self._dose(matrix.compute_result_ct_grid(weights))
        median = float(np.median(dose.total_gy[self.scene.target_mask]))
        if not median > 0:
            raise InputError("The optimised plan gives the target no dose.", "Choose other beams in the plan file.")
        scale = self.plan.prescription_gy / median
        return weights * scale, PlannedDose(dose.total_gy * scale, tuple(one * scale for one in dose.beams_gy))

    def recalculated(self, density: Array, weights: npt.NDArray[np.float64], share: Share | None = None) -> PlannedDose:
        """The same beams and weights on other densities.

        Args:
            density: (D, H, W) relative to water.
            weights: Of all beamlets.
            share: Called with the share that is done.
        """
        with _quiet(share):
            steering = copy.deepcopy(self._steering)
            return self._dose(
                self._engine().calc_dose_forward(self._ct(density), self._structures, steering, np.asarray(weights))
            )

    def deepest_spots(self, density: Array, share: Share | None = None) -> list[sparse.csc_matrix]:
        """The dose of the most energetic spot of every ray, each alone.

        Args:
            density: (D, H, W) relative to water.
            share: Called with the share that is done.

        Returns:
            For each beam (voxels, rays), the dose of 10⁶ protons in Gy; voxels in the order of the raveled grid.

        Raises:
            InputError: they do not fit into memory.
        """
        steering = copy.deepcopy(self._steering)
        for beam in steering.beams:
            for ray in beam.rays:
                ray.beamlets = [max(ray.beamlets, key=lambda spot: spot.energy)]
        check_memory(self.scene, self.plan, sum(len(beam.rays) for beam in steering.beams))
        with _quiet(share):
            matrix = self._engine().calc_dose_influence(self._ct(density), self._structures, steering)
        columns = matrix.physical_dose.flat[0].tocsc()
        found, start = [], 0
        for beam in steering.beams:
            found.append(columns[:, start : start + len(beam.rays)])
            start += len(beam.rays)
        return found

    def _plan_of_engine(self) -> Any:
        kind = self._p.PhotonPlan if self.plan.radiation == "photons" else self._p.IonPlan
        setup = kind(machine="Generic")
        setup.prop_stf = {
            "gantry_angles": list(self.plan.gantry_degrees),
            "couch_angles": list(self.plan.couches),
            "bixel_width": self.plan.spot_mm,
            "iso_center": list(self.scene.isocentre_mm),
        }
        setup.prop_opt = {"solver": "scipy", "max_iter": self.plan.iterations, "allow_keyboard_cancel": False}
        return setup

    def _engine(self) -> Any:
        from pyRadPlan.dose.engines import get_engine

        engine = get_engine(self._setup)
        engine.dose_grid = self._grid
        engine.ignore_outside_densities = False
        engine.use_given_eq_density_cube = True
        if self.plan.radiation == "protons":
            engine.calc_let = False
        return engine

    def _ct(self, array: Array) -> Any:
        from pyRadPlan.ct import create_ct

        ct = create_ct(cube_hu=self.scene.grid.with_array(array).to_sitk())
        self._grid = ct.grid
        return ct

    def _structure_set(self, ct: Any) -> Any:
        from pyRadPlan.cst import ExternalVOI, StructureSet, Target
        from pyRadPlan.optimization.objectives import SquaredDeviation, SquaredOverdosing

        rbe = RBE if self.plan.radiation == "protons" else 1.0
        dose = self.plan.prescription_gy / rbe
        target = self.scene.target_mask
        objectives = {
            "target": [SquaredDeviation(priority=100.0, d_ref=dose), SquaredOverdosing(priority=100.0, d_max=dose)],
            "body": [SquaredOverdosing(priority=5.0, d_max=0.5 * dose)],
        }
        one = Target(name="target", ct_image=ct, mask=self._mask(target), objectives=objectives["target"])
        body = ExternalVOI(name="body", ct_image=ct, mask=self._mask(self._body), objectives=objectives["body"])
        return StructureSet(vois=[one, body], ct_image=ct)

    def _mask(self, mask: npt.NDArray[np.bool_]) -> Any:
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.CopyInformation(self.scene.grid.to_sitk())
        return image

    def _steer(self, ct: Any) -> Any:
        return self._p.generate_stf(ct, self._structures, self._setup)

    def _beam(self, beam: Any) -> Beam:
        centre, source = np.asarray(beam.iso_center, float).ravel(), np.asarray(beam.source_point, float).ravel()
        rays = tuple(
            Ray(_point(centre + source), _point(centre + np.asarray(ray.ray_pos, float).ravel())) for ray in beam.rays
        )
        beamlets = sum(len(ray.beamlets) for ray in beam.rays)
        return Beam(float(beam.gantry_angle), float(beam.couch_angle), rays, beamlets)

    def _dose(self, result: dict[str, Any]) -> PlannedDose:
        import SimpleITK as sitk

        rbe = np.float32(RBE if self.plan.radiation == "protons" else 1.0)
        total = sitk.GetArrayFromImage(result["physical_dose"]).astype(np.float32) * rbe
        parts = result.get("physical_dose_beam") or [result["physical_dose"]]
        beams = tuple(sitk.GetArrayFromImage(one).astype(np.float32) * rbe for one in parts)
        return PlannedDose(total, beams)


def check_engine() -> None:
    """Refuse to begin without the engine; imports nothing.

    Raises:
        SettingsError: pyRadPlan or pymedphys is not installed, or pydantic is a version that breaks pyRadPlan.
    """
    pydantic = installed_version("pydantic") or "0"
    if installed_version("pyRadPlan") is None:
        raise SettingsError("The dose engine pyRadPlan is not installed.", INSTALL)
    if tuple(int(part) for part in pydantic.split(".")[:2]) >= BROKEN_PYDANTIC:
        raise SettingsError(f"The dose engine pyRadPlan does not work with pydantic {pydantic}.", INSTALL)
    if installed_version("pymedphys") is None:
        raise SettingsError("pymedphys, which computes gamma, is not installed.", INSTALL)


def _imported() -> Any:
    """pyRadPlan, on one CPU core's numpy."""
    check_engine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, which it imports
            import pyRadPlan
    except ImportError as error:
        raise SettingsError(f"The dose engine pyRadPlan cannot be imported ({error}).", INSTALL) from error
    pyRadPlan.settings.xp.prefer_gpu = False
    pyRadPlan.settings.xp.preferred_cpu_array_backend = "numpy"
    return pyRadPlan


def _engine_hu(density: Array) -> Array:
    """The HU that pyRadPlan's built-in table maps to these densities."""
    from pyRadPlan.ct import default_hlut

    hu, known = default_hlut().T
    return np.interp(density, known[1:], hu[1:]).astype(np.float32)


@contextmanager
def _quiet(share: Share | None = None) -> Iterator[None]:
    """Keep the engine's warnings, log lines and bars from the terminal, and pass its progress on."""
    from pyRadPlan.core import ProgressReporter, observe_reports

    logger = logging.getLogger("pyRadPlan")
    level = logger.level
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        shown, ProgressReporter.console_progress = ProgressReporter.console_progress, False
        try:
            with observe_reports(_observer(share)):
                yield
        finally:
            ProgressReporter.console_progress = shown
            logger.setLevel(level)


def _observer(share: Share | None) -> Callable[[Any], None]:
    def observe(report: Any) -> None:
        levels = getattr(report, "levels", ())
        if share is None or not levels or levels[0].name != "Beam" or not levels[0].total:
            return
        inner = levels[1].fraction or 0.0 if len(levels) > 1 else 0.0
        share(min(1.0, (levels[0].current + inner) / levels[0].total))

    return observe


def _point(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
