"""Synthesis of files: read an MR, and write the sCT as a volume file or a DICOM series with its record and picture."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from creps import hu
from creps.errors import InputError
from creps.figures import synthesis_figure
from creps.io.atomic import atomic_file, atomic_folder, filled_folder, write_json
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.derivation import Derivation
from creps.io.dicom.write.identity import SourceSeries
from creps.io.dicom.write.structures import write_structures
from creps.io.image import ImageSource
from creps.io.itk import SUFFIXES, suffix, write_volume
from creps.io.picture import write_picture
from creps.model import Model
from creps.preprocessing.target_grid import bring_onto
from creps.provenance import sha256_file
from creps.settings import InferenceSettings
from creps.synthesis.inputs import SERIES_FILES, beside, check_free, target_paths
from creps.synthesis.options import SynthesisOptions
from creps.synthesis.result import Synthesis
from creps.synthesis.synthesize import synthesize

__all__ = ["output_path", "synthesize_source", "write_synthesis"]

log = logging.getLogger(__name__)

LINKING = ("created", "input", "mask", "acquisition")
"""Keys of the record that would link a de-identified export to its MR."""


def synthesize_source(
    model: Model,
    source: ImageSource,
    settings: InferenceSettings | None = None,
    options: SynthesisOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Read an MR and synthesize it.

    Args:
        model: The trained model.
        source: A volume file or a DICOM series.
        settings: Overlap, fusion, device, precision; default: the plan's.
        options: Grid, mask, force; default: the planning grid for a DICOM series, the MR's for a file.
        progress: Called with (patches done, patches in all).

    Raises:
        InputError: the MR or the mask cannot be used, or the gate refuses the MR.
        SettingsError: no such grid or device.
        ModelError: see `synthesize`.
    """
    options = (options or SynthesisOptions()).with_grid(dicom=source.series is not None)
    result = synthesize(
        model,
        source.read(),
        settings,
        options,
        name=source.name,
        acquisition=source.acquisition(),
        progress=progress,
    )
    record = {**result.record, "input": source.record(), "mask": _mask_record(options)}
    return replace(result, record=record, source=source)


def output_path(source: ImageSource | None, target: Path | str, options: SynthesisOptions, *, overwrite: bool) -> Path:
    """Where the sCT is written, if that is possible.

    Args:
        source: Of the MR; None for a volume in memory.
        target: A volume file or a folder.
        options: Their DICOM options.
        overwrite: Whether what creps wrote may be replaced.

    Raises:
        InputError: the target cannot be written, or an option does not belong to it.
        OutputExistsError: it is there already.
    """
    if not isinstance(target, (Path, str)):
        raise InputError(f"The target is of the type {type(target).__name__}.", "Give the path of a file or a folder.")
    if "\0" in str(target) or not isinstance(overwrite, bool):
        raise InputError("The path has a null character, or 'overwrite' is not True or False.", "Correct it.")
    path = Path(target)
    if source is not None:
        (path,) = target_paths([source], path, overwrite)
    elif not suffix(path):
        raise InputError(f"{path} has an unknown file extension.", f"Use {', '.join(SUFFIXES)}.")
    else:
        for one in beside(path):
            check_free(one, [], overwrite)
    is_dicom = source is not None and source.series is not None
    options.check_output(path, dicom_source=is_dicom, dicom_target=not suffix(path))
    return path


def write_synthesis(
    result: Synthesis, target: Path, options: SynthesisOptions | None = None, identity: SourceSeries | None = None
) -> None:
    """Write an sCT with its record and picture: all files or none.

    A volume file gets ``.json`` and ``.png`` beside it; a folder gets the slices of a DICOM series, ``RS.dcm``,
    ``record.json`` and ``picture.png``, which need a DICOM series as the source.

    Args:
        result: The synthesis.
        target: As `output_path` returns it.
        options: Structures, UIDs, pseudonym.
        identity: Identity of the DICOM source, if it has been read already.

    Raises:
        InputError: the identity of the DICOM source cannot be written.
    """
    record = {"input": {"given": "in memory"}, "mask": None} | result.record
    if suffix(target) or result.source is None or result.source.series is None:
        _write_volume(target, result, record)
    else:
        identity = identity or SourceSeries.of(result.source.series)
        _write_series(target, result, record, identity, options or SynthesisOptions())


def _mask_record(options: SynthesisOptions) -> dict[str, str] | None:
    if options.mask is None:
        return None
    if isinstance(options.mask, (Path, str)):
        return {"sha256": sha256_file(Path(options.mask))}
    return {"given": "in memory"}


def _write_volume(target: Path, result: Synthesis, record: dict[str, Any]) -> None:
    with atomic_file(target) as temporary:
        sct, json_file, picture, *_ = beside(temporary)
        write_volume(result.sct, sct, integer=True)
        write_json(json_file, record)
        write_picture(synthesis_figure(result.mr, result.sct, f"{target.name}, {record['model']['region']}"), picture)


def _write_series(
    target: Path, result: Synthesis, record: dict[str, Any], identity: SourceSeries, options: SynthesisOptions
) -> None:
    derivation = _derivation(record, result, options)
    if options.pseudonym is not None:
        identity = identity.deidentified(options.pseudonym, derivation.uid_entropy)
        record = {key: value for key, value in record.items() if key not in LINKING}
    if not identity.kept.get("PatientPosition"):
        log.warning("%s: the MR does not give the patient position; some planning systems refuse that.", target)
    record_file, picture, structure_set = SERIES_FILES
    empty = target.is_dir() and not any(target.iterdir())  # it may be a mounted disk, which cannot be replaced
    with filled_folder(target, last=record_file) if empty else atomic_folder(target) as folder:
        written = write_ct(folder, result.sct, identity, derivation)
        if options.structures is not False:
            body = result.body_mask()
            masks = {"BODY": body, "BONE": body & np.asarray(result.sct.array > hu.BONE_ABOVE)}
            drawn = write_structures(folder / structure_set, masks, result.sct, written, identity, derivation)
            record = {**record, "structures": list(drawn)}
            for name in masks.keys() - set(drawn):
                log.warning("%s: the sCT has no %s, so the structure set has none.", target, name.lower())
        write_json(folder / record_file, {**record, "series_instance_uid": written.series_uid})
        mr = result.mr if result.mr.same_grid_as(result.sct) else bring_onto(result.mr, result.sct, 0.0)
        figure = synthesis_figure(mr, result.sct, f"Synthetic CT, {record['model']['region']}")
        write_picture(figure, folder / picture)


def _derivation(record: dict[str, Any], result: Synthesis, options: SynthesisOptions) -> Derivation:
    """How the DICOM files say they were made; different voxels never get the same UIDs."""
    model = record["model"]
    voxels = hashlib.sha256(np.rint(result.sct.array).astype("<i2").tobytes() + result.body.array.tobytes())
    same = [voxels.hexdigest(), record["input"]["sha256"], options.pseudonym or ""]
    return Derivation(
        version=record["versions"]["creps"],
        weights_sha256=model["weights_sha256"],
        region=model["region"],
        recipe=model["recipe"] or "unknown",
        grid=record["grid"]["kind"],
        forced=tuple(finding.message for finding in result.gate.refusals),
        created=datetime.fromisoformat(record["created"]),
        uid_entropy=tuple(same) if options.stable_uids else None,
    )
