"""What turns a model's spread into an interval in HU: measured on images with known CT, kept beside the weights.

The spread of a network says where it is unsure, not by how many HU it is wrong. A calibration has measured that, for
each tissue of the sCT: how wide the interval around the sCT must be to hold the stated share of true values (conformal
prediction, Angelopoulos & Bates 2023, Foundations and Trends in Machine Learning 16:494-591), and the mean error.

    calibration.json     beside plan.json; optional
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from creps.errors import ModelError
from creps.io.versioned import read_versioned
from creps.metrics.tissues import TISSUE_WINDOWS_HU, tissue_classes
from creps.volume import Array

__all__ = ["CALIBRATION", "Calibration", "ClassCalibration", "read_calibration"]

CALIBRATION = "calibration.json"

AGAIN = "Delete it, then run 'creps calibrate' with the model."

Level = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ClassCalibration(BaseModel):
    """What was measured in one tissue of the sCT, at rising levels of spread."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voxels: int = Field(ge=0)
    """How many it was measured in; 0 if there were too few, and all tissues together are used."""
    spread_hu: tuple[Level, ...] = Field(min_length=1)
    """Levels of the spread in HU, rising."""
    half_width_hu: tuple[Level, ...]
    """Half width of the interval in HU at each level, never falling."""
    error_hu: tuple[Level, ...]
    """Mean absolute error in HU at each level, never falling."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not len(self.spread_hu) == len(self.half_width_hu) == len(self.error_hu):
            raise ValueError("its lists differ in length")
        if any(low >= high for low, high in pairwise(self.spread_hu)):
            raise ValueError("its levels of spread do not rise")
        if any(low > high for part in (self.half_width_hu, self.error_hu) for low, high in pairwise(part)):
            raise ValueError("a width or an error falls with rising spread")
        return self

    def read(self, spread_hu: Array) -> tuple[Array, Array]:
        """Half width and mean error at a spread, linear between the levels.

        Beyond the last level both grow in proportion to the spread: the model was never measured so unsure.

        Args:
            spread_hu: In HU, any shape.

        Returns:
            Half width and mean error in HU, float32, each of that shape.
        """
        levels = np.asarray(self.spread_hu, np.float32)
        beyond = np.maximum(spread_hu / max(float(levels[-1]), 1e-6), 1).astype(np.float32)
        width, error = (
            np.interp(spread_hu, levels, np.asarray(values)).astype(np.float32) * beyond
            for values in (self.half_width_hu, self.error_hu)
        )
        return width, error


class Calibration(BaseModel):
    """A model's calibration, readable by a person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    confidence: float = Field(gt=0, lt=1)
    """Share of true values that the interval is to hold."""
    weights_sha256: str
    """SHA-256 of the weights that it was measured with; another model needs its own."""
    classes: dict[str, ClassCalibration]
    """Tissue of the sCT (by the HU of [metrics](metrics.md)) → what was measured in it."""
    measured_on: dict[str, Any] = {}
    """Region, seed and number of phantoms, or number of pairs."""
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if set(self.classes) != set(TISSUE_WINDOWS_HU):
            raise ValueError(f"its tissues are not {', '.join(TISSUE_WINDOWS_HU)}")
        return self

    def read(self, sct_hu: Array, spread_hu: Array) -> tuple[Array, Array]:
        """Half width of the interval and expected absolute error of every voxel.

        Args:
            sct_hu: The sCT in HU, any shape; decides the tissue.
            spread_hu: The spread in HU, of that shape.

        Returns:
            Half width and expected error in HU, float32, each of that shape.

        Raises:
            ValueError: the shapes differ.

        Examples:
            >>> one = ClassCalibration(voxels=9, spread_hu=(10, 20), half_width_hu=(15, 25), error_hu=(5, 9))
            >>> classes = dict.fromkeys(TISSUE_WINDOWS_HU, one)
            >>> calibration = Calibration(confidence=0.9, weights_sha256="", classes=classes)
            >>> width, error = calibration.read(np.float32([40, 40]), np.float32([15, 40]))
            >>> width.tolist(), error.tolist()
            ([20.0, 50.0], [7.0, 18.0])
        """
        if sct_hu.shape != spread_hu.shape:
            raise ValueError(f"shapes differ: sCT {sct_hu.shape}, spread {spread_hu.shape}")
        numbers, names = tissue_classes(sct_hu)
        width, error = np.zeros(sct_hu.shape, np.float32), np.zeros(sct_hu.shape, np.float32)
        for number, name in names.items():
            own: npt.NDArray[np.bool_] = numbers == number
            width[own], error[own] = self.classes[name].read(spread_hu[own])
        return width, error

    def summary(self) -> dict[str, Any]:
        """What records say of it, as plain JSON values."""
        return {
            "schema_version": self.schema_version,
            "confidence": self.confidence,
            "measured_on": self.measured_on,
            "voxels": {name: one.voxels for name, one in self.classes.items()},
            "created": self.provenance.get("created"),
        }


def read_calibration(folder: Path, weights_sha256: str) -> Calibration | None:
    """The calibration in a model's folder; None if it has none.

    Args:
        folder: Of the model.
        weights_sha256: Of its weights.

    Raises:
        ModelError: it is damaged, of another schema version, or of other weights.
    """
    path = folder / CALIBRATION
    if not path.is_file():
        return None
    found = read_versioned(path, Calibration, ModelError, other_version=AGAIN, damaged=AGAIN)
    if found.weights_sha256 != weights_sha256:
        raise ModelError(f"{path} was measured with other weights than this model's.", AGAIN)
    return found
