"""Small inputs of every kind that is known to go wrong: made-up heads of 4 mm, seeded."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

__all__ = ["head", "save", "write_labels", "write_names", "write_padded", "write_units"]

Numbers = npt.NDArray[Any]
Change = Callable[[Numbers], Numbers]

AFFINE = np.array([[-4.0, 0, 0, 54], [0, -4, 0, 66], [0, 0, 4, -60], [0, 0, 0, 1]])


def head(seed: int, shape: tuple[int, int, int] = (28, 34, 30)) -> tuple[Numbers, Numbers]:
    """MR and CT (x, y, z) of one head: brain, skull, scalp, with air around."""
    rng = np.random.default_rng(seed)
    centre = (np.array(shape) - 1) / 2 + rng.uniform(-1, 1, 3)
    radii = np.array(shape) * rng.uniform(0.38, 0.42, 3)
    r = np.linalg.norm((np.moveaxis(np.indices(shape), 0, -1) - centre) / radii, axis=-1)
    layers = [r < 0.75, r < 0.9, r < 1]
    mr = np.select(layers, [600.0, 60.0, 900.0], 0.0) + rng.uniform(0, 20, shape)
    ct = np.select(layers, [35.0, 1100.0, -20.0], -1000.0) + rng.normal(0, 10, shape)
    return mr, ct


def save(array: Numbers, path: Path, kind: type[np.generic] = np.float32) -> None:
    """Write a NIfTI file of 4 mm voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array).astype(kind), AFFINE), path)  # type: ignore[no-untyped-call]


def unchanged(array: Numbers) -> Numbers:
    """Return the array."""
    return array


def write_units(folder: Path, mr: Change = unchanged, ct: Change = unchanged, seed: int = 0) -> None:
    """Write a cohort of four MRs and four CTs of eight people, in other units."""
    for i in range(4):
        save(mr(head(seed + i)[0]), folder / "MR" / f"m{i}.nii.gz")
        save(ct(head(seed + 100 + i)[1]), folder / "CT" / f"c{i}.nii.gz")


def write_padded(folder: Path, value: float, seed: int = 0) -> None:
    """Write an sCT and its CT, of which the first planes along x hold a constant."""
    ct = head(seed)[1]
    noise = np.random.default_rng(seed).normal(0, 40, ct.shape)
    save(np.clip(ct + noise, -1024, 3000), folder / "sct.nii.gz")
    ct[:6] = value
    save(ct, folder / "ct.nii.gz")


def write_labels(folder: Path, ending: str, seed: int = 0) -> None:
    """Write a cohort with a label map beside every MR."""
    write_units(folder, seed=seed)
    for i in range(4):
        save(head(seed + i)[0] > 100, folder / "MR" / f"m{i}{ending}.nii.gz", np.uint8)


def write_names(folder: Path, mr: str, ct: str, seed: int = 0) -> None:
    """Write MR and CT of four people under two spellings: `mr` and `ct` are formats of a number."""
    for i in range(4):
        one, other = head(seed + i)
        save(one, folder / "MR" / f"{unicodedata.normalize('NFD', mr.format(i))}.nii.gz")
        save(other, folder / "CT" / f"{unicodedata.normalize('NFC', ct.format(i))}.nii.gz")
