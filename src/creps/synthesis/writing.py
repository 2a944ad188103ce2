"""Write a synthetic CT with its record and picture: a volume file, or a DICOM series with an RTSTRUCT."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from creps import hu
from creps.figures import synthesis_figure
from creps.io.atomic import atomic_file, atomic_folder, filled_folder, write_json
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.derivation import Derivation
from creps.io.dicom.write.identity import SourceSeries
from creps.io.dicom.write.structures import write_structures
from creps.io.dicom.write.uncertainty import write_uncertainty
from creps.io.itk import suffix, write_volume
from creps.io.picture import write_picture
from creps.preprocessing.target_grid import bring_onto
from creps.synthesis.options import OutputOptions
from creps.synthesis.outputs import PICTURE, RECORD, STRUCTURES, UNCERTAINTY, beside, uncertainty_file
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
        _write_volume(target, result)
    else:
        identity = identity or SourceSeries.of(result.source.series)
        _write_series(target, result, identity, options or OutputOptions())


def _write_volume(target: Path, result: Synthesis) -> None:
    with atomic_file(target) as temporary:
        sct, json_file, picture, *_ = beside(temporary)
        write_volume(result.sct, sct, integer=True)
        write_json(json_file, result.record)
        if result.uncertainty is not None:
            write_volume(result.uncertainty, uncertainty_file(temporary), integer=True)
        write_picture(
            synthesis_figure(result.mr, result.sct, f"{target.name}, {result.record['model']['region']}"), picture
        )


def _write_series(target: Path, result: Synthesis, identity: SourceSeries, options: OutputOptions) -> None:
    record, derivation = result.record, _derivation(result, options)
    if options.pseudonym is not None:
        identity = identity.deidentified(options.pseudonym, derivation.uid_entropy)
        record = {key: value for key, value in record.items() if key not in LINKING}
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
        if result.uncertainty is not None:
            confidence = record["uncertainty"]["confidence"]
            own = _with_voxels(derivation, result.uncertainty)
            mapped = write_uncertainty(folder / UNCERTAINTY, result.uncertainty, identity, own, confidence)
            record = {**record, "uncertainty": {**record["uncertainty"], "series_instance_uid": mapped.series_uid}}
        write_json(folder / RECORD, {**record, "series_instance_uid": written.series_uid})
        mr = result.mr if result.mr.same_grid_as(result.sct) else bring_onto(result.mr, result.sct, 0.0)
        figure = synthesis_figure(mr, result.sct, f"Synthetic CT, {record['model']['region']}")
        write_picture(figure, folder / PICTURE)


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
        forced=tuple(f"Check '{finding.check}': {finding.message}" for finding in result.intake.refusals),
        created=datetime.fromisoformat(record["created"]),
        uid_entropy=tuple(same) if options.stable_uids else None,
    )
