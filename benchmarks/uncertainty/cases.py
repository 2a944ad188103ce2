"""Voxels of synthesized cases with known CT: computed once, kept in a work folder, read by every figure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from creps import Volume, hu, read_volume
from creps.api.model import Model
from creps.preprocessing.target_grid import bring_onto

__all__ = ["Case", "measure", "measured"]

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """The voxels of one body on the model's grid.

    Attributes:
        name: Of the person.
        sct: (N,) HU.
        spread: (N,) HU.
        truth: (N,) HU.
        slices: (N,) slice of each voxel.
    """

    name: str
    sct: Values
    spread: Values
    truth: Values
    slices: npt.NDArray[np.int16]

    @property
    def error(self) -> Values:
        """(N,) absolute error in HU."""
        return np.abs(self.sct - self.truth)


def measured(model: Model, person: Path, kept: Path, truth: str = "ct_noise_free") -> Case:
    """The case of a person's folder (``mr``, the true CT, ``mask``), from the work folder if it is there.

    Args:
        model: What synthesizes.
        person: Folder.
        kept: Folder for the voxels.
        truth: Stem of the true CT.
    """
    path = kept / f"{person.name}.npz"
    if not path.is_file():
        volumes = [read_volume(person / f"{stem}.nii.gz") for stem in ("mr", truth, "mask")]
        kept.mkdir(parents=True, exist_ok=True)
        case = measure(model, person.name, *volumes)
        np.savez(path, sct=case.sct, spread=case.spread, truth=case.truth, slices=case.slices)
        print(f"{kept.name} {person.name}: MAE {case.error.mean():.1f}", flush=True)
    found = np.load(path)
    return Case(person.name, found["sct"], found["spread"], found["truth"], found["slices"])


def measure(model: Model, name: str, mr: Volume, ct: Volume, mask: Volume | None = None) -> Case:
    """Synthesize, and compare inside the body: where the MR shows it and the mask has it."""
    result = model.synthesize(mr, grid="model", spread=True, force=True)
    if result.spread is None:
        raise ValueError("a spread was asked for")
    body = result.body.array > 0.5
    if mask is not None:
        body &= bring_onto(mask, result.sct, 0.0).array > 0.5
    truth = bring_onto(ct, result.sct, hu.AIR).array
    return Case(
        name, result.sct.array[body], result.spread.array[body], truth[body], np.nonzero(body)[0].astype(np.int16)
    )
