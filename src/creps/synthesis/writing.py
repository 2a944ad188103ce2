"""Write a synthetic CT with its record and picture: a volume file, or a DICOM series with an RTSTRUCT."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from creps import hu
from creps.figures import synthesis_figure
from creps.io.atomic import atomic_file, atomic_folder, filled_folder, write_json
from creps.io.dicom.write.bulk import write_bulk
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.derivation import Derivation
from creps.io.dicom.write.identity import SourceSeries
from creps.io.dicom.write.structures import write_structures
from creps.io.dicom.write.uncertainty import write_uncertainty
from creps.io.itk import suffix, write_volume
from creps.io.picture import write_picture
from creps.preprocessing.target_grid import bring_onto
from creps.synthesis.bulk import BulkDensities, bulk_density
from creps.synthesis.options import OutputOptions
from creps.synthesis.outputs import (
    BULK,
    PICTURE,
    QA,
    RECORD,
    STRUCTURES,
    UNCERTAINTY,
    bulk_file,
    derived_folder,
    picture_file,
    qa_file,
    record_file,
    remove_beside,
    uncertainty_file,
)
from creps.synthesis.purpose import write_derived
from creps.synthesis.result import Synthesis
from creps.volume import Volume

__all__ = ["write_synthesis"]

log = logging.getLogger(__name__)

LINKING = ("created", "input", "mask", "acquisition")
"""Keys of the record that would link a de-identified export to its MR."""


def write_synthesis(
    result: Synthesis, target: Path, options: OutputOptions | None = None, identity: SourceSeries | None = None
) -> None:
    """Write an sCT with its record and picture: all files or none.

    A volume file gets ``.json`` and ``.png`` beside it; a folder gets the slices of a DICOM series, ``RS.dcm``,
    ``record.json`` and ``picture.png``, which need a DICOM series as the source. An uncertainty becomes
    ``NAME_uncertainty`` in the format of the file, or a series of its own in the folder ``uncertainty``.

    Args:
        result: The synthesis.
        target: As `output_path` returns it.
        options: Structures, UIDs, pseudonym.
        identity: Identity of the DICOM source, if it has been read already.

    Raises:
        InputError: the identity of the DICOM source cannot be written.
    """
    if suffix(target) or result.source is None or result.source.series is None:
        _write_volume(target, result, options or OutputOptions())
    else:
        identity = identity or SourceSeries.of(result.source.series)
        _write_series(target, result, identity, options or OutputOptions())


def _write_volume(target: Path, result: Synthesis, options: OutputOptions) -> None:
    replaces = target.exists()
    with atomic_file(target) as temporary:
        write_volume(result.sct, temporary, integer=True)
        record = result.record
        if options.bulk is not None:
            write_volume(_bulk(result, options.bulk), bulk_file(temporary), integer=True)
            record = {**record, "bulk_density": {"hu": options.bulk.record()}}
        write_json(record_file(temporary), record | write_derived(result, partial(derived_folder, temporary)))
        if options.qa:
            result.qa.write(qa_file(temporary))
        if result.uncertainty is not None:
            write_volume(result.uncertainty, uncertainty_file(temporary), integer=True)
        figure = synthesis_figure(result.mr, result.sct, f"{target.name}, {result.record['model']['region']}")
        write_picture(figure, picture_file(temporary))
        written = {file.name for file in temporary.parent.iterdir()}
    if replaces:
        remove_beside(target, keep=written)  # what only the replaced sCT had


def _write_series(target: Path, result: Synthesis, identity: SourceSeries, options: OutputOptions) -> None:
    record, derivation = result.record, _derivation(result, options)
    if options.pseudonym is not None:
        identity = identity.deidentified(options.pseudonym, derivation.uid_entropy)
        record = _unlinked(record)
    if not identity.kept.get("PatientPosition"):
        log.warning("%s: the MR does not give the patient position; some planning systems refuse that.", target)
    empty = target.is_dir() and not any(target.iterdir())  # it may be a mounted disk, which cannot be replaced
    with filled_folder(target, last=RECORD) if empty else atomic_folder(target) as folder:
        written = write_ct(folder, result.sct, identity, derivation)
        if options.structures is not False:
            body = result.body_mask()
            masks = {"BODY": body, "BONE": body & np.asarray(result.sct.array > hu.BONE_ABOVE)}
            drawn = write_structures(folder / STRUCTURES, masks, result.sct, written, identity, derivation)
            record = {**record, "structures": list(drawn)}
            for name in masks.keys() - set(drawn):
                log.warning("%s: the sCT has no %s, so the structure set has none.", target, name.lower())
        record = record | _write_further_series(folder, result, identity, derivation, options)
        if options.qa:
            report = result.qa
            if options.pseudonym is not None:
                report = report.model_copy(update={"provenance": _unlinked(report.provenance)})
            report.write(folder / QA)
        write_json(folder / RECORD, {**record, "series_instance_uid": written.series_uid})
        mr = result.mr if result.mr.same_grid_as(result.sct) else bring_onto(result.mr, result.sct, 0.0)
        figure = synthesis_figure(mr, result.sct, f"Synthetic CT, {record['model']['region']}")
        write_picture(figure, folder / PICTURE)


def _write_further_series(
    folder: Path, result: Synthesis, identity: SourceSeries, derivation: Derivation, options: OutputOptions
) -> dict[str, Any]:
    """Write the uncertainty and the bulk densities that were asked for; return what the record says of them."""
    found: dict[str, Any] = {}
    if result.uncertainty is not None:
        about = result.record["uncertainty"]
        own = _with_voxels(derivation, result.uncertainty)
        mapped = write_uncertainty(folder / UNCERTAINTY, result.uncertainty, identity, own, about["confidence"])
        found["uncertainty"] = {**about, "series_instance_uid": mapped.series_uid}
    if options.bulk is not None:
        bulk = _bulk(result, options.bulk)
        own = replace(_with_voxels(derivation, bulk), bulk=options.bulk.record())
        bulk_series = write_bulk(folder / BULK, bulk, identity, own)
        found["bulk_density"] = {"hu": options.bulk.record(), "series_instance_uid": bulk_series.series_uid}
    return found | write_derived(result, partial(derived_folder, folder), unlinked=options.pseudonym is not None)


def _bulk(result: Synthesis, densities: BulkDensities) -> Volume:
    """The CT of bulk densities: classes of the sCT as predicted, overrides on top as they are in the sCT."""
    predicted = result.sct if result.predicted is None else result.predicted
    bulk = bulk_density(predicted.array, result.body_mask(), densities)
    if result.overridden is None:
        return result.sct.with_array(bulk)
    return result.sct.with_array(np.where(result.overridden, result.sct.array, bulk))


def _unlinked(record: dict[str, Any]) -> dict[str, Any]:
    """The record without what would link it to the MR; names of structures may be a patient's."""
    kept = {key: value for key, value in record.items() if key not in LINKING}
    if "overrides" in kept:
        kept["overrides"] = [{"hu": one["hu"], "ml": one["ml"]} for one in kept["overrides"]]
    return kept


def _with_voxels(derivation: Derivation, volume: Volume) -> Derivation:
    """The same with UIDs that also depend on these voxels: another calibration gives another map of the same sCT."""
    if derivation.uid_entropy is None:
        return derivation
    voxels = hashlib.sha256(np.rint(volume.array).astype("<i2").tobytes()).hexdigest()
    return replace(derivation, uid_entropy=(*derivation.uid_entropy, voxels))


def _derivation(result: Synthesis, options: OutputOptions) -> Derivation:
    """How the DICOM files say they were made; different voxels never get the same UIDs."""
    record, model = result.record, result.record["model"]
    voxels = hashlib.sha256(np.rint(result.sct.array).astype("<i2").tobytes() + result.body.array.tobytes())
    same = [voxels.hexdigest(), record["input"]["sha256"], options.pseudonym or ""]
    return Derivation(
        version=record["versions"]["creps"],
        weights_sha256=model["weights_sha256"],
        region=model["region"],
        recipe=model["recipe"] or "unknown",
        grid=record["grid"]["kind"],
        overridden=tuple(f"{one['hu']:g} HU in {one['ml']:g} ml" for one in record["overrides"]),
        forced=tuple(f"Check '{finding.check}': {finding.message}" for finding in result.intake.refusals),
        created=datetime.fromisoformat(record["created"]),
        uid_entropy=tuple(same) if options.stable_uids else None,
    )
