"""The cases of the QA benchmark: who sets the limits, who is good, and who gets seeded failures; syntheses are kept.

Limits come from creps' phantoms, from wide people under random sequences (as shipped models were taught), and from
three real scans. The test has creps' phantoms of another seed, the unseen family, and other real scans.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

import creps
from benchmarks.qa.mr_failures import MR_FAILURES
from benchmarks.unseen.cohort import FACTOR, GROW
from benchmarks.unseen.scanners import MR_CENTRES, acquire
from creps.errors import CrepsError
from creps.io.itk import read_volume
from creps.phantom import REGIONS
from creps.phantom.patient import grow_patient
from creps.phantom.tissue_map import grow_tissue_map
from creps.preprocessing.resample import resample
from creps.synthesis.options import SynthesisOptions
from creps.synthesis.synthesize import synthesize
from creps.training.simulation.people import Person
from creps.training.simulation.phantoms import imaged
from creps.training.simulation.postures import draw_places
from creps.training.simulation.scanner import scanned
from creps.volume import Mask, Volume

__all__ = ["CORRUPTED", "GOOD", "LIMITS", "Case", "Kept", "kept", "mr_of"]

PHANTOM_MM, REAL_MM = 3.0, 2.0
LIMITS_SEED, TEST_SEED = 501, 502
TILTS = ((0.0, 0.0), (6.0, 0.1), (-6.0, 0.2))
"""Versions of a real scan: turned about W by so many degrees, and this share missing below."""


@dataclass(frozen=True)
class Case:
    """One MR.

    Attributes:
        region: Model that it is meant for.
        family: phantom, wide, unseen or real.
        number: Of the person, or of the version of a real scan.
        file: Name of the real scan.
    """

    region: str
    family: str
    number: int
    file: str = ""

    @property
    def name(self) -> str:
        """For file names and tables."""
        return "-".join(filter(None, (self.region, self.family, self.file, str(self.number))))


def _people(region: str, family: str, count: int, start: int = 0) -> list[Case]:
    return [Case(region, family, number) for number in range(start, start + count)]


def _real(region: str, *files: str) -> list[Case]:
    return [Case(region, "real", number, file) for file in files for number in range(len(TILTS))]


LIMITS = (
    *_people("head", "phantom", 34), *_people("head", "wide", 10),
    *_real("head", "studyforrest_T1_1mm", "mne_ecog_T1"),
    *_people("pelvis", "phantom", 24), *_real("pelvis", "STS_007_mr_T1"),
)  # fmt: skip

GOOD = (
    *_people("head", "phantom", 34, 1000), *_real("head", "seg3d_T1", "fnndsc_adi_T1", "tcia_vs_T1Gd_ds2"),
    *_people("pelvis", "phantom", 10, 1000),
    *_people("head", "unseen", 5), *_people("pelvis", "unseen", 3),
)  # fmt: skip

_LAST = {("head", "phantom"): 1012, ("pelvis", "phantom"): 1002, ("head", "unseen"): 2, ("pelvis", "unseen"): 1}

CUT = _real("pelvis", "STS_014_mr_T1", "STS_044_mr_T1")
"""Real hips whose field of view ends within the body: an alarm is right, so they are no good cases."""

CORRUPTED = tuple(
    sorted(
        (case for case in GOOD if case.number < _LAST.get((case.region, case.family), 1)),
        key=lambda case: (case.number % 1000, case.family, case.region),
    )
)
"""The 20 whose MR is corrupted and synthesized again."""


def mr_of(case: Case, real: Path) -> Volume:
    """Grow or read an MR, upright.

    Args:
        case: Which.
        real: Folder with {head,pelvis}/mr.
    """
    if case.family == "real":
        return _tilted(read_volume(real / case.region / "mr" / f"{case.file}.nii.gz"), *TILTS[case.number])
    if case.family == "unseen":
        return _unseen(case)
    if case.family == "wide":
        return _wide(case)
    seed = [LIMITS_SEED if case.number < 1000 else TEST_SEED, 0, case.number]
    grown = grow_patient(REGIONS[case.region], seed, PHANTOM_MM, ct=False, centre=case.number % 3)
    if grown.mr is None:
        raise ValueError("the phantom has no MR")
    return grown.mr.reoriented()


def _tilted(mr: Volume, degrees: float, below: float) -> Volume:
    mr = resample(mr.reoriented(), (REAL_MM,) * 3)
    if degrees:
        mr = mr.with_array(ndimage.rotate(mr.array, degrees, axes=(0, 1), reshape=False, order=1))
    return Volume(mr.array[round(below * mr.shape[0]) :].copy(), mr.spacing_mm)


def _unseen(case: Case) -> Volume:
    """A person of the family that no recipe was chosen by, on a coarser grid than usual: it takes long to paint."""
    body = GROW[case.region](np.random.default_rng([TEST_SEED, 9, case.number]), PHANTOM_MM / FACTOR)
    centre = case.number % len(MR_CENTRES[case.region])
    return Volume(acquire(body, case.region, centre, FACTOR, couch=False).mr, (PHANTOM_MM,) * 3)


def _wide(case: Case) -> Volume:
    """A person of wide proportions under a random sequence, as the profile of a shipped model has them."""
    spacing, seed = (PHANTOM_MM,) * 3, [LIMITS_SEED, 7, case.number]
    tissues = grow_tissue_map(REGIONS[case.region], seed, spacing, wide=True)
    rng = np.random.default_rng(seed)
    middle = (np.array(tissues.shape) - 1) / 2
    places = draw_places(tissues.shape, middle, spacing, rng, range_of_scale=(1.0, 1.0))
    signal, _, body = imaged(Person.of(tissues), places, rng)
    return Volume(1000 * scanned(signal, body, spacing, rng, outside=True), spacing)


@dataclass(frozen=True, eq=False)
class Kept:
    """A synthesis that was kept: what QA needs of it.

    Attributes:
        mr: As it was given.
        sct: In HU.
        body: On the model's grid.
        left_out_ml: Of the preparation.
        intake: Record of the intake checks.
        seconds: Of the synthesis.
    """

    mr: Volume
    sct: Volume
    body: Volume
    left_out_ml: float
    intake: dict[str, Any]
    seconds: float


@lru_cache(maxsize=2)
def _model(region: str) -> Any:
    return creps.load(region)


def kept(case: Case, folder: Path, real: Path, failure: str = "", size: float = 0.0) -> Kept | str:
    """Synthesize a case, or take it from the folder; refusals of the intake are overridden.

    Args:
        case: Which.
        folder: Where syntheses are kept.
        real: Folder with {head,pelvis}/mr.
        failure: Of `MR_FAILURES`, or "wrong region's model"; none for a good case.
        size: Of the failure.

    Returns:
        The synthesis, or why there is none.
    """
    label = f"{case.name}~{failure.replace(' ', '_')}~{size:g}" if failure else case.name
    path, why = folder / f"{label}.npz", folder / f"{label}.refused.json"
    if why.is_file():
        return str(json.loads(why.read_text()))
    if not path.is_file():
        plain = kept(case, folder, real) if failure else None
        mr = plain.mr if isinstance(plain, Kept) else mr_of(case, real)
        if failure in MR_FAILURES:
            number = next(i for i, one in enumerate(CORRUPTED) if one == case)
            rng = np.random.default_rng([list(MR_FAILURES).index(failure), number])
            mr = MR_FAILURES[failure](mr, size, rng, number)
        region = {"head": "pelvis", "pelvis": "head"}[case.region] if failure == "wrong region's model" else case.region
        try:
            result = synthesize(_model(region), mr, options=SynthesisOptions(force=True))
        except CrepsError as error:
            why.write_text(json.dumps(f"{type(error).__name__}: {error}"))
            return str(error)
        about = {
            "left_out_ml": result.record["mr"]["left_out_ml"],
            "intake": result.record["gate"],
            "seconds": result.record["seconds"],
        }
        arrays = {
            f"{name}_{key}": value
            for name in ("mr", "sct", "body")
            for key, value in _stored(getattr(result, name), mask=name == "body").items()
        }
        partial = path.with_suffix(".partial.npz")
        np.savez_compressed(partial, allow_pickle=False, about=json.dumps(about), **arrays)
        partial.rename(path)
    with np.load(path) as stored:
        about = json.loads(str(stored["about"]))
        mr, sct, body = (_volume(stored, name) for name in ("mr", "sct", "body"))
    return Kept(mr, sct, body, about["left_out_ml"], about["intake"], about["seconds"])


def _stored(volume: Volume, *, mask: bool) -> dict[str, Any]:
    array: Any = (
        volume.array > 0.5 if mask else volume.array.astype(np.float16 if abs(volume.array).max() < 6e4 else np.float32)
    )
    return {"array": array, "spacing": volume.spacing_mm, "origin": volume.origin_mm, "direction": volume.direction}


def _volume(stored: Any, name: str) -> Volume:
    parts = {key: stored[f"{name}_{key}"] for key in ("array", "spacing", "origin", "direction")}
    return Volume(
        parts["array"].astype(np.float32), tuple(parts["spacing"]), tuple(parts["origin"]), parts["direction"]
    )


def body_of(one: Kept) -> Mask:
    """(D, H, W) of the body's own grid."""
    return np.asarray(one.body.array > 0.5)
