"""Cohorts and held-out patients as arrays on disk: nothing here reads or writes an image file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from creps.cohort.case import facts_of
from creps.cohort.cohort import Case, Cohort, Manifest, Modality, Split
from creps.preprocessing.preparation import Prepared
from creps.provenance import provenance
from creps.settings import Settings
from creps.volume import Volume

__all__ = ["TruePatient", "keep_true", "load_patient", "save_manifest", "save_paired_too", "store"]


@dataclass(frozen=True)
class TruePatient:
    """A held-out patient.

    Attributes:
        mr: As the scanner gives it.
        truth_hu: (D, H, W) its CT without noise, if it was acquired.
        body: (D, H, W) body mask.
    """

    mr: Volume
    truth_hu: np.ndarray | None
    body: np.ndarray


def keep_true(file: Path, mr: Volume, body: np.ndarray, truth_hu: np.ndarray | None) -> None:
    """Write a patient that is synthesized, with the truth."""
    truth = {} if truth_hu is None else {"truth_hu": truth_hu}
    file.parent.mkdir(parents=True, exist_ok=True)
    places = {"spacing_mm": mr.spacing_mm, "origin_mm": mr.origin_mm, "direction": mr.direction}
    np.savez(file, mr=mr.array, body=body, **places, **truth)


def load_patient(path: Path) -> TruePatient:
    """Read a patient that `keep_true` has left."""
    with np.load(path) as kept:
        spacing, origin = (tuple(kept[name].tolist()) for name in ("spacing_mm", "origin_mm"))
        truth = kept.get("truth_hu")
        return TruePatient(Volume(kept["mr"], spacing, origin, kept["direction"]), truth, kept["body"])


def store(folder: Path, name: str, modality: Modality, prepared: Prepared, source: str, split: Split = "train") -> Case:
    """Write the arrays of a case of a cohort."""
    for kind, array in ((modality, prepared.array), (f"{modality}_body", prepared.body)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        np.save(folder / kind / f"{name}.npy", array)
    facts = facts_of(prepared)
    return Case(
        case=name,
        patient=name,
        modality=modality,
        split=split,
        source=f"{source} {name}",
        source_sha256=facts["prepared_sha256"],
        **facts,
    )


def save_manifest(folder: Path, chosen: Settings, cases: list[Case]) -> None:
    """Make a folder of arrays a cohort."""
    manifest = Manifest(
        preset=chosen.preset,
        recipe=chosen.recipe,
        preparation=chosen.preparation,
        cases=tuple(sorted(cases, key=lambda case: (case.modality, case.case))),
        provenance=provenance(),
    )
    Cohort(folder, manifest).save_manifest()


def save_paired_too(folder: Path, unpaired: Settings, paired: Settings, cases: list[Case]) -> None:
    """Two cohorts of the same arrays: MR and CT of different people, and both of those who have both.

    Args:
        folder: Of the arrays; the unpaired cohort. The paired one is beside it.
        unpaired: Settings that it is prepared for.
        paired: Likewise for the paired one.
        cases: MRs of all, CTs of some.
    """
    own = {case.case for case in cases if case.modality == "ct"}
    beside = folder.with_name("paired")
    beside.mkdir()
    for kind in ("mr", "ct", "mr_body", "ct_body"):
        (beside / kind).symlink_to(folder / kind)
    save_manifest(beside, paired, [case for case in cases if case.case in own])
    save_manifest(folder, unpaired, [case for case in cases if (case.modality == "ct") == (case.case in own)])
