"""`Volume`: a 3-D image and where it lies in the patient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from creps.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["AXIAL", "Array", "GeometryError", "Mask", "Volume"]

Array = npt.NDArray[np.float32]
"""A scalar image: (D, H, W)."""

Mask = npt.NDArray[np.bool_]
"""True inside: (D, H, W)."""

AXIAL: npt.NDArray[np.float64] = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""Direction of an axial stack: depth runs to superior, rows to posterior, columns to left."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


class GeometryError(InputError, ValueError):
    """An array and a geometry that make no volume."""


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

    Raises:
        GeometryError: the array is not 3-D, or spacing, origin or direction make no orthogonal grid.

    Example:
        >>> import numpy as np
        >>> from creps.volume import Volume
        >>> volume = Volume(np.zeros((40, 256, 256)), spacing_mm=(3.0, 0.9, 0.9))
        >>> volume.extent_mm
        (120.0, 230.4, 230.4)
        >>> Volume.from_sitk(volume.to_sitk()).same_grid_as(volume)
        True
    """

    array: Array
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: npt.NDArray[np.float64] = field(default_factory=lambda: AXIAL.copy())

    def __post_init__(self) -> None:
        try:
            array = np.asarray(self.array, dtype=np.float32)
            direction = np.asarray(self.direction, dtype=np.float64)
            spacing_mm, origin_mm = _triple(self.spacing_mm), _triple(self.origin_mm)
        except (TypeError, ValueError) as error:
            raise GeometryError(
                f"The array or its geometry is not numeric ({error}).",
                "Give a 3-D array, three spacings, three coordinates and a 3x3 direction.",
            ) from error
        if array.ndim != 3:
            raise GeometryError(f"A Volume has three axes (D, H, W), not {array.ndim}.", "Give a 3-D array.")
        if direction.shape != (3, 3) or not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
            raise GeometryError("The direction is not a 3x3 matrix with orthonormal columns.", "Correct it.")
        if not all(np.isfinite(s) and s > 0 for s in spacing_mm):
            raise GeometryError(f"The spacing is not finite and positive: {spacing_mm}.", "Give it in mm.")
        if not np.isfinite(np.asarray(origin_mm)).all():
            raise GeometryError(f"The origin is not finite: {origin_mm}.", "Give it in mm.")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "direction", direction)
        object.__setattr__(self, "spacing_mm", spacing_mm)
        object.__setattr__(self, "origin_mm", origin_mm)

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Self:
        """The volume of a SimpleITK image; voxel values become float32.

        Args:
            image: 3-D, one value per voxel.

        Raises:
            GeometryError: it is something else.
        """
        import SimpleITK as sitk

        if not isinstance(image, sitk.Image) or image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise GeometryError("This is not a 3-D SimpleITK image of one value per voxel.", "Split or convert it.")
        direction = np.asarray(image.GetDirection(), dtype=np.float64).reshape(3, 3)[:, ::-1]
        spacing, origin = _triple(image.GetSpacing()[::-1]), _triple(image.GetOrigin())
        return cls(sitk.GetArrayFromImage(image).astype(np.float32), spacing, origin, direction)

    def to_sitk(self) -> sitk.Image:
        """A SimpleITK image with the same voxels (a copy, float32) at the same places."""
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(self.array)
        image.SetSpacing(self.spacing_mm[::-1])
        image.SetOrigin(self.origin_mm)
        image.SetDirection(self.direction[:, ::-1].flatten().tolist())
        return image

    @classmethod
    def from_nibabel(cls, image: Any) -> Self:
        """The volume of a nibabel image; its array (i, j, k) is transposed to (D, H, W) = (k, j, i).

        Args:
            image: A `nibabel.spatialimages.SpatialImage` with a 3-D array.

        Raises:
            GeometryError: it is something else, or its affine is sheared.
        """
        try:
            array, affine = np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64)
        except (AttributeError, TypeError, ValueError) as error:
            raise GeometryError("This is not a nibabel image with voxels and an affine.", "Load it first.") from error
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError("The image has no affine of 4x4 finite numbers.", "Set its affine first.")
        columns = LPS_TO_RAS @ affine[:3, 2::-1]  # LPS and RAS differ in two signs, both ways
        spacing = np.linalg.norm(columns, axis=0)
        if not spacing.all():
            raise GeometryError("The image's affine has a column of zeros.", "Set its affine first.")
        return cls(array.T, _triple(spacing), _triple(LPS_TO_RAS @ affine[:3, 3]), columns / spacing)

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """(4, 4): maps an index (d, h, w, 1) of `array` to RAS coordinates in mm.

        RAS (x to the right, y to anterior, z to superior) is nibabel's convention: ``Nifti1Image(volume.array,
        volume.affine)`` is the same image. `to_patient_mm` gives DICOM's LPS instead.
        """
        affine = np.eye(4)
        affine[:3, :3] = LPS_TO_RAS @ self.direction * np.asarray(self.spacing_mm)
        affine[:3, 3] = LPS_TO_RAS @ np.asarray(self.origin_mm)
        return affine

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
        shape = np.shape(array)
        if shape != self.array.shape:
            raise GeometryError(
                f"An array of shape {shape} does not fit a volume of shape {self.shape}.", "Resample it first."
            )
        return replace(self, array=np.asarray(array, dtype=np.float32))

    def to_patient_mm(self, index: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Patient coordinates (..., 3) as (x, y, z) of fractional voxel indices (..., 3) as (d, h, w)."""
        scaled = np.asarray(index, dtype=np.float64) * np.asarray(self.spacing_mm)
        return np.asarray(self.origin_mm) + scaled @ self.direction.T

    def to_index(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Fractional voxel indices (..., 3) as (d, h, w) of patient coordinates (..., 3): inverts `to_patient_mm`."""
        inverse = np.linalg.inv(self.direction * np.asarray(self.spacing_mm))
        return (np.asarray(points_mm, dtype=np.float64) - np.asarray(self.origin_mm)) @ inverse.T

    def nearest_voxel(self, point_mm: npt.ArrayLike) -> tuple[int, int, int]:
        """The voxel (d, h, w) nearest to a patient position (x, y, z); at the edge for one outside."""
        index = np.rint(self.to_index(point_mm)).astype(int)
        d, h, w = np.clip(index, 0, np.asarray(self.shape) - 1).tolist()
        return d, h, w

    def corners_mm(self, *, edges: bool = False) -> npt.NDArray[np.float64]:
        """Patient coordinates (8, 3) of the corner voxels' centres, or of the volume's outer corners.

        Args:
            edges: Half a voxel further out.
        """
        out = 0.5 if edges else 0.0
        ends = [(-out, n - 1 + out) for n in self.shape]
        return self.to_patient_mm(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T)

    def same_grid_as(self, other: Volume, tolerance_mm: float = 1e-3) -> bool:
        """Whether both volumes sample the same points, corner for corner.

        Raises:
            GeometryError: `other` is not a volume.
        """
        if not isinstance(other, Volume):
            raise GeometryError(f"{type(other).__name__} is not a volume.", "Compare with a creps.Volume.")
        if self.shape != other.shape:
            return False
        distance = np.abs(self.corners_mm() - other.corners_mm())
        return bool(distance.max() <= tolerance_mm)

    def reoriented(self, direction: npt.NDArray[np.float64] = AXIAL) -> Volume:
        """The same image with its axes permuted and flipped to lie nearest to `direction`.

        No voxel value and no voxel position changes; an oblique volume stays oblique.
        ``volume.reoriented().reoriented(volume.direction)`` is the volume itself.

        Raises:
            GeometryError: `direction` is not a matrix of 3x3.
        """
        if np.shape(direction) != (3, 3):
            raise GeometryError("The direction is not a 3x3 matrix.", "Give the direction of a volume.")
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
