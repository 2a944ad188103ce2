"""Match the synthetic CTs in one folder with the true CTs in another by case name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from creps.errors import InputError
from creps.evaluation.options import Image
from creps.io.dicom.read.series import find_series
from creps.io.itk import is_volume_file, stem

__all__ = ["Matches", "Pair", "find_scts", "holds_cases", "match", "one_pair", "sct_of"]

DEEPEST = 3
"""Levels of folders that are searched: Task1/brain/1BA001."""

IMAGES = ("mr", "image")
"""Stems that name the modality and not the case: the folder names the case."""


@dataclass(frozen=True)
class Pair:
    """One case to score.

    Attributes:
        case: The case's name.
        sct: The synthetic CT: a file, or the folder of a DICOM series.
        ct: The true CT: a file, or the folder of a DICOM series.
        mask: The region to score, if one is given.
        labels: The class numbers, if they are given.
    """

    case: str
    sct: Path
    ct: Path
    mask: Image | None = None
    labels: Image | None = None

    def inputs(self) -> list[Path]:
        """Return the files and folders that are read."""
        extras = [Path(image) for image in (self.mask, self.labels) if isinstance(image, (Path, str))]
        return [self.sct, self.ct, *extras]


@dataclass(frozen=True)
class Matches:
    """The pairs, and the cases that lack an image.

    Attributes:
        pairs: Cases with both, by name.
        without_ct: Cases with a synthetic CT only.
        without_sct: Cases with a true CT only.
    """

    pairs: tuple[Pair, ...]
    without_ct: tuple[str, ...]
    without_sct: tuple[str, ...]


BESIDE_SCT = ("_uncertainty", "_bulk")
"""Endings of files that creps writes beside an sCT and that are none themselves."""


@dataclass(frozen=True)
class _Truth:
    ct: Path
    mask: Path | None
    labels: Path | None


def match(scts: Path, cts: Path, *, truth: str = "ct", labels: str | None = None) -> Matches:
    """Match synthetic and true CTs by case.

    The true CT of a case is ``CASE/ct.*`` (the layout of the SynthRAD challenges, also in folders of tasks and regions)
    with ``CASE/mask.*``, or a file ``CASE.*`` or ``CASE_ct.*`` with ``CASE_mask.*``. The Unicode form of names does not
    count.

    Args:
        scts: Folder of synthetic CTs, see `find_scts`.
        cts: Folder of true CTs.
        truth: Stem of the true CTs: ``ct_noise_free`` takes a phantom's CT without noise.
        labels: Stem of the label volumes, if errors are scored by label.

    Raises:
        InputError: a folder does not exist, two files for one case (or its mask, or its labels), or no common case.
    """
    synthetic, true = find_scts(scts), _find_truths(cts, truth, labels)
    both = [case for case in synthetic if case in true]
    if not both:
        raise InputError(
            f"No synthetic CT in {scts} ({_some(list(synthetic))}) has the name of a case in {cts}"
            f" ({_some(list(true))}).",
            "Name files CASE_sct.nii.gz and CASE/ct.nii.gz, or CASE.nii.gz in both folders.",
        )
    pairs = [Pair(case, synthetic[case], true[case].ct, true[case].mask, true[case].labels) for case in both]
    return Matches(
        tuple(pairs),
        tuple(case for case in synthetic if case not in true),
        tuple(case for case in true if case not in synthetic),
    )


def one_pair(sct: Path, ct: Path, mask: Image | None = None, labels: Image | None = None) -> Pair:
    """Return one case, named as in a folder; a DICOM series is ``sct``: its folder may bear the patient's name."""
    case = "sct" if sct.is_dir() else _sct_case(sct, sct.absolute().parent.parent) or _named(sct)
    return Pair(_composed(case), sct, ct, mask, labels)


def holds_cases(folder: Path) -> bool:
    """Whether a path is a folder of cases; the folder of a DICOM series is one image."""
    if not folder.is_dir() or next(_volume_files(folder), None) is not None:
        return folder.is_dir()
    return not find_series(folder)


def sct_of(pair: Pair, folder: Path) -> Path:
    """Find another model's synthetic CT of a case in a folder, by the case's name or the file's.

    Raises:
        InputError: the folder does not exist, holds no sCT, or none of that name.
    """
    scts = find_scts(folder)
    alike = [path for path in scts.values() if _named(path) == _named(pair.sct)]
    if pair.case in scts:
        return scts[pair.case]
    if len(alike) == 1:
        return alike[0]
    raise InputError(
        f"{folder} ({_some(list(scts))}) contains no synthetic CT named after case '{pair.case}'.",
        "Name the other model's file itself.",
    )


def find_scts(folder: Path) -> dict[str, Path]:
    """Find every synthetic CT in a folder and below it: case → file, sorted by case.

    The names are ``CASE_sct.*``, ``CASE/sct.*`` and ``CASE/mr_sct.*``; without any of these, every volume file
    ``CASE.*`` whose name lacks "mask".

    Raises:
        InputError: the folder does not exist, holds no sCT, or holds two files for one case.
    """
    files = list(_volume_files(folder))
    named = [(case, path) for path in files if (case := _sct_case(path, folder)) is not None]
    if not named:
        named = [(_named(path), path) for path in files if path.parent == folder and "mask" not in _named(path).lower()]
    if not named:
        raise InputError(f"{folder} contains no synthetic CT.", "Name files CASE_sct.nii.gz or CASE/sct.nii.gz.")
    found: dict[str, Path] = {}
    for case, path in sorted(named):
        _add(found, case, path, folder)
    return found


def _sct_case(path: Path, folder: Path) -> str | None:
    """The case's name if a file is named as a synthetic CT."""
    name = _named(path)
    if name.lower() == "sct":
        return path.absolute().parent.name if path.parent != folder else None
    if not name.lower().endswith("_sct"):
        return None
    case = name[: -len("_sct")]
    return path.absolute().parent.name if case.lower() in IMAGES and path.parent != folder else case


def _find_truths(folder: Path, truth: str, labels: str | None) -> dict[str, _Truth]:
    files = list(_volume_files(folder))
    found: dict[str, Path] = {}
    for path in files:
        if path.parent != folder and _named(path).lower() == _composed(truth).lower():
            _add(found, path.parent.name, path, folder)
    in_folders = bool(found)
    if not in_folders:
        files = [path for path in files if path.parent == folder]
        found = _flat_truths(files, truth, labels, folder)
    named: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        name = _named(path)
        named.setdefault((path.parent, name.lower() if in_folders else name), []).append(path)

    def beside(case: str, what: str | None) -> Path | None:
        name = None if what is None else _composed(what.lower() if in_folders else f"{case}_{what}")
        return None if name is None else _only(named.get((found[case].parent, name), []), case, folder)

    return {case: _Truth(ct, beside(case, "mask"), beside(case, labels)) for case, ct in sorted(found.items())}


def _flat_truths(files: list[Path], truth: str, labels: str | None, folder: Path) -> dict[str, Path]:
    """Case → ``CASE_ct.*``; without any of these, every other file ``CASE.*``."""
    ending = _composed(f"_{truth}").lower()
    named = [(_named(path)[: -len(ending)], path) for path in files if _named(path).lower().endswith(ending)]
    if not named:
        others = ("_mask", "_sct", *([_composed(f"_{labels}").lower()] if labels else []))
        named = [(_named(path), path) for path in files if not _named(path).lower().endswith(others)]
    if not named:
        raise InputError(
            f"{folder} contains no CT named {truth}.", f"True CTs are CASE/{truth}.nii.gz, or files CASE.nii.gz."
        )
    found: dict[str, Path] = {}
    for case, path in named:
        _add(found, case, path, folder)
    return found


def _volume_files(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Every volume file in a folder and up to `DEEPEST` levels below it."""
    if depth == 0 and not folder.exists():
        raise InputError(f"{folder} does not exist.", "Check the path.")
    if depth == 0 and not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "Give two files, or two folders.")
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and depth < DEEPEST:
            yield from _volume_files(path, depth + 1)
        elif path.is_file() and is_volume_file(path) and not _named(path).lower().endswith(BESIDE_SCT):
            yield path


def _add(found: dict[str, Path], case: str, path: Path, folder: Path) -> None:
    case = _composed(case)
    _only([found[case], path] if case in found else [path], case, folder)
    found[case] = path


def _named(path: Path) -> str:
    return _composed(stem(path))


def _composed(name: str) -> str:
    """A name in one Unicode form: macOS stores decomposed letters, other systems what they were given."""
    return unicodedata.normalize("NFC", name)


def _only(files: list[Path], case: str, folder: Path) -> Path | None:
    """The only file, or None; two files are refused rather than guessed between."""
    if len(files) > 1:
        one, other = (path.relative_to(folder) for path in files[:2])
        raise InputError(f"{folder} contains two files for case '{case}': {one} and {other}.", "Keep one of them.")
    return files[0] if files else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
