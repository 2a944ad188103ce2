"""Heads with known truth, grown here if no folder of them is given."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from creps import Volume, read_volume

__all__ = ["Head", "heads_in", "own_phantoms", "unseen_heads"]


@dataclass(frozen=True)
class Head:
    """A head.

    Attributes:
        name: Of the case.
        mr: The MR.
        ct: The CT without noise, in HU.
        mask: (D, H, W) the head.
    """

    name: str
    mr: Volume
    ct: Volume
    mask: np.ndarray


def heads_in(folder: Path, count: int) -> Iterator[Head]:
    """The first heads of a folder ``CASE/{mr,ct_noise_free,mask}.nii.gz``."""
    for case in sorted(path for path in folder.iterdir() if (path / "ct_noise_free.nii.gz").is_file())[:count]:
        mask = read_volume(case / "mask.nii.gz").array > 0
        yield Head(case.name, read_volume(case / "mr.nii.gz"), read_volume(case / "ct_noise_free.nii.gz"), mask)


def own_phantoms(work: Path, count: int, spacing_mm: float, seed: int) -> Path:
    """A folder of phantoms of creps' own family, which the shipped models learned from; grown once."""
    from creps.phantom.cohort import write_cohort

    folder = work / f"own-{spacing_mm:g}mm-{count}-{seed}"
    if not folder.exists():
        write_cohort(folder, mr_patients=0, ct_patients=0, test_patients=count, seed=seed, spacing_mm=spacing_mm)
    return folder / "test"


def unseen_heads(work: Path, count: int, seed: int) -> Path:
    """A folder of heads of the unseen family, which no model learned from; grown once."""
    from benchmarks.unseen.cohort import write_person

    folder = work / f"unseen-{count}-{seed}"
    for index in range(count):
        if not (folder / "test" / f"UH4{index:03d}" / "mask.nii.gz").is_file():
            write_person("head", seed, folder, ("test", index))
    return folder / "test"


def options(description: str | None) -> argparse.ArgumentParser:
    """Where cases come from."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="head", help="name or folder of the model")
    parser.add_argument("--work", type=Path, required=True, help="folder for phantoms that are grown")
    parser.add_argument("--unseen", type=Path, help="folder of heads of the unseen family; default: they are grown")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/head"), help="folder with mr/ and labels/")
    parser.add_argument("--count", type=int, default=6, help="heads of each family")
    parser.add_argument("--spacing", type=float, default=1.0, help="voxels of creps' own phantoms in mm")
    parser.add_argument("--seed", type=int, default=707001, help="of the phantoms")
    parser.add_argument("--pictures", type=Path, help="folder for pictures, outside the project")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("results.json"))
    return parser
