"""Compare the dose of one plan on a CT and on an sCT: the whole way, from images to figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from creps.dose.beams import PlannedDose
from creps.dose.density import DEFAULT_TABLE, DensityTable
from creps.dose.differences import bulk_flags, structure_dose, structure_values, target_dose
from creps.dose.document import BeamRange, DoseDocument
from creps.dose.dvh import synthrad_dvh
from creps.dose.engine import Engine, check_engine, engine_versions
from creps.dose.gamma import CRITERIA, Gamma, gamma_index
from creps.dose.images import CtImage, Image, read_ct
from creps.dose.plan import DosePlan
from creps.dose.proton_range import range_error
from creps.dose.published import published_for
from creps.dose.scene import Outside, Scene, build_scene
from creps.errors import SettingsError
from creps.provenance import provenance, sha256_file
from creps.volume import Volume

__all__ = ["DoseComparison", "DoseOptions", "compare_dose"]

Progress = Callable[[int, int, str], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DoseOptions:
    """How two doses are compared.

    Attributes:
        plan: The plan.
        table: From HU to density.
        outside: What surrounds the body: ``air``, or ``image`` for couch and mask as the image shows them.
        bulk: The first image is a bulk-density CT of the same MR instead of a CT.
        fill_gaps: Interpolate missing slices of a DICOM series.
        any_frame: Ignore DICOM frames of reference.

    Raises:
        SettingsError: `outside` is something else.
    """

    plan: DosePlan
    table: DensityTable = DEFAULT_TABLE
    outside: Outside = "air"
    bulk: bool = False
    fill_gaps: bool = False
    any_frame: bool = False

    def __post_init__(self) -> None:
        if self.outside not in ("air", "image"):
            raise SettingsError(f"There is no surrounding '{self.outside}'.", "Choose air or image.")


@dataclass(frozen=True)
class DoseComparison:
    """Two doses of one plan, and how far they are apart.

    Attributes:
        document: Figures, plan and provenance: what `dose.json` holds.
        scene: Images and structures on the dose grid.
        ct: Dose on the CT, per fraction.
        sct: Dose on the sCT, per fraction.
        gammas: Gamma maps.
    """

    document: DoseDocument
    scene: Scene = field(repr=False)
    ct: PlannedDose = field(repr=False)
    sct: PlannedDose = field(repr=False)
    gammas: tuple[Gamma, ...] = field(repr=False)

    @property
    def ct_dose(self) -> Volume:
        """Dose on the CT in Gy per fraction."""
        return self.scene.grid.with_array(self.ct.total_gy)

    @property
    def sct_dose(self) -> Volume:
        """Dose on the sCT in Gy per fraction."""
        return self.scene.grid.with_array(self.sct.total_gy)


def compare_dose(
    ct: Image | CtImage,
    sct: Image | CtImage,
    structures: Path | str | Mapping[str, Volume],
    options: DoseOptions,
    progress: Progress | None = None,
) -> DoseComparison:
    """Make a plan on the CT, recalculate it on the sCT and compare the doses.

    Args:
        ct: The CT (or the bulk-density CT) in HU: a volume, a file, or the folder of a DICOM series. A `CtImage` is
            taken as it is, without the checks of what is read.
        sct: The sCT.
        structures: File of an RTSTRUCT, folder of masks, or name → mask.
        options: Plan, density table and what to do with couch, gaps and frames of reference.
        progress: Called with (percent done, 100, name of the step).

    Raises:
        InputError: images or structures cannot be used or do not belong together, or memory does not suffice.
        SettingsError: the engine is not installed, or no structure is the target.
    """
    started = time.perf_counter()
    check_engine()
    steps = _Steps(progress, protons=options.plan.radiation == "protons")
    steps.begin("reading")
    images = tuple(
        image if isinstance(image, CtImage) else read_ct(image, role, fill_gaps=options.fill_gaps, bulk=bulk)
        for image, role, bulk in ((ct, "bulk-density CT" if options.bulk else "CT", options.bulk), (sct, "sCT", False))
    )
    if options.fill_gaps and not any("dicom_files" in image.record for image in images):
        raise SettingsError("Gaps are filled in DICOM series, and neither image is one.", "Leave out --fill-gaps.")
    scene = build_scene(
        images[0],
        images[1],
        structures,
        options.plan,
        options.table,
        outside=options.outside,
        any_frame=options.any_frame,
    )
    steps.begin("beams")
    engine = Engine(scene, options.plan)
    weights, planned = engine.optimised(steps.begin("plan on the CT"))
    again = engine.recalculated(scene.sct.density, weights, steps.begin("dose on the sCT"))
    ranges = _ranges(engine, scene, steps) if options.plan.radiation == "protons" else ()
    steps.begin("gamma")
    gammas = tuple(gamma_index(planned.total_gy, again.total_gy, scene.grid, *criterion) for criterion in CRITERIA)
    figures = _figures(scene, options, planned, again) | {
        "beams": _beams(engine),
        "gamma": {one.name: _number(one.share_within_one) for one in gammas},
        "ranges": ranges,
        "inputs": _inputs(images, structures),
    }
    document = DoseDocument(
        **figures,
        seconds=round(time.perf_counter() - started, 1),
        provenance=_provenance(),
    )
    steps.done()
    return DoseComparison(document, scene, planned, again, gammas)


class _Steps:
    """Progress over steps of unlike length, in percent; each step is logged when it begins."""

    SHARES: ClassVar[dict[str, int]] = {
        "reading": 5,
        "beams": 5,
        "plan on the CT": 40,
        "dose on the sCT": 20,
        "ranges": 20,
        "gamma": 10,
    }

    def __init__(self, progress: Progress | None, *, protons: bool) -> None:
        self._progress = progress
        self._total = sum(share for name, share in self.SHARES.items() if protons or name != "ranges")
        self._before, self._current, self._shown = 0.0, 0.0, 0

    def begin(self, name: str) -> Callable[[float], None]:
        """Begin a step; returns what is called with its share done."""
        log.info("dose: %s", name)
        self._before += self._current
        size = self._current = 100 * self.SHARES[name] / self._total
        before = self._before

        def share(done: float) -> None:
            self._shown = max(self._shown, min(99, int(before + size * done)))  # the engine counts a ray twice
            if self._progress is not None:
                self._progress(self._shown, 100, name)

        share(0.0)
        return share

    def done(self) -> None:
        if self._progress is not None:
            self._progress(100, 100, "")


def _ranges(engine: Engine, scene: Scene, steps: _Steps) -> tuple[BeamRange, ...]:
    share = steps.begin("ranges")
    on_ct = engine.deepest_spots(scene.ct.density, lambda done: share(done / 2))
    on_sct = engine.deepest_spots(scene.sct.density, lambda done: share(0.5 + done / 2))
    found = []
    for beam, one, other in zip(engine.beams, on_ct, on_sct, strict=True):
        error, _ = range_error(beam, scene.grid, one, other)
        found.append(BeamRange.model_validate({"gantry_degrees": beam.gantry_degrees, **error.values()}))
    return tuple(found)


def _figures(scene: Scene, options: DoseOptions, ct: PlannedDose, sct: PlannedDose) -> dict[str, Any]:
    plan = options.plan
    values = structure_values(scene, ct, sct)
    target = target_dose(scene, plan, ct, sct)
    x, y, z = scene.grid.origin_mm
    return {
        "reference": "bulk" if options.bulk else "ct",
        "plan": plan,
        "density_table": options.table.record(),
        "outside": options.outside,
        "grid": {
            "shape": list(scene.grid.shape),
            "spacing_mm": list(scene.grid.spacing_mm),
            "origin_mm": [round(value, 3) for value in (x, y, z)],
            "isocentre_mm": [round(value, 3) for value in scene.isocentre_mm],
        },
        "target": target,
        "structures": {name: structure_dose(scene, name, *pair) for name, pair in values.items()},
        "synthrad_dvh": synthrad_dvh(values, scene.target, (target.conformity_ct, target.conformity_sct)),
        "flags": bulk_flags(target, values[scene.target], plan) if options.bulk else (),
        "notes": scene.notes,
        "published": published_for(plan),
    }


def _beams(engine: Engine) -> tuple[dict[str, float], ...]:
    return tuple(
        {
            "gantry_degrees": beam.gantry_degrees,
            "couch_degrees": beam.couch_degrees,
            "rays": len(beam.rays),
            "beamlets": beam.beamlets,
        }
        for beam in engine.beams
    )


def _inputs(images: tuple[CtImage, ...], structures: Path | str | Mapping[str, Volume]) -> dict[str, Any]:
    found: dict[str, Any] = {role: image.record for role, image in zip(("ct", "sct"), images, strict=True)}
    if isinstance(structures, Mapping):
        return found | {"structures": {"names": list(structures)}}
    path = Path(structures)
    if path.is_file():
        return found | {"structures": {"file": path.name, "sha256": sha256_file(path)}}
    files = [one for one in sorted(path.iterdir()) if one.is_file()]
    return found | {"structures": {one.name: sha256_file(one) for one in files}}


def _provenance() -> dict[str, Any]:
    content = provenance()
    return {**content, "versions": {**content["versions"], **engine_versions()}}


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
