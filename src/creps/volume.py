"""`Volume`: a 3-D image and where it lies in the patient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

__all__ = ["AXIAL", "Array", "Mask", "Volume"]

Array = npt.NDArray[np.float32]
"""A scalar image: (D, H, W)."""

Mask = npt.NDArray[np.bool_]
"""True inside: (D, H, W)."""

AXIAL: npt.NDArray[np.float64] = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""Direction of an axial stack: depth runs to superior, rows to posterior, columns to left."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar 3-D image with its geometry.

    Every triple that belongs to the array (`spacing_mm`, the columns of `direction`) is in
    array order (D, H, W). Patient coordinates are DICOM's: (x, y, z) in mm, x to the left,
    y to posterior, z to superior. A voxel index maps to the patient as
    ``origin_mm + direction @ (spacing_mm * index)``.

    Attributes:
        array: (D, H, W), float32.
        spacing_mm: distance of voxel centres along D, H, W.
        origin_mm: patient (x, y, z) of the centre of voxel (0, 0, 0).
        direction: (3, 3); column k is the patient direction in which array axis k grows.
    """

    array: Array
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: npt.NDArray[np.float64] = field(default_factory=lambda: AXIAL.copy())

    def __post_init__(self) -> None:
        array = np.asarray(self.array, dtype=np.float32)
        direction = np.asarray(self.direction, dtype=np.float64)
        if array.ndim != 3:
            raise ValueError(f"a Volume has three axes (D, H, W), not {array.ndim}")
        if direction.shape != (3, 3) or not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
            raise ValueError("direction must be a 3x3 matrix with orthonormal columns")
        if not all(np.isfinite(s) and s > 0 for s in self.spacing_mm):
            raise ValueError(f"spacing must be finite and positive, not {self.spacing_mm}")
        if not np.isfinite(np.asarray(self.origin_mm)).all():
            raise ValueError(f"origin must be finite, not {self.origin_mm}")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "direction", direction)
        object.__setattr__(self, "spacing_mm", _triple(self.spacing_mm))
        object.__setattr__(self, "origin_mm", _triple(self.origin_mm))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, height, width = self.array.shape
        return depth, height, width

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Edge-to-edge size along D, H, W in mm."""
        return _triple(n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))

    def with_array(self, array: npt.NDArray[np.generic]) -> Volume:
        """The same geometry around another array of the same shape."""
        if array.shape != self.array.shape:
            raise ValueError(f"array of shape {array.shape} does not fit a volume of shape {self.shape}")
        return replace(self, array=np.asarray(array, dtype=np.float32))

    def to_patient_mm(self, index: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Patient coordinates (..., 3) as (x, y, z) of fractional voxel indices (..., 3) as (d, h, w)."""
        scaled = np.asarray(index, dtype=np.float64) * np.asarray(self.spacing_mm)
        return np.asarray(self.origin_mm) + scaled @ self.direction.T

    def same_grid_as(self, other: Volume, tolerance_mm: float = 1e-3) -> bool:
        """Whether both volumes sample the same points, corner for corner."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[[0, n - 1] for n in self.shape])).reshape(3, -1).T
        distance = np.abs(self.to_patient_mm(corners) - other.to_patient_mm(corners))
        return bool(distance.max() <= tolerance_mm)

    def reoriented(self, direction: npt.NDArray[np.float64] = AXIAL) -> Volume:
        """The same image with its axes permuted and flipped to lie nearest to `direction`.

        No voxel value and no voxel position changes; an oblique volume stays oblique.
        ``volume.reoriented().reoriented(volume.direction)`` is the volume itself.
        """
        alignment = direction.T @ self.direction  # [target axis, own axis] cosines
        order = _assign_axes(np.abs(alignment))
        signs = [1 if alignment[target, own] >= 0 else -1 for target, own in enumerate(order)]
        array = self.array.transpose(order)
        corner = np.zeros(3)
        for own, sign in zip(order, signs, strict=True):
            corner[own] = 0 if sign > 0 else self.shape[own] - 1
        flips = tuple(slice(None, None, sign) for sign in signs)
        return Volume(
            array=np.ascontiguousarray(array[flips]),
            spacing_mm=_triple(self.spacing_mm[own] for own in order),
            origin_mm=_triple(self.to_patient_mm(corner)),
            direction=self.direction[:, order] * np.asarray(signs, dtype=np.float64),
        )


def _assign_axes(strength: npt.NDArray[np.float64]) -> list[int]:
    """For each target axis the own axis it lies along: the permutation with the largest total."""
    permutations = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    return max(permutations, key=lambda p: sum(strength[target, own] for target, own in enumerate(p)))


def _triple(values: Iterable[float]) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c
