"""What two folders of results hold, compared: each function returns differences in words, none if they are equal."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from safetensors.numpy import load_file

MAY_DIFFER = {
    "InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime", "SeriesDate", "SeriesTime",
    "StructureSetDate", "StructureSetTime", "SoftwareVersions", "AcquisitionDateTime", "ContributionDateTime",
}  # fmt: skip
"""Attributes that hold the time of the run."""

NO_FIGURES = {"version", "versions", "seconds", "created", "path", "sha256", "provenance", "command", "machine", "git"}
"""Words in names of a report's values that are not results."""


def volumes(names: str, former: Path, current: Path) -> list[str]:
    """Voxels and grids of volume files."""
    return _each(former, current, names, _volume)


def arrays(names: str, former: Path, current: Path) -> list[str]:
    """NumPy files, bit by bit."""
    return _each(former, current, names, lambda a, b: _array(np.load(a), np.load(b)))


def weights(run: str, former: Path, current: Path) -> list[str]:
    """Tensors of a run's model."""
    a, b = (load_file(folder / run / "model" / "generator.safetensors") for folder in (former, current))
    if a.keys() != b.keys():
        return [f"other tensors: {sorted(a.keys() ^ b.keys())[:4]}"]
    found = {name: _array(a[name], b[name]) for name in a}
    return [f"{name} {said}" for name, said in found.items() if said]


def figures(name: str, former: Path, current: Path) -> list[str]:
    """Numbers of an evaluation."""
    a, b = (dict(_leaves(json.loads((folder / name).read_text()))) for folder in (former, current))
    missing = [f"{key} only once" for key in a.keys() ^ b.keys()]
    return missing + [f"{key} {a[key]} -> {b[key]}" for key in a.keys() & b.keys() if a[key] != b[key]]


def dicom(modality: str, former: Path, current: Path) -> list[str]:
    """Pixels and attributes of the objects of one modality, in the order of their instances."""
    sides = []
    for folder in (former, current):
        objects = [dcmread(path) for path in sorted((folder / "dicom").rglob("*.dcm"))]
        chosen = [data for data in objects if data.Modality == modality]
        sides.append(sorted(chosen, key=lambda data: int(data.get("InstanceNumber") or 0)))
    if not sides[0] or len(sides[0]) != len(sides[1]):
        return [f"{len(sides[0])} -> {len(sides[1])} objects"]
    found: dict[str, None] = {}
    for a, b in zip(*sides, strict=True):
        found |= dict.fromkeys(_dataset(a, b, ""))
    return list(found)


def _dataset(a: Dataset, b: Dataset, within: str) -> list[str]:
    found = []
    for tag in sorted({element.tag for element in a} | {element.tag for element in b}):
        if tag not in a or tag not in b:
            side, there = ("former", a) if tag in a else ("current", b)
            found.append(f"{within}{there[tag].keyword or tag} only in the {side}")
            continue
        one, other = a[tag], b[tag]
        if one.keyword in MAY_DIFFER:
            continue
        if one.VR == "SQ" and other.VR == "SQ" and len(one.value) == len(other.value):
            for inner, outer in zip(one.value, other.value, strict=True):
                found += _dataset(inner, outer, f"{within}{one.keyword}.")
        elif one.VR == "UI":
            if (not one.value) != (not other.value):
                found.append(f"{within}{one.keyword} empty in one")
        elif one.value != other.value:
            said = "other values" if len(str(one.value)) > 60 else f"{one.value} -> {other.value}"
            found.append(f"{within}{one.keyword} {said}")
    return found


def _each(former: Path, current: Path, names: str, compared: Callable[[Path, Path], str]) -> list[str]:
    a, b = ({path.relative_to(folder).as_posix() for path in folder.glob(names)} for folder in (former, current))
    if not a:
        return [f"no {names}"]
    found = [f"{name} only once" for name in sorted(a ^ b)]
    said = {name: compared(former / name, current / name) for name in sorted(a & b)}
    return found + [f"{name} {what}" for name, what in said.items() if what]


def _volume(a: Path, b: Path) -> str:
    one, other = sitk.ReadImage(str(a)), sitk.ReadImage(str(b))
    grids = [(image.GetSpacing(), image.GetOrigin(), image.GetDirection()) for image in (one, other)]
    if grids[0] != grids[1]:
        return f"other grid: {grids[0]} -> {grids[1]}"
    return _array(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))


def _array(a: np.ndarray, b: np.ndarray) -> str:
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"{a.dtype}{a.shape} -> {b.dtype}{b.shape}"
    if a.tobytes() == b.tobytes():
        return ""
    return f"differs by up to {np.abs(a.astype(float) - b.astype(float)).max():.3g}"


def _leaves(value: object, name: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{name}.{key}".lstrip("."))]
    if isinstance(value, list):
        return [leaf for number, inner in enumerate(value) for leaf in _leaves(inner, f"{name}.{number}")]
    is_figure = isinstance(value, int | float) and not any(word in name for word in NO_FIGURES)
    return [(name, value)] if is_figure else []


COMPARISONS: dict[str, Callable[[Path, Path], list[str]]] = {
    "phantom: volumes": partial(volumes, "phantom/**/*.nii.gz"),
    "prepare: arrays": partial(arrays, "cohort/**/*.npy"),
    **{
        f"train: weights, {recipe}": partial(weights, f"run_{recipe}")
        for recipe in ("anatomy", "paper", "cyclegan", "cut")
    },
    "synthesize: shipped model": partial(volumes, "sct_shipped.nii.gz"),
    "synthesize: trained model": partial(volumes, "sct_trained.nii.gz"),
    "evaluate: tissues by HU": partial(figures, "figures.json"),
    "evaluate: tissues by label": partial(figures, "figures_labels.json"),
    "DICOM: CT": partial(dicom, "CT"),
    "DICOM: RTSTRUCT": partial(dicom, "RTSTRUCT"),
}
"""What is compared, by name."""
