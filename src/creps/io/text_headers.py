"""The text headers of MetaImage and NRRD files: what ITK does not say about them.

ITK reads a missing spacing as 1 mm, a missing position as the origin and a missing orientation as axial, all without a
word, and takes any NRRD space that it does not know for LPS.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from creps.errors import InputError
from creps.io.contents import refuse_other_content

__all__ = ["check_text_header", "with_data_file"]

HEADER_BYTES = 1 << 16

Fields = dict[str, str]
"""Lower-case name → value."""

SPACES = {
    "left-posterior-superior": "LPS",
    "lps": "LPS",
    "right-anterior-superior": "RAS",
    "ras": "RAS",
    "left-anterior-superior": "LAS",
    "las": "LAS",
}
"""NRRD's names of the spaces that say where the patient's sides are."""

DATA_FILE = re.compile(r"(?im)^(elementdatafile\s*=|data ?file\s*:)[ \t]*(.*?)[ \t]*$")


def check_text_header(path: Path) -> list[str]:
    """Check the header of a MetaImage or NRRD file for what ITK passes over.

    Args:
        path: A file that ends in ``.mha``, ``.mhd``, ``.nrrd`` or ``.nhdr``.

    Returns:
        What is missing or assumed, one sentence each, to follow the file's name.

    Raises:
        InputError: the file is empty or something else, states no voxel size, or states lengths that are not in mm or
            a space that does not say where the patient's sides are.
    """
    text = _text(path)
    fields = _fields(text)
    return _check_nrrd(path, fields) if text.startswith("NRRD") else _check_meta(path, fields)


@contextmanager
def with_data_file(path: Path) -> Iterator[Path]:
    r"""The header to read, whose data file ITK can find.

    A data file named as Windows names it (``sub\v.raw``) is found by a copy of the header that names it in full.

    Raises:
        InputError: the data file is not there.
    """
    found = DATA_FILE.search(_text(path))
    named = found.group(2) if found else "LOCAL"
    if named.upper() in ("LOCAL", "LIST") or named.upper().startswith("LIST ") or "%" in named:
        yield path
        return
    if (path.parent / named).is_file():
        yield path
        return
    here = path.parent / named.replace("\\", "/")
    if PureWindowsPath(named).drive or not here.is_file():
        raise _missing(path, named)
    data = path.read_bytes()
    with tempfile.TemporaryDirectory(prefix="creps-") as folder:
        copy = Path(folder) / f"header{path.suffix.lower()}"
        copy.write_bytes(data.replace(named.encode("latin-1"), str(here.resolve()).encode()))
        yield copy


def _missing(path: Path, named: str) -> InputError:
    """The error of a header whose data file is not where it says."""
    last = PureWindowsPath(named).name or named
    windows = " (a path of another computer)" if PureWindowsPath(named).drive or "\\" in named else ""
    what = f"{path} names '{named}' as its data file{windows}, which is not there."
    nearby = [one for one in path.parent.iterdir() if one.name.lower() == last.lower()]
    if nearby:
        return InputError(what, f"{nearby[0].name} lies beside the header: write that name into the header.")
    if named == last:
        return InputError(what, "Keep the header and its data file together in one folder.")
    return InputError(what, f"Put {last} beside the header, and write its name without a folder into the header.")


def _text(path: Path) -> str:
    """The header's text."""
    with path.open("rb") as stream:
        start = stream.read(HEADER_BYTES)
    if not start.startswith((b"NRRD", b"ObjectType", b"NDims", b"Comment")):
        refuse_other_content(path, start)
    if start.startswith(b"NRRD"):
        end = re.search(rb"\r?\n\r?\n", start)
        return start[: end.start() if end else None].decode("latin-1")
    end = re.search(rb"(?i)elementdatafile[^\n]*", start)
    return start[: end.end() if end else None].decode("latin-1")


def _fields(text: str) -> Fields:
    pairs = (re.split(r"\s*(?::=|[=:])\s*", line, maxsplit=1) for line in text.splitlines() if line[:1] != "#")
    return {pair[0].strip().lower(): pair[1].strip() for pair in pairs if len(pair) == 2}


def _check_meta(path: Path, fields: Fields) -> list[str]:
    spacing = fields.get("elementspacing", fields.get("elementsize"))
    if "dimsize" in fields and spacing is None:
        raise InputError(f"{path} states no voxel size.", "Add a line 'ElementSpacing = x y z' in mm to its header.")
    if spacing is not None:
        _check_sizes(path, spacing.split(), "ElementSpacing")
    unit = fields.get("distanceunits", "mm").lower()
    if unit not in ("mm", "?", "unknown"):
        raise InputError(f"{path} states its lengths in {unit}.", "Convert its spacing and offset to mm.")
    remarks = []
    if not fields.keys() & {"offset", "position", "origin"}:
        remarks.append("states no position (Offset); its first voxel is taken to lie at the origin")
    if not fields.keys() & {"transformmatrix", "orientation", "rotation"}:
        remarks.append("states no orientation (TransformMatrix); an axial stack from the feet is assumed")
    return remarks


def _check_nrrd(path: Path, fields: Fields) -> list[str]:
    directions = fields.get("space directions")
    spacings = fields.get("spacings")
    if "sizes" in fields and directions is None and spacings is None:
        raise InputError(f"{path} states no voxel size.", "Add 'space directions' in mm to its header.")
    if directions is not None:
        vectors = [re.findall(r"[^\s,()]+", one) for one in re.findall(r"\(([^)]*)\)", directions)]
        lengths = [sum(float(n) ** 2 for n in vector if _number(n)) ** 0.5 for vector in vectors]
        _check_sizes(path, [f"{length:g}" for length in lengths], "space directions")
    elif spacings is not None:
        _check_sizes(path, [one for one in spacings.split() if one.lower() != "nan"], "spacings")
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {"", "mm", "???"}
    if units:
        raise InputError(f"{path} states its lengths in {', '.join(sorted(units))}.", "Convert its geometry to mm.")
    space = fields.get("space", "").lower()
    if space and space not in SPACES:
        raise InputError(
            f"{path} lies in the space '{fields['space']}', which does not say where the patient's sides are.",
            "Write 'space: left-posterior-superior' (or right-anterior-superior) into its header, if that is true.",
        )
    remarks = []
    if not space:
        remarks.append("states no space; LPS is assumed")
    if directions is None:
        remarks.append("states no orientation (space directions); an axial stack from the feet is assumed")
    if "space origin" not in fields and "axis mins" not in fields:
        remarks.append("states no position (space origin); its first voxel is taken to lie at the origin")
    return remarks


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_sizes(path: Path, sizes: list[str], field: str) -> None:
    """Refuse sizes that are zero, negative or no number: ITK takes some of them for 1 mm, others for a mirror."""
    if all(_number(size) and 0 < float(size) < float("inf") for size in sizes):
        return
    raise InputError(
        f"{path} has a voxel spacing of {' x '.join(sizes)} mm ({field}).",
        "Spacing must be positive: correct the header.",
    )
