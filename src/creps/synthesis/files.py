"""Synthesis from files to files: the sCT as a volume file or as a DICOM series, its record and its picture."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from creps import hu
from creps.errors import InputError
from creps.figures import synthesis_figure
from creps.io.atomic import atomic_file, atomic_folder, filled_folder, write_json
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.derivation import Making
from creps.io.dicom.write.identity import Origin
from creps.io.dicom.write.structures import write_structures
from creps.io.itk import read_volume, suffix, write_volume
from creps.io.picture import write_picture
from creps.model import Plan
from creps.preprocessing.target_grid import Spacing, TargetGrid, bring_onto, check_target_grid
from creps.provenance import sha256_file
from creps.settings import InferenceSettings
from creps.synthesis.inputs import SERIES_FILES, MrInput, beside
from creps.synthesis.synthesize import Synthesis, synthesize
from creps.volume import Volume

__all__ = ["Wanted", "resolved", "synthesize_file"]

log = logging.getLogger(__name__)

LINKING = ("created", "input", "mask", "acquisition")
"""Of the record: what would lead from a de-identified export back to its MR."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a synthesis beside the sCT itself.

    Attributes:
        grid: Where the sCT lies; None: ``planning`` for DICOM, ``mr`` for volume files.
        spacing_mm: Of the planning grid, along D (superior), H, W; None: the MR's.
        force: Go on although the gate refuses.
        structures: Write body and bone as an RTSTRUCT beside a DICOM series; None: yes.
        stable_uids: The same input, model and settings give the same UIDs.
        pseudonym: Write a de-identified DICOM series under this name.
    """

    grid: TargetGrid | None = None
    spacing_mm: Spacing | None = None
    force: bool = False
    structures: bool | None = None
    stable_uids: bool = False
    pseudonym: str | None = None


def synthesize_file(
    plan: Plan,
    generator: nn.Module,
    source: MrInput,
    target: Path,
    settings: InferenceSettings,
    wanted: Wanted | None = None,
    *,
    mask: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Read an MR, synthesize, and write all results or none.

    A volume file gets ``.json`` and ``.png`` beside it; a folder gets the slices of a DICOM series, ``RS.dcm``,
    ``record.json`` and ``picture.png``, which need a DICOM series as the source.

    Raises:
        InputError: the MR or the mask cannot be used, or the gate refuses it.
        SettingsError: no such grid.
    """
    wanted = resolved(wanted or Wanted(), source, target)
    mr = source.read()
    origin = Origin.of(source.series) if source.series is not None and not suffix(target) else None
    result = synthesize(
        plan,
        generator,
        mr,
        settings,
        name=source.name,
        mask=read_volume(mask) if mask is not None else None,
        acquisition=source.acquisition(),
        grid=wanted.grid or "mr",
        spacing_mm=wanted.spacing_mm,
        force=wanted.force,
        progress=None if progress is None else lambda done, total: progress(done, total, ""),
    )
    record = {
        **result.record,
        "input": source.record(),
        "mask": None if mask is None else {"sha256": sha256_file(mask)},
    }
    if origin is None:
        _write_volume(target, mr, result, record)
    else:
        _write_series(target, mr, result, record, origin, wanted)
    log.info("%s: %d patches, %.1f s", target, record["patches"]["count"], record["seconds"])


def resolved(wanted: Wanted, source: MrInput, target: Path) -> Wanted:
    """With the grid that is usual for the output.

    Raises:
        InputError: the output cannot hold what is wanted.
        SettingsError: no such grid.
    """
    dicom = not suffix(target)
    if dicom and source.series is None:
        raise InputError(f"{source.path} is no DICOM series, so no DICOM can be made from it.", "Name a file with -o.")
    options = {
        "--deidentify": wanted.pseudonym is not None,
        "--stable-uids": wanted.stable_uids,
        "--structures": wanted.structures is not None,
    }
    for name, given in options.items():
        if given and not dicom:
            raise InputError(f"{name} is for DICOM, but {target} is a volume file.", "Name a folder with -o.")
    grid: TargetGrid = wanted.grid or ("planning" if dicom else "mr")
    check_target_grid(grid, wanted.spacing_mm)
    return replace(wanted, grid=grid)


def _write_volume(target: Path, mr: Volume, result: Synthesis, record: dict[str, Any]) -> None:
    with atomic_file(target) as temporary:
        sct, json_file, picture, *_ = beside(temporary)
        write_volume(result.sct, sct, integer=True)
        write_json(json_file, record)
        write_picture(synthesis_figure(mr, result.sct, f"{target.name}, {record['model']['region']}"), picture)


def _write_series(
    target: Path, mr: Volume, result: Synthesis, record: dict[str, Any], origin: Origin, wanted: Wanted
) -> None:
    making = _making(record, result, wanted)
    if wanted.pseudonym is not None:
        origin = origin.deidentified(wanted.pseudonym, making.uid_entropy)
        record = {key: value for key, value in record.items() if key not in LINKING}
    if not origin.kept.get("PatientPosition"):
        log.warning("%s: the MR does not say how the patient lay; some planning systems refuse that.", target)
    record_file, picture, structure_set = SERIES_FILES
    empty = target.is_dir() and not any(target.iterdir())  # it may be a disk of its own, which nothing can replace
    with filled_folder(target, last=record_file) if empty else atomic_folder(target) as folder:
        written = write_ct(folder, result.sct, origin, making)
        if wanted.structures is not False:
            body = result.body_mask()
            masks = {"BODY": body, "BONE": body & np.asarray(result.sct.array > hu.BONE_ABOVE)}
            drawn = write_structures(folder / structure_set, masks, result.sct, written, origin, making)
            record = {**record, "structures": list(drawn)}
            for name in masks.keys() - set(drawn):
                log.warning("%s: the sCT has no %s, so the structure set has none.", target, name.lower())
        write_json(folder / record_file, {**record, "series_instance_uid": written.series_uid})
        shown = mr if mr.same_grid_as(result.sct) else bring_onto(mr, result.sct, 0.0)
        figure = synthesis_figure(shown, result.sct, f"Synthetic CT, {record['model']['region']}")
        write_picture(figure, folder / picture)


def _making(record: dict[str, Any], result: Synthesis, wanted: Wanted) -> Making:
    """What the DICOM files say of how they were made; other voxels never get the same UIDs."""
    model = record["model"]
    voxels = hashlib.sha256(np.rint(result.sct.array).astype("<i2").tobytes() + result.body.array.tobytes())
    same = [voxels.hexdigest(), record["input"]["sha256"], wanted.pseudonym or ""]
    return Making(
        version=record["versions"]["creps"],
        weights_sha256=model["weights_sha256"],
        region=model["region"],
        recipe=model["recipe"] or "unknown",
        grid=record["grid"]["kind"],
        forced=tuple(finding.message for finding in result.gate.refusals),
        created=datetime.fromisoformat(record["created"]),
        uid_entropy=tuple(same) if wanted.stable_uids else None,
    )
