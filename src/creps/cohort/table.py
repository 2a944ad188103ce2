"""Read the images of a cohort from a CSV file that a site wrote."""

from __future__ import annotations

import csv
import difflib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from creps.cohort.cohort import Modality, Split
from creps.cohort.patients import one_patient
from creps.cohort.sources import Source, dicom_source
from creps.errors import CrepsError, InputError
from creps.io.dicom.read.headers import DamagedFileError
from creps.io.dicom.read.series import one_series
from creps.io.itk import SUFFIXES, is_volume_file, stem

__all__ = ["COLUMNS", "read_table"]

COLUMNS = ("case", "modality", "path", "mask", "centre", "split", "patient", "series")
REQUIRED = ("modality", "path")
SPLITS: dict[str, Split] = {"train": "train", "validation": "validation"}
MODALITIES: dict[str, Modality] = {"mr": "mr", "ct": "ct"}
CASE_NAME = re.compile(r"\w[\w .+-]*")


LONGEST_NAME = 100


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        table: The file.
        number: Line in the file; the header is line 1.
        cells: Column → content, stripped; columns that are not there are empty.
    """

    table: Path
    number: int
    cells: dict[str, str]

    def error(self, column: str, what: str, remedy: str) -> InputError:
        """An error that names row and column."""
        return InputError(f"{self.table}, row {self.number}, column '{column}': {what}", remedy)


def read_table(table: Path) -> list[Source]:
    """The images that a CSV file lists.

    Columns: ``modality`` (mr, ct) and ``path`` are needed; ``case``, ``mask``, ``centre``, ``split`` (train,
    validation), ``patient`` and ``series`` (which of a folder's DICOM series: part of its description, or UID) may be
    there. Paths are relative to the file. Comma or semicolon, UTF-8.

    Raises:
        InputError: anything wrong in it; row and column are named.
    """
    rows = list(_rows(table))
    sources = [_source(row) for row in rows]
    _check_unique(rows, sources)
    _check_splits(rows, sources)
    return sources


def _text(table: Path) -> str:
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{table}, row {line}, is not UTF-8.", "Save it as 'CSV UTF-8'.") from error
    except OSError as error:
        raise InputError(
            f"{table} cannot be read ({error.strerror}).", "Check the path and its permissions."
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(
            f"{table}, row {line}, contains a NUL character and is not a CSV file.", "Save it as 'CSV UTF-8'."
        )
    return text


def _lines(table: Path) -> list[tuple[int, list[str]]]:
    """The header and the lines below it that are not empty, each with its number in the file."""
    text = _text(table)
    above = re.match(r"(?i:[ \t]*\r?\n|sep=.?\r?\n)*", text)  # what comes before the header
    skipped = above[0].count("\n") if above else 0
    text = text[above.end() :] if above else text
    first = text.partition("\n")[0]
    if "\t" in first and not {",", ";"} & set(first):
        raise InputError(f"{table} is separated by tabs.", "Separate the columns by comma or semicolon.")
    reader = csv.reader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        lines = [(reader.line_num + skipped, [cell.strip() for cell in line]) for line in reader]
    except csv.Error as error:
        raise InputError(
            f"{table}, row {reader.line_num + skipped}, cannot be read ({error}).", "Correct it."
        ) from error
    return lines[:1] + [(number, cells) for number, cells in lines[1:] if any(cells)]


def _rows(table: Path) -> Iterator[Row]:
    lines = _lines(table)
    header = _header(table, lines[0][1] if lines else [])
    if len(lines) < 2:
        raise InputError(f"{table} lists no image.", "Write one row per image below the header.")
    for number, cells in lines[1:]:
        if len(cells) > len(header):
            raise InputError(
                f"{table}, row {number}, has {len(cells)} cells for {len(header)} columns: '{cells[len(header)]}' is"
                " beyond the last.",
                "Quote cells that contain the delimiter.",
            )
        padded = [*cells, *[""] * (len(header) - len(cells))]
        yield Row(table, number, dict.fromkeys(COLUMNS, "") | dict(zip(header, padded, strict=True)))


def _header(table: Path, cells: list[str]) -> list[str]:
    names = [cell.lower() for cell in cells]
    for cell, name in zip(cells, names, strict=True):
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, 1, 0.5)
            hint = f"Did you mean '{near[0]}'? " if near else ""
            raise InputError(f"{table}, row 1: unknown column '{cell}'.", f"{hint}Known columns: {', '.join(COLUMNS)}.")
        if names.count(name) > 1:
            raise InputError(f"{table}, row 1: column '{cell}' appears twice.", "Keep one of them.")
    for name in REQUIRED:
        if name not in names:
            raise InputError(
                f"{table}, row 1: column '{name}' is missing.", f"Required columns: {' and '.join(REQUIRED)}."
            )
    return names


def _source(row: Row) -> Source:
    cells = row.cells
    modality = MODALITIES.get(cells["modality"].lower())
    if modality is None:
        raise row.error("modality", f"'{cells['modality']}' is no modality.", "Write mr or ct.")
    split = SPLITS.get(cells["split"].lower())
    if split is None and cells["split"]:
        raise row.error("split", f"'{cells['split']}' is no split.", "Write train or validation, or leave it empty.")
    path = _path(row, "path")
    mask = _path(row, "mask") if cells["mask"] else None
    if path.is_dir():
        source = _series_source(row, path, modality)
    else:
        case = cells["case"] or (path.parent.name if stem(path).lower() == modality else stem(path))
        source = Source(case, cells["patient"] or case, path, modality=modality, shown=_shown(row, path))
    if len(source.case) > LONGEST_NAME:
        raise row.error(
            "case", f"the name has {len(source.case)} characters.", f"Use {LONGEST_NAME} at most: it names files."
        )
    if not CASE_NAME.fullmatch(source.case):
        raise row.error(
            "case", f"'{source.case}' cannot be a file's name.", "Use letters, digits, spaces, '.', '_', '+' and '-'."
        )
    named = "table" if cells["patient"] else source.patient_from
    return replace(source, mask=mask, centre=cells["centre"] or None, split=split, patient_from=named)


def _series_source(row: Row, path: Path, modality: Modality) -> Source:
    case = row.cells["case"]
    try:
        name = f"The folder '{path.name}'"
        series = one_series(path, modality, name, row.cells["series"] or None)
    except DamagedFileError as error:
        case = case or path.name
        problem = row.error("path", f"a file or folder of '{case}' {error.fault}.", error.remedy)
        patient = row.cells["patient"] or case
        return Source(case, patient, path, modality=modality, shown=f"{case} (DICOM)", problem=problem)
    except CrepsError as error:
        raise row.error("path", error.what, error.remedy) from error
    source = dicom_source(path, series, modality, case or None)
    return replace(source, patient=row.cells["patient"] or source.patient)


def _path(row: Row, column: str) -> Path:
    text = row.cells[column]
    path = Path(os.path.normpath(row.table.parent.absolute() / text)) if text else row.table
    if not text:
        raise row.error(column, "is empty.", "Write the path of the image, relative to the CSV file.")
    try:
        there, folder = path.exists(), path.is_dir()
    except PermissionError as error:
        raise row.error(column, f"{text} cannot be opened.", "Check its permissions.") from error
    if not there:
        raise row.error(column, f"{text} does not exist.", "Check the path; it is relative to the CSV file.")
    if not folder and not is_volume_file(path):
        raise row.error(
            column, f"{text} has an unknown file extension.", f"Use {', '.join(SUFFIXES)} or a folder of DICOM."
        )
    return path


def _shown(row: Row, path: Path) -> str:
    root = Path(os.path.normpath(row.table.parent.absolute()))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _check_unique(rows: list[Row], sources: list[Source]) -> None:
    cases: dict[tuple[str, str], int] = {}
    paths: dict[object, int] = {}
    for row, source in zip(rows, sources, strict=True):
        key = (source.modality, source.case.casefold())
        if key in cases:
            raise row.error(
                "case",
                f"'{source.case}' is the name of another {source.modality.upper()} already (row {cases[key]}).",
                "Give each image of a modality its own name.",
            )
        cases[key] = row.number
        image = source.series.uid if source.series is not None else source.path.resolve()
        if image in paths:
            raise row.error("path", f"is the same image as in row {paths[image]}.", "Delete one of the rows.")
        paths[image] = row.number


def _check_splits(rows: list[Row], sources: list[Source]) -> None:
    """A patient is in one split; splits are given for all rows or for none."""
    given = [source.split is not None for source in sources]
    if any(given) and not all(given):
        raise rows[given.index(False)].error(
            "split", "is empty, while other rows have one.", "Fill the column in every row, or leave it empty."
        )
    first: dict[str, tuple[Row, Split | None]] = {}
    for row, source in zip(rows, one_patient(sources), strict=True):
        before, split = first.setdefault(source.patient, (row, source.split))
        if split != source.split:
            raise row.error(
                "split",
                f"patient '{source.patient}' is in {source.split} here and in {split} in row {before.number}.",
                "Put all images of a patient into one split.",
            )
