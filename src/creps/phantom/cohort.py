"""An unpaired cohort of phantoms on disk, laid out as the SynthRAD challenge does."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creps.errors import InputError, SettingsError
from creps.io.atomic import atomic_folder, write_json
from creps.io.itk import write_volume
from creps.phantom.head.anatomy import HEAD
from creps.phantom.painting.tissues import TISSUES
from creps.phantom.patient import Phantom, check_spacing, grow_patient
from creps.phantom.pelvis.anatomy import PELVIS
from creps.phantom.region import Region

__all__ = ["PHANTOM_SCHEMA", "REGIONS", "TRAINING_MANIFEST", "write_cohort"]

PHANTOM_SCHEMA = 1
"""Version of ``phantom.json`` and of the anatomy: raised when the same seed gives other images."""

TRAINING_MANIFEST = "train.csv"
"""Lists the training volumes with their centres, for preparation."""

REGIONS: dict[str, Region] = {region.name: region for region in (HEAD, PELVIS)}
"""Regions that have a phantom, by name."""

_MANIFEST_COLUMNS = ("case", "modality", "path", "mask", "centre", "split", "patient")


@dataclass(frozen=True)
class _Group:
    """One kind of patient.

    Attributes:
        number: Enters the seed; never renumber.
        folder: "train" or "test".
        letter: Third letter of the ids.
        mr: Whether MR is acquired.
        ct: Whether CT is acquired.
    """

    number: int
    folder: str
    letter: str
    mr: bool
    ct: bool


_MR, _CT, _TEST = (
    _Group(0, "train", "M", True, False),
    _Group(1, "train", "C", False, True),
    _Group(2, "test", "T", True, True),
)


def write_cohort(
    folder: Path,
    *,
    region: str = "head",
    mr_patients: int = 12,
    ct_patients: int = 12,
    test_patients: int = 4,
    seed: int = 0,
    spacing_mm: float = 2.0,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Path]:
    """Grow patients and write them, all or none.

    Training MR and CT belong to different people. Test patients have both, aligned (``H`` stands
    for the head, ``P`` for the pelvis):

        folder/train/1HM001/{mr,mask}.nii.gz
        folder/train/1HC001/{ct,mask}.nii.gz
        folder/test/1HT001/{mr,ct,ct_noise_free,mask,labels}.nii.gz
        folder/train.csv
        folder/phantom.json

    Where organs fill and move from day to day, the aligned ``ct``, ``ct_noise_free``, ``labels`` and
    ``mask`` show the MR's own sitting. Test patients then have a CT of another sitting too, as a
    planning CT of the same day would be, on the same grid and with the same bones:

        folder/test/1PT001/{ct_planning,labels_planning}.nii.gz

    ``train.csv`` lists the training volumes, a row each, with the letter of their MR centre or CT
    scanner. A patient depends on `seed`, its kind and its number only: a larger cohort starts with
    the same ones.

    Args:
        folder: Where; must be missing or empty.
        region: One of `REGIONS`.
        mr_patients: Number of training patients with an MR.
        ct_patients: Training patients with a CT.
        test_patients: Patients with both.
        seed: Of the whole cohort.
        spacing_mm: Nominal voxel size; the centres stretch it a little.
        progress: Called after each patient with how many are done, how many there are, and the id.

    Returns:
        The patients' folders, training MR first, then training CT, then test.

    Raises:
        SettingsError: an unknown region, a negative number, or a spacing not above 0 and up to 5 mm.
        InputError: `folder` is a file, or is not empty.
    """
    folder = Path(folder)
    counts = {"mr_patients": mr_patients, "ct_patients": ct_patients, "test_patients": test_patients}
    _check_settings(region, counts, seed, spacing_mm)
    _check_free(folder)
    groups = zip((_MR, _CT, _TEST), counts.values(), strict=True)
    cases = [(group, index) for group, count in groups for index in range(count)]
    records: list[dict[str, Any]] = []
    with atomic_folder(folder) as building:
        for done, (group, index) in enumerate(cases, start=1):
            name = f"1{region[0].upper()}{group.letter}{index + 1:03d}"
            patient = _grow(REGIONS[region], group, index, seed, spacing_mm)
            _write_case(patient, building / group.folder / name, with_truth=group is _TEST)
            records.append(
                {"id": name, "group": group.folder, "seed": [seed, group.number, index]} | patient.parameters
            )
            if progress is not None:
                progress(done, len(cases), name)
        header = {"schema": PHANTOM_SCHEMA, "region": region, "seed": seed, "spacing_mm": spacing_mm}
        tissues = {number: tissue.name for number, tissue in enumerate(TISSUES)}
        write_json(building / "phantom.json", header | counts | {"labels": tissues, "cases": records})
        _write_manifest(building / TRAINING_MANIFEST, records)
    return [folder / record["group"] / record["id"] for record in records]


def _grow(region: Region, group: _Group, index: int, seed: int, spacing_mm: float) -> Phantom:
    centre = index % len(region.mr_centres)
    return grow_patient(region, [seed, group.number, index], spacing_mm, mr=group.mr, ct=group.ct, centre=centre)


def _write_case(patient: Phantom, folder: Path, *, with_truth: bool) -> None:
    images = {"mr": patient.mr, "ct": patient.ct, "mask": patient.mask}
    if with_truth:
        images |= {"ct_noise_free": patient.ct_noise_free, "labels": patient.labels}
        images |= {"ct_planning": patient.ct_planning, "labels_planning": patient.labels_planning}
    for name, volume in images.items():
        if volume is not None:
            write_volume(volume, folder / f"{name}.nii.gz", integer=True)


def _write_manifest(path: Path, records: list[dict[str, Any]]) -> None:
    """List the training volumes; paths are relative to the list, and the split is left to preparation."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(_MANIFEST_COLUMNS)
        for record in records:
            if record["group"] == "train":
                name, modality = record["id"], "mr" if "mr_centre" in record else "ct"
                centre = record["mr_centre"] if modality == "mr" else record["ct_scanner"]
                images = (f"train/{name}/{modality}.nii.gz", f"train/{name}/mask.nii.gz")
                rows.writerow((name, modality, *images, centre, "", name))


def _check_settings(region: str, counts: dict[str, int], seed: int, spacing_mm: float) -> None:
    if region not in REGIONS:
        raise SettingsError(f"Unknown region {region!r}.", f"Choose one of: {', '.join(REGIONS)}.")
    for name, count in counts.items():
        if count < 0:
            raise SettingsError(f"{name} is {count}.", "Give 0 or more.")
    if seed < 0:
        raise SettingsError(f"The seed is {seed}.", "Give 0 or more.")
    check_spacing(spacing_mm)


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty.", "Choose a new or empty folder.")
