"""What a case report is made of, from memory or from disk; a part that does not belong to the case is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creps.dose.document import FILE, PICTURES, DoseDocument, read_dose_document
from creps.errors import CrepsError, InputError
from creps.evaluation.document import read_document
from creps.evaluation.results import Evaluation
from creps.io.dicom.read.elements import value
from creps.io.dicom.read.series import find_series
from creps.io.dicom.read.volume import read_series
from creps.io.image import ImageSource
from creps.qa.document import QaReport, read_report
from creps.report.reading import SYNTHESIS, read_object, sound, without_paths
from creps.synthesis.outputs import qa_file, record_file, uncertainty_file
from creps.volume import Volume

if TYPE_CHECKING:
    from creps.synthesis.result import Synthesis

__all__ = ["CaseParts", "Note", "OtherFiles", "gather_case", "gather_checks", "parts_of", "qa_beside"]

ROUNDING_HU = 1.5
"""By which HU in a record and in the file may differ: values are rounded when they are written."""

GRID_MM = 0.05
"""By which the grids of an sCT and of its uncertainty may differ: DICOM rounds positions."""


@dataclass(frozen=True)
class Note:
    """A sentence on a part that was left out.

    Attributes:
        part: ``record``, ``qa``, ``uncertainty``, ``mr``, ``ct``, ``dose`` or ``evaluation``.
        text: The sentence, without any name.
        detail: Names and errors that may hold names; shown only if asked for.
    """

    part: str
    text: str
    detail: str = ""

    def shown(self, *, names: bool) -> str:
        """What the report says."""
        return f"{self.text} ({self.detail})" if names and self.detail else self.text


@dataclass(frozen=True)
class CaseParts:
    """The parts of a case report.

    Attributes:
        sct: The synthetic CT in HU.
        mr: The MR it was made from.
        ct: The true CT in HU.
        uncertainty: Half the width of the 90 % interval in HU, on the grid of `sct`.
        record: The record of the synthesis.
        qa: The checks of the sCT.
        evaluation: Its comparison with the true CT.
        dose: The comparison of doses.
        dose_pictures: Name → bytes of a PNG.
        notes: On parts that were left out.
        names: What → name of a file, patient or ID; shown only if asked for.
    """

    sct: Volume
    mr: Volume | None = None
    ct: Volume | None = None
    uncertainty: Volume | None = None
    record: Mapping[str, Any] | None = None
    qa: QaReport | None = None
    evaluation: Evaluation | None = None
    dose: DoseDocument | None = None
    dose_pictures: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def with_note(self, part: str, text: str, detail: str = "") -> CaseParts:
        """The same with another sentence on what was left out."""
        return replace(self, notes=(*self.notes, Note(part, text, detail)))

    def with_error(self, part: str, called: str, error: CrepsError, path: Path) -> CaseParts:
        """The same with a sentence that says why a document is left out, without its path."""
        reason = without_paths(str(error).replace(str(path), "It"))
        return self.with_note(part, f"{called} is left out. {reason}", path.name)


@dataclass(frozen=True)
class OtherFiles:
    """Files of a case that do not lie beside its sCT.

    Attributes:
        mr: The MR: a volume file or a DICOM folder.
        ct: The true CT.
        dose: Folder that `creps dose` wrote.
        evaluation: JSON that `creps evaluate` wrote.
        series: Which DICOM series of the MR's folder.
        fill_gaps: Interpolate missing slices of CT and sCT, as `creps dose --fill-gaps` did.
    """

    mr: Path | None = None
    ct: Path | None = None
    dose: Path | None = None
    evaluation: Path | None = None
    series: str | None = None
    fill_gaps: bool = False


def parts_of(synthesis: Synthesis, *, qa: bool = True) -> CaseParts:
    """The parts that a synthesis knows.

    Args:
        synthesis: The synthesis.
        qa: Whether the checks belong to the report.
    """
    names = {} if synthesis.source is None else _names(synthesis.source)
    return CaseParts(
        sct=synthesis.sct,
        mr=synthesis.mr,
        uncertainty=synthesis.uncertainty,
        record=synthesis.record,
        qa=synthesis.qa if qa else None,
        names=names,
    )


def gather_case(sct: Path, others: OtherFiles | None = None) -> CaseParts:
    """Collect the parts of a case: the sCT, what lies beside it, and other files.

    Args:
        sct: A volume file, or the folder of a DICOM series that creps wrote.
        others: MR, CT, dose, evaluation.

    Raises:
        InputError: the sCT cannot be read, or one of the others does not exist.
    """
    others = others or OtherFiles()
    for path in (others.mr, others.ct, others.dose, others.evaluation):
        if path is not None and not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
    source = _source_of_sct(sct)
    parts = _checked(sct, source, others)
    parts = _with_uncertainty(parts, uncertainty_file(sct))
    parts = _with_image(parts, "mr", others.mr, others)
    parts = _with_image(parts, "ct", others.ct, others)
    parts = _with_dose(parts, others.dose, source)
    return _with_evaluation(parts, others.evaluation, source)


def gather_checks(sct: Path) -> CaseParts:
    """Collect the sCT with its record and its QA alone, for a table of many cases: no other volume is read.

    Raises:
        InputError: the sCT cannot be read.
    """
    return _checked(sct, _source_of_sct(sct), OtherFiles())


def qa_beside(sct: Path) -> QaReport | None:
    """The checks that lie beside an sCT; None without any that can be read."""
    file = qa_file(sct)
    try:
        return read_report(file) if file.exists() else None
    except CrepsError:
        return None


def _voxels(path: Path, source: ImageSource, others: OtherFiles) -> Volume:
    """The voxels of a CT or an sCT, its missing slices interpolated where the dose did so."""
    if not others.fill_gaps:
        return source.read()
    from creps.dose.images import read_ct

    return read_ct(path, "image", fill_gaps=True).volume


def _source_of_sct(sct: Path) -> ImageSource:
    return ImageSource.find(sct, modality="ct" if sct.is_dir() else None)


def _checked(sct: Path, source: ImageSource, others: OtherFiles) -> CaseParts:
    """The sCT with the record and the QA that synthesis wrote with it, if they are its own."""
    parts = CaseParts(sct=_voxels(sct, source, others), names={"sCT": sct.name} | _identity(source))
    parts = _with_record(parts, record_file(sct))
    return _with_qa(parts, qa_file(sct))


def _with_record(parts: CaseParts, path: Path) -> CaseParts:
    if not path.exists():
        return parts.with_note("record", "There is no record beside the sCT, so model and settings are unknown.")
    try:
        record, damaged = sound(read_object(path), SYNTHESIS)
    except CrepsError as error:
        return parts.with_error("record", "The record", error, path)
    if not _describes(record, parts.sct):
        return parts.with_note("record", "The record beside the sCT is left out: it describes another sCT.")
    parts = replace(parts, record=record)
    if damaged:
        return parts.with_note("record", f"The record is damaged; left out: {', '.join(damaged)}.")
    return parts


def _describes(record: Mapping[str, Any], sct: Volume) -> bool:
    """Whether shape and HU in a record are those of an sCT; what the record lacks is not compared."""
    grid, hu = record.get("grid") or {}, record.get("sct_hu")
    if grid.get("shape") and list(grid["shape"]) != list(sct.shape):
        return False
    return hu is None or all(
        abs(float(measure(sct.array)) - hu[name]) <= ROUNDING_HU
        for name, measure in (("min", np.min), ("max", np.max), ("mean", np.mean))
    )


def _with_qa(parts: CaseParts, path: Path) -> CaseParts:
    if not path.exists():
        return parts.with_note("qa", "There is no QA document beside the sCT: synthesize with --qa report.")
    try:
        qa = read_report(path)
    except CrepsError as error:
        return parts.with_error("qa", "The QA document", error, path)
    checked = qa.provenance.get("sct")
    overridden = bool((parts.record or {}).get("overrides"))
    if isinstance(checked, dict) and not overridden:
        shape, mean = checked.get("shape"), checked.get("mean_hu")
        same = shape == list(parts.sct.shape) and isinstance(mean, int | float)
        if not same or abs(float(parts.sct.array.mean()) - float(mean or 0)) > ROUNDING_HU:
            return parts.with_note("qa", "The QA document beside the sCT is left out: it checked another sCT.")
    return replace(parts, qa=qa)


def _with_uncertainty(parts: CaseParts, path: Path) -> CaseParts:
    if not path.exists():
        return parts
    try:
        volume = _read_uncertainty(path)
    except CrepsError as error:
        return parts.with_note("uncertainty", "The uncertainty map cannot be read and is left out.", str(error))
    if not volume.same_grid_as(parts.sct, GRID_MM):
        return parts.with_note("uncertainty", "The uncertainty map is left out: it is not on the sCT's grid.")
    return replace(parts, uncertainty=volume)


def _with_image(parts: CaseParts, which: str, path: Path | None, others: OtherFiles) -> CaseParts:
    """Add MR or CT, if it belongs to the case."""
    if path is None:
        return parts
    called = which.upper()
    try:
        series = others.series if which == "mr" else None
        source = ImageSource.find(path, modality=which if path.is_dir() else None, selector=series)
        made_from = ((parts.record or {}).get("input") or {}).get("sha256")
        if which == "mr" and made_from is not None and source.sha256() != made_from:
            return parts.with_note(which, "The MR is left out: the sCT was made from another one.", path.name)
        volume = source.read() if which == "mr" else _voxels(path, source, others)
    except CrepsError as error:
        return parts.with_note(which, f"The {called} cannot be read and is left out.", str(error))
    if not _overlap(volume, parts.sct):
        return parts.with_note(which, f"The {called} is left out: it does not overlap with the sCT.", path.name)
    names = {**parts.names, called: path.name, **({} if which == "ct" else _identity(source))}
    return replace(parts, names=names, **{which: volume})  # type: ignore[arg-type]


def _with_dose(parts: CaseParts, folder: Path | None, source: ImageSource) -> CaseParts:
    if folder is None:
        return parts
    path = folder / FILE
    try:
        document = read_dose_document(path)
    except CrepsError as error:
        return parts.with_error("dose", "The dose document", error, path)
    compared = document.inputs.get("sct")
    if isinstance(compared, dict) and compared.get("sha256") not in (None, source.sha256()):
        return parts.with_note("dose", "The dose is left out: it was computed on another sCT.", folder.name)
    pictures = {name: file.read_bytes() for name in PICTURES if (file := folder / f"{name}.png").is_file()}
    return replace(parts, dose=document, dose_pictures=pictures)


def _with_evaluation(parts: CaseParts, path: Path | None, source: ImageSource) -> CaseParts:
    if path is None:
        return parts
    try:
        cases = read_document(path)
    except CrepsError as error:
        return parts.with_error("evaluation", "The evaluation", error, path)
    own = source.sha256()
    for case in cases.values():
        if case.record.get("inputs", {}).get("sct", {}).get("sha256") == own:
            return replace(parts, evaluation=case)
    return parts.with_note("evaluation", "The evaluation is left out: it scores other sCTs.", path.name)


def _overlap(one: Volume, other: Volume) -> bool:
    """Whether the boxes around two volumes share any space."""
    a, b = one.corners_mm(edges=True), other.corners_mm(edges=True)
    return bool(((a.max(axis=0) > b.min(axis=0)) & (b.max(axis=0) > a.min(axis=0))).all())


def _read_uncertainty(path: Path) -> Volume:
    if not path.is_dir():
        return ImageSource.find(path).read()
    found = find_series(path, derived=True)
    if len(found) != 1:
        raise InputError(f"{path} holds {len(found)} series and is left out.", "Synthesize again with --uncertainty.")
    return read_series(found[0])


def _names(source: ImageSource) -> dict[str, str]:
    return {"MR": source.path.name, **_identity(source)}


def _identity(source: ImageSource) -> dict[str, str]:
    """Name and ID of the patient that a DICOM series gives."""
    if source.series is None:
        return {}
    header = source.series.read_headers(source.name)[0].dataset
    return {
        label: str(found)
        for label, key in (("patient", "PatientName"), ("patient ID", "PatientID"))
        if (found := value(header, key))
    }
