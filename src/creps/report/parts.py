"""What a case report is made of, from memory or from disk; a part that does not belong to the case is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creps.dose.document import DoseDocument, read_dose_document
from creps.errors import CrepsError, InputError
from creps.evaluation.document import read_document
from creps.evaluation.results import Evaluation
from creps.io.dicom.read.elements import value
from creps.io.dicom.read.series import find_series
from creps.io.dicom.read.volume import read_series
from creps.io.image import ImageSource
from creps.io.itk import suffix
from creps.qa.document import QaReport, read_report
from creps.report.reading import read_object
from creps.synthesis.outputs import QA, RECORD, UNCERTAINTY, beside, uncertainty_file
from creps.volume import Volume

if TYPE_CHECKING:
    from creps.synthesis.result import Synthesis

__all__ = ["CaseParts", "OtherFiles", "gather_case", "parts_of", "qa_beside"]

DOSE_PICTURES = ("wash_ct", "wash_sct", "difference", "dvh", "gamma")


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
        notes: Sentences on parts that were left out.
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
    notes: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def with_notes(self, *notes: str) -> CaseParts:
        """The same with further sentences on what was left out."""
        return replace(self, notes=(*self.notes, *notes))


@dataclass(frozen=True)
class OtherFiles:
    """Files of a case that do not lie beside its sCT.

    Attributes:
        mr: The MR: a volume file or a DICOM folder.
        ct: The true CT.
        dose: Folder that `creps dose` wrote.
        evaluation: JSON that `creps evaluate` wrote.
        series: Which DICOM series of the MR's folder.
    """

    mr: Path | None = None
    ct: Path | None = None
    dose: Path | None = None
    evaluation: Path | None = None
    series: str | None = None


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
        InputError: the sCT cannot be read.
    """
    others = others or OtherFiles()
    source = ImageSource.find(sct, modality="ct" if sct.is_dir() else None)
    parts = CaseParts(sct=source.read(), names={"sCT": sct.name} | _identity(source))
    parts = _with_beside(parts, sct)
    parts = _with_image(parts, "mr", others.mr, others.series)
    parts = _with_image(parts, "ct", others.ct)
    parts = _with_dose(parts, others.dose, source)
    return _with_evaluation(parts, others.evaluation, source)


def qa_beside(sct: Path) -> QaReport | None:
    """The checks that lie beside an sCT; None without any that can be read."""
    file = beside(sct)[3] if suffix(sct) else sct / QA
    try:
        return read_report(file) if file.exists() else None
    except CrepsError:
        return None


def _with_beside(parts: CaseParts, sct: Path) -> CaseParts:
    """Add record, QA and uncertainty that synthesis wrote with the sCT."""
    if suffix(sct):
        _, record, _, qa, *_ = beside(sct)
        uncertainty = uncertainty_file(sct)
    else:
        record, qa, uncertainty = sct / RECORD, sct / QA, sct / UNCERTAINTY
    found: dict[str, Any] = {}
    notes = []
    if not record.exists():
        notes.append("There is no record beside the sCT, so model and settings are unknown.")
    if not qa.exists():
        notes.append("There is no QA document beside the sCT: synthesize with --qa report.")
    for name, path, read in (
        ("record", record, read_object),
        ("qa", qa, read_report),
        ("uncertainty", uncertainty, _read_uncertainty),
    ):
        if path.exists():
            try:
                found[name] = read(path)
            except CrepsError as error:
                notes.append(str(error))
    return replace(parts, **found).with_notes(*notes)


def _with_image(parts: CaseParts, which: str, path: Path | None, series: str | None = None) -> CaseParts:
    """Add MR or CT, if it belongs to the case."""
    if path is None:
        return parts
    called = which.upper()
    try:
        source = ImageSource.find(path, modality=which if path.is_dir() else None, wanted=series)
        made_from = (parts.record or {}).get("input", {}).get("sha256")
        if which == "mr" and made_from is not None and source.sha256() != made_from:
            return parts.with_notes(f"The MR {path.name} is left out: the sCT was made from another file.")
        volume = source.read()
    except CrepsError as error:
        return parts.with_notes(f"The {called} is left out. {error}")
    if not _overlap(volume, parts.sct):
        return parts.with_notes(f"The {called} {path.name} is left out: it does not overlap with the sCT.")
    names = {**parts.names, called: path.name, **({} if which == "ct" else _identity(source))}
    return replace(parts, names=names, **{which: volume})  # type: ignore[arg-type]


def _with_dose(parts: CaseParts, folder: Path | None, source: ImageSource) -> CaseParts:
    if folder is None:
        return parts
    try:
        document = read_dose_document(folder / "dose.json")
    except CrepsError as error:
        return parts.with_notes(f"The dose is left out. {error}")
    compared = document.inputs.get("sct", {}).get("sha256")
    if compared is not None and compared != source.sha256():
        return parts.with_notes(f"The dose in {folder.name} is left out: it was computed on another sCT.")
    pictures = {name: file.read_bytes() for name in DOSE_PICTURES if (file := folder / f"{name}.png").is_file()}
    return replace(parts, dose=document, dose_pictures=pictures)


def _with_evaluation(parts: CaseParts, path: Path | None, source: ImageSource) -> CaseParts:
    if path is None:
        return parts
    try:
        cases = read_document(path)
        own = source.sha256()
    except CrepsError as error:
        return parts.with_notes(f"The evaluation is left out. {error}")
    for case in cases.values():
        if case.record.get("inputs", {}).get("sct", {}).get("sha256") == own:
            return replace(parts, evaluation=case)
    return parts.with_notes(f"The evaluation {path.name} is left out: it scores other sCTs.")


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
