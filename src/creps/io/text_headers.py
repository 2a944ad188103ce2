"""The text headers of MetaImage and NRRD files: what ITK ignores without a warning.

ITK reads a missing spacing as 1 mm, a missing position as the origin and a missing orientation as axial, all without a
word, and takes any NRRD space that it does not know for LPS.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np

from creps.errors import InputError
from creps.io.contents import refuse_other_content

__all__ = ["Fields", "TextHeader", "check_text_header", "read_text_header", "with_data_file"]

HEADER_BYTES = 1 << 16

Fields = dict[str, str]
"""Lower-case name → value."""

POSITION, ORIENTATION = ("offset", "position", "origin"), ("transformmatrix", "orientation", "rotation")
"""MetaImage's names of one thing each."""

SPELLED = {
    "transformmatrix": "TransformMatrix", "elementspacing": "ElementSpacing", "dimsize": "DimSize",
    "elementtype": "ElementType",
}  # fmt: skip
"""How messages spell a field; others begin with a capital letter."""

ALONG = 0.8
"""An axis of the image runs along an axis of the patient if its direction cosine is larger than this."""

FLAT = 1e-3
"""A matrix whose determinant is smaller than this flattens the volume."""

ENDS = ("RL", "AP", "IS")
"""MetaImage's letters of the sides at which an axis along LPS x, y, z starts if it runs forwards, or backwards."""

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
    header = read_text_header(path)
    return _check_nrrd(path, header.fields) if header.nrrd else _check_meta(path, header)


def read_text_header(path: Path) -> TextHeader:
    """Read the fields of a header.

    Raises:
        InputError: the file is empty or something else.
    """
    text = _text(path)
    return TextHeader(_fields(text), text.startswith("NRRD"), len(_encoded(text)), _doubled(text))


@dataclass(frozen=True)
class TextHeader:
    """The fields of a MetaImage or NRRD header, unchecked.

    Attributes:
        fields: Lower-case name → value; of a name that occurs twice, the last.
        nrrd: Whether it is an NRRD header.
        end: Number of bytes of its text, without the line end that follows.
        doubled: Names that occur several times with different values.
    """

    fields: Fields
    nrrd: bool
    end: int
    doubled: tuple[str, ...] = ()


@contextmanager
def with_data_file(path: Path) -> Iterator[Path]:
    r"""The header to read, whose data file ITK can find.

    A data file named as Windows names it (``sub\v.raw``) is found by a copy of the header that names it in full.

    Raises:
        InputError: the data file is not there.
    """
    found = DATA_FILE.search(_text(path))
    named = found.group(2).strip() if found else "LOCAL"
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
        copy.write_bytes(data.replace(_encoded(named), _encoded(str(here.resolve()))))
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
        return start[: end.start() if end else None].decode("utf-8", "surrogateescape")
    end = re.search(rb"(?im)^elementdatafile[^\n]*", start)
    return start[: end.end() if end else None].decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _doubled(text: str) -> tuple[str, ...]:
    values: dict[str, set[str]] = {}
    for name, value in _pairs(text):
        values.setdefault(name, set()).add(value)
    return tuple(name for name, given in values.items() if len(given) > 1 and name != "comment")


def _fields(text: str) -> Fields:
    return dict(_pairs(text))


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = (re.split(r"\s*(?::=|[=:])\s*", line, maxsplit=1) for line in text.splitlines() if line[:1] != "#")
    return [(pair[0].strip().lower(), pair[1].strip()) for pair in pairs if len(pair) == 2]


def _check_meta(path: Path, header: TextHeader) -> list[str]:
    fields = header.fields
    axes = fields.get("ndims", "3")
    count = int(axes) if axes.isdecimal() else 3
    spacing = fields.get("elementspacing", fields.get("elementsize"))
    if "dimsize" in fields and spacing is None:
        raise InputError(f"{path} states no voxel size.", "Add a line 'ElementSpacing = x y z' in mm to its header.")
    if spacing is not None:
        _check_sizes(path, spacing.split(), "ElementSpacing")
        if len(spacing.split()) < count:
            raise InputError(
                f"{path} states {len(spacing.split())} voxel sizes (ElementSpacing = {spacing}) for {count} axes.",
                "Correct the line 'ElementSpacing = x y z' of its header.",
            )
    _refuse_contradictions(path, header)
    for names, numbers in ((POSITION, count), (ORIENTATION, count * count)):
        for name in names:
            if name in fields:
                _check_numbers(path, name, fields[name], numbers)
    unit = fields.get("distanceunits", "mm").lower()
    if unit not in ("mm", "?", "unknown"):
        raise InputError(f"{path} states its lengths in {unit}.", "Convert its spacing and offset to mm.")
    remarks = []
    if not fields.keys() & set(POSITION):
        remarks.append("states no position (Offset); its first voxel is taken to lie at the origin")
    if not fields.keys() & set(ORIENTATION):
        remarks.append("states no orientation (TransformMatrix); an axial stack from the feet is assumed")
    return remarks + _other_letters(fields, count) + _other_scale(fields)


def _refuse_contradictions(path: Path, header: TextHeader) -> None:
    """Refuse a header that states one thing twice, differently: readers take one or the other."""
    for names in (POSITION, ORIENTATION, ("elementspacing",), ("dimsize",), ("elementtype",)):
        given = {name: header.fields[name] for name in names if name in header.fields}
        if any(name in header.doubled for name in given):
            name = next(name for name in given if name in header.doubled)
            raise InputError(
                f"{path} states {_spelled(name)} several times, with different values.",
                "Keep the right one in its header.",
            )
        if len({tuple(value.split()) for value in given.values()}) > 1:
            shown = " and ".join(f"{_spelled(name)} = {value}" for name, value in given.items())
            raise InputError(f"{path} contradicts itself: {shown}.", "Keep the right one in its header.")


def _check_numbers(path: Path, name: str, value: str, count: int) -> None:
    """Refuse a position or matrix that is none; ITK reads it as 0 or as another one."""
    parts = value.split()
    if len(parts) != count or not all(_number(one) and abs(float(one)) < float("inf") for one in parts):
        raise InputError(
            f"{path} has {_spelled(name)} = {value}, which is not {count} numbers.", "Correct this line of its header."
        )
    side = round(count**0.5)
    if name in ORIENTATION and abs(np.linalg.det(np.reshape(parts, (side, side)).astype(float))) < FLAT:
        raise InputError(
            f"{path} has {_spelled(name)} = {value}, which flattens the volume.",
            "Write the directions of its axes there.",
        )


def _other_letters(fields: Fields, axes: int) -> list[str]:
    """The remark that AnatomicalOrientation does not agree with the matrix."""
    letters = fields.get("anatomicalorientation", "").upper()
    name = next((one for one in ORIENTATION if one in fields), None)
    if axes != 3 or name is None or not re.fullmatch("[RLAPIS]{3}", letters):
        return []
    columns = np.reshape(fields[name].split(), (3, 3)).astype(float)  # one row for each axis of the image
    along = np.abs(columns).argmax(axis=1)
    found = "".join(ENDS[main][int(row[main] < 0)] for main, row in zip(along, columns, strict=True))
    if found == letters or np.abs(columns).max(axis=1).min() < ALONG:
        return []
    matrix = _spelled(name)
    return [
        f"states AnatomicalOrientation {letters}, but its {matrix} means {found}; the {matrix} is used, as ITK does"
    ]


def _spelled(name: str) -> str:
    return SPELLED.get(name, name.capitalize())


def _other_scale(fields: Fields) -> list[str]:
    slope = fields.get("elementtointensityfunctionslope", "1")
    offset = fields.get("elementtointensityfunctionoffset", "0")
    if not (_number(slope) and _number(offset)) or (float(slope), float(offset)) == (1, 0):
        return []
    return [f"states a rescaling of its values (slope {slope}, offset {offset}), which is ignored, as ITK does"]


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
    stated = fields.get("space units", "") + fields.get("units", "")
    units = set(re.findall(r'"([^"]*)"', stated)) - {"", "mm", "???", "millimeter", "millimeters", "none"}
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
