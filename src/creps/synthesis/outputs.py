"""Where synthetic CTs go, and whether they may be written there: checked before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from creps.errors import InputError, OutputExistsError
from creps.io.atomic import is_writable
from creps.io.dicom.read.headers import ENDINGS
from creps.io.image import ImageSource
from creps.io.itk import SUFFIXES, stem, suffix
from creps.io.outputs import check_new
from creps.synthesis.derived import DOCUMENTS, is_derived, other_files, remove_derived
from creps.synthesis.options import OutputOptions, SynthesisOptions
from creps.synthesis.result import Synthesis

__all__ = [
    "BULK",
    "EVERYTHING",
    "PICTURE",
    "QA",
    "RECORD",
    "REPORT",
    "REPORT_DICOM",
    "SLICES",
    "STRUCTURES",
    "UNCERTAINTY",
    "WITHIN",
    "FurtherOutputs",
    "beside",
    "bulk_file",
    "check_free",
    "derived_folder",
    "output_path",
    "picture_file",
    "qa_file",
    "record_file",
    "remove_beside",
    "report_file",
    "target_paths",
    "uncertainty_file",
]

RECORD, PICTURE, STRUCTURES, QA = "record.json", "picture.png", "RS.dcm", "qa.json"
"""Names of the files beside the slices of a written series."""

UNCERTAINTY = "uncertainty"
"""Folder within that of a written series, for the series of its uncertainty; ending of the name of a volume file."""

BULK = "bulk"
"""Likewise, for the CT of bulk densities."""

REPORT = "report.html"
"""Likewise, the page of a report, which has a JSON file beside it; ending of the name beside a volume file."""

REPORT_DICOM = "report.dcm"
"""The report as an encapsulated PDF, which a service writes for its destinations."""

SLICES = "CT.*.dcm"

WITHIN = {UNCERTAINTY: "UN.*.dcm", BULK: "BD.*.dcm"}
"""Folder of a further series → its files."""


OWN_FILES = (RECORD, PICTURE, STRUCTURES, QA, REPORT, REPORT_DICOM, Path(REPORT).with_suffix(".json").name)
"""What may lie in the folder of a written series, besides its slices and further series."""


@dataclass(frozen=True)
class FurtherOutputs:
    """What is written with an sCT besides its record, picture and QA.

    Attributes:
        uncertainty: Whether the uncertainty is.
        bulk: Whether a CT of bulk densities is.
        report: Whether a report is.
        derived: Folders of what else is made of the sCT.
    """

    uncertainty: bool = False
    bulk: bool = False
    report: bool = False
    derived: tuple[str, ...] = ()

    @classmethod
    def requested(cls, options: SynthesisOptions, output: OutputOptions) -> FurtherOutputs:
        """What the options of a synthesis ask for."""
        derived = tuple(one.folder for one in options.derived)
        return cls(options.uncertainty, output.bulk is not None, output.report, derived)

    @classmethod
    def available(cls, result: Synthesis, output: OutputOptions) -> FurtherOutputs:
        """What can be written of a finished synthesis."""
        derived = tuple(one.folder for one in result.derived)
        return cls(result.uncertainty is not None, output.bulk is not None, output.report, derived)


SCT_ALONE = FurtherOutputs()
EVERYTHING = FurtherOutputs(uncertainty=True, bulk=True, report=True, derived=tuple(DOCUMENTS))


def output_path(result: Synthesis, target: Path | str, options: OutputOptions, *, overwrite: bool) -> Path:
    """Where the sCT is written, if that is possible.

    Args:
        result: The synthesis that is to be written.
        target: A volume file or a folder.
        options: How it is written.
        overwrite: Whether what creps wrote may be replaced.

    Raises:
        InputError: the target cannot be written, or an option does not belong to it.
        OutputExistsError: it is there already.
    """
    if not isinstance(target, (Path, str)):
        raise InputError(f"The target is of the type {type(target).__name__}.", "Give the path of a file or a folder.")
    path, source = Path(target), result.source
    further = FurtherOutputs.available(result, options)
    if source is not None:
        (path,) = target_paths([source], path, overwrite, further)
    elif not suffix(path):
        raise InputError(f"{path} has an unknown file extension.", f"Use {', '.join(SUFFIXES)}.")
    else:
        check_free([path], [], overwrite, further)
    is_dicom = source is not None and source.series is not None
    options.check_target(path, dicom_source=is_dicom, dicom_target=not suffix(path))
    return path


def target_paths(
    inputs: Sequence[ImageSource],
    output: Path,
    overwrite: bool,
    further: FurtherOutputs = SCT_ALONE,
    *,
    given: int | None = None,
) -> list[Path]:
    """Where the sCT of each input goes: files for files, a folder of DICOM for a DICOM series.

    Args:
        inputs: The MRs.
        output: A file if its ending says so (one input only), otherwise a folder: of one DICOM series the one that
            receives its slices.
        overwrite: Whether what creps wrote may be replaced.
        further: What is written with each sCT.
        given: How many MRs were given, if some of them cannot be used; default: those in `inputs`.

    Raises:
        InputError: several inputs for one file, two inputs with one name.
        OutputExistsError: a target, its record or its picture is there already, or is an input.
    """
    given = given or len(inputs)
    if suffix(output):
        if given != 1:
            raise InputError(f"{output} is a single file, but there are {given} inputs.", "Name a folder.")
        targets = [output] if inputs else []  # the one MR may be what cannot be used
    elif output.suffix.lower() in ENDINGS and not output.is_dir():
        raise InputError(f"{output} names a file, but the sCT of a DICOM series is a folder.", "Name a folder.")
    else:
        volumes = any(one.series is None for one in inputs)
        if output.is_file() or (volumes and output.suffix and not output.is_dir() and given == 1):
            raise InputError(f"{output} has an unknown file extension.", f"Use {', '.join(SUFFIXES)}, or a folder.")
        targets = _in_folder(inputs, output, alone=given == 1)
    check_free(targets, inputs, overwrite, further)
    return targets


def check_free(
    targets: Sequence[Path], inputs: Sequence[ImageSource], overwrite: bool, further: FurtherOutputs
) -> None:
    """Refuse targets that cannot be written: arguments and errors as for `target_paths`."""
    written = [path for target in targets for path in beside(target, further)]
    twice = next((path for path in written if written.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"Two inputs have the same output {twice}.", "Synthesize them into different folders.")
    for path in written:
        _check_free(path, inputs, overwrite)


def beside(target: Path, further: FurtherOutputs) -> list[Path]:
    """List what is written for an sCT: a volume file with everything beside it, or a folder, which holds the rest.

    Args:
        target: A volume file or a folder.
        further: What is written besides record, picture and QA.
    """
    if not suffix(target):
        return [target]
    volumes = [target, *[uncertainty_file(target)] * further.uncertainty, *[bulk_file(target)] * further.bulk]
    data = {".mhd": ".zraw", ".nhdr": ".raw.gz"}.get(suffix(target))  # a header's voxels
    voxels = [] if data is None else [one.with_name(f"{stem(one)}{data}") for one in volumes]
    documents = [record_file(target), picture_file(target), qa_file(target)]
    page = report_file(target)
    reports = [page, page.with_suffix(".json")] if further.report else []
    folders = [derived_folder(target, one) for one in further.derived]
    return [*volumes, *voxels, *documents, *reports, *folders]


def remove_beside(target: Path, keep: Collection[str] = ()) -> None:
    """Delete a volume file's sCT and everything that creps may have written beside it.

    Args:
        target: A volume file.
        keep: Names of files and folders that stay.
    """
    for one in beside(target, EVERYTHING):
        if one.name in keep:
            continue
        if one.is_dir():
            remove_derived(one)
        else:
            one.unlink(missing_ok=True)


def derived_folder(target: Path, name: str) -> Path:
    """The folder of what is made of an sCT: ``sct_tus`` beside ``sct.nii.gz``, ``tus`` in the folder of a series."""
    return target.with_name(f"{stem(target)}_{name}") if suffix(target) else target / name


def uncertainty_file(target: Path) -> Path:
    """The uncertainty of an sCT: ``sct_uncertainty.nii.gz`` for ``sct.nii.gz``, ``uncertainty`` in a folder."""
    return _further_volume(target, UNCERTAINTY)


def bulk_file(target: Path) -> Path:
    """The CT of bulk densities of an sCT: ``sct_bulk.nii.gz`` for ``sct.nii.gz``, ``bulk`` in a folder."""
    return _further_volume(target, BULK)


def _further_volume(target: Path, name: str) -> Path:
    return target.with_name(f"{stem(target)}_{name}{suffix(target)}") if suffix(target) else target / name


def report_file(target: Path) -> Path:
    """The page of an sCT's report: ``sct_report.html`` for ``sct.nii.gz``, ``report.html`` in a folder."""
    return target.with_name(f"{stem(target)}_{REPORT}") if suffix(target) else target / REPORT


def record_file(target: Path) -> Path:
    """The record of an sCT: ``sct.json`` for ``sct.nii.gz``, ``record.json`` in a folder."""
    return target.with_name(f"{stem(target)}.json") if suffix(target) else target / RECORD


def picture_file(target: Path) -> Path:
    """The picture of an sCT: ``sct.png`` for ``sct.nii.gz``, ``picture.png`` in a folder."""
    return target.with_name(f"{stem(target)}.png") if suffix(target) else target / PICTURE


def qa_file(target: Path) -> Path:
    """The checks of an sCT: ``sct_qa.json`` for ``sct.nii.gz``, ``qa.json`` in a folder."""
    return target.with_name(f"{stem(target)}_{QA}") if suffix(target) else target / QA


def _in_folder(inputs: Sequence[ImageSource], output: Path, *, alone: bool) -> list[Path]:
    """A place for each input; folders that are named after patients are numbered instead."""
    if alone and inputs and inputs[0].series is not None:
        return [output.resolve()]  # of a link to a folder the folder is filled, not the link replaced
    nameless = sum(one.label == "mr" and one.series is not None for one in inputs) > 1
    targets = []
    for number, one in enumerate(inputs, start=1):
        if one.series is None:
            targets.append(output / f"{stem(one.path)}_sct{suffix(one.path)}")
        else:
            label = f"mr_{number}" if nameless and one.label == "mr" else one.label
            targets.append(output / f"{label}_sct")
    return targets


def _check_free(path: Path, inputs: Sequence[ImageSource], overwrite: bool) -> None:
    """Refuse a place that cannot be written, is one of the inputs, or holds something that may not be replaced."""
    real = path.resolve()
    place = next(one for one in (real, *real.parents) if one.exists())
    if not is_writable(place if place.is_dir() else place.parent):
        raise InputError(f"Cannot write to {place}.", "Check its permissions, or choose another output.")
    for one in inputs:
        source = one.path.resolve()
        if real == source or (one.series is not None and (real in source.parents or source in real.parents)):
            raise OutputExistsError(f"{path} is an input MR, or contains one.", "Choose another output.")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if path.is_dir() and not is_derived(path):
        shown = [file for file in path.iterdir() if not file.name.startswith(".")]
        others = other_files(path) or [
            file.name
            for file in shown
            if file.name not in OWN_FILES and not file.match(SLICES) and not _is_series(file) and not is_derived(file)
        ]
        if others or not (path / RECORD).is_file():
            raise OutputExistsError(
                f"{path} contains something other than an sCT ({(others or ['no record'])[0]}).",
                "Name a new folder.",
            )
    check_new(path, "Pass overwrite=True, or choose another output.", overwrite=overwrite)
    if path.is_mount():
        raise OutputExistsError(f"{path} is a mount point and cannot be replaced.", "Name a folder in it.")


def _is_series(folder: Path) -> bool:
    """Whether a folder holds a further series of an sCT, and nothing else."""
    pattern = WITHIN.get(folder.name)
    return pattern is not None and folder.is_dir() and all(file.match(pattern) for file in folder.iterdir())
