"""`Scene`: an MR, its sCT and the body, brought onto one coarse grid on which every check measures."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps import hu
from creps.machine import cores
from creps.preprocessing.mask import depth_mm
from creps.preprocessing.morphology import box_around, filled, largest
from creps.volume import Array, Mask, Volume

__all__ = ["GRID_MM", "Scene"]

GRID_MM = 4.0
"""Spacing of the grid: limits hold for any spacing of MR, sCT and model."""

MARGIN_MM = 20.0
"""Margin of air around the body."""

Index = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Scene:
    """An MR and its sCT on one upright grid of `GRID_MM`.

    Attributes:
        grid: The grid: D to superior, H to posterior, W to left, as near as the MR's axes allow.
        mr: (D, H, W) signal over the median signal of the body.
        sct_hu: (D, H, W) in HU; air outside the sCT.
        body: (D, H, W) the body as found in the MR.
        imaged: (D, H, W) what both the MR and the sCT cover.
    """

    grid: Volume
    mr: Array
    sct_hu: Array
    body: Mask
    imaged: Mask

    @classmethod
    def of(cls, mr: Volume, sct: Volume, body: Volume) -> Scene:
        """Bring the volumes onto one grid.

        Args:
            mr: In scanner units, on any grid.
            sct: In HU, on any grid.
            body: Body mask, 1 inside, on any grid.

        Raises:
            ValueError: the mask is empty.
        """
        upright = body.reoriented()
        if not (upright.array > 0.5).any():
            raise ValueError("the body mask is empty")
        grid = _grid_around(upright)
        with ThreadPoolExecutor(cores()) as pool:
            share, signal, sct_hu = pool.map(
                lambda job: _sampled(job[0].reoriented(), grid, job[1]), ((upright, 0.0), (mr, 0.0), (sct, hu.AIR))
            )
        inside = share > 0.5
        scale = max(float(np.median(signal[inside])), 1e-6) if inside.any() else 1.0
        covered = _covered(mr, grid) & _covered(sct, grid)
        return cls(grid, signal / np.float32(scale), sct_hu, inside, covered)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Along D, H, W."""
        return self.grid.spacing_mm

    @cached_property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm)) / 1000

    @cached_property
    def depth_mm(self) -> Array:
        """(D, H, W) depth below the skin of the MR; beyond the edge of the images the body is taken to continue."""
        return depth_mm(self.body | ~self.imaged, self.spacing_mm) * self.body

    @cached_property
    def sct_body(self) -> Mask:
        """(D, H, W) the body as found in the sCT: what is denser than the skin's threshold, in one piece, filled."""
        return filled(largest(self.sct_hu > hu.SKIN))

    @cached_property
    def both(self) -> Mask:
        """(D, H, W) inside the body of MR and sCT."""
        return self.body & self.sct_body

    @cached_property
    def bone(self) -> Mask:
        """(D, H, W) bone of the sCT inside the body of the MR."""
        return np.asarray((self.sct_hu > hu.BONE_SHARE_ABOVE) & self.body)

    def patient_mm(self, index: Sequence[int]) -> npt.NDArray[np.float64]:
        """Patient (x, y, z) of a voxel."""
        return self.grid.to_patient_mm(index)


def _grid_around(body: Volume) -> Volume:
    """An empty grid of `GRID_MM` around a mask."""
    box = box_around(body.array > 0.5, [int(MARGIN_MM / s) + 1 for s in body.spacing_mm])
    first = [part.start for part in box]
    extents = [(part.stop - part.start) * s for part, s in zip(box, body.spacing_mm, strict=True)]
    shape = [max(2, int(np.ceil(extent / GRID_MM))) for extent in extents]
    corner = body.to_patient_mm([f - 0.5 + GRID_MM / 2 / s for f, s in zip(first, body.spacing_mm, strict=True)])
    x, y, z = corner.tolist()
    return Volume(np.zeros(shape, np.float32), (GRID_MM,) * 3, (x, y, z), body.direction)


def _sampled(volume: Volume, grid: Volume, outside: float) -> Array:
    """(D, H, W) of `grid`: means over blocks where the volume is finer, linear between them."""
    factors = [max(1, int(GRID_MM / s + 0.25)) for s in volume.spacing_mm]
    array = volume.array
    for axis, factor in enumerate(factors):
        if factor > 1 and array.shape[axis] >= factor:
            end = array.shape[axis] // factor * factor
            parts = (array[(slice(None),) * axis + (slice(k, end, factor),)] for k in range(factor))
            array = reduce(np.add, parts) / np.float32(factor)
        else:
            factors[axis] = 1
    matrix, offset = _index_map(volume, grid)
    scale = np.array(factors, dtype=np.float64)
    matrix, offset = matrix / scale[:, None], (offset - (scale - 1) / 2) / scale
    return _interpolated(array, matrix, offset, grid.shape, outside)


def _interpolated(
    array: Array, matrix: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], shape: Index, outside: float
) -> Array:
    """Linear interpolation; half a voxel beyond the outermost centres the edge goes on, further out is `outside`."""
    straight = np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-4)
    found = ndimage.affine_transform(
        array, np.diag(matrix) if straight else matrix, offset, shape, order=1, mode="nearest"
    )
    return np.where(_within(matrix, offset, shape, array.shape), found, np.float32(outside))


def _index_map(volume: Volume, grid: Volume) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(3, 3) and (3,): index of the grid → index of the volume."""
    to_index = np.linalg.inv(volume.direction * np.asarray(volume.spacing_mm))
    return (
        to_index @ (grid.direction * np.asarray(grid.spacing_mm)),
        to_index @ (np.asarray(grid.origin_mm) - np.asarray(volume.origin_mm)),
    )


def _covered(volume: Volume, grid: Volume) -> Mask:
    """(D, H, W) voxels of the grid whose centres lie within a volume."""
    return _within(*_index_map(volume, grid), grid.shape, volume.shape)


def _within(
    matrix: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], shape: Sequence[int], extent: Sequence[int]
) -> Mask:
    places = np.ix_(*(np.arange(n, dtype=np.float64) for n in shape))
    inside = np.ones(tuple(shape), dtype=bool)
    for row, start, count in zip(matrix, offset, extent, strict=True):
        index = sum(weight * place for weight, place in zip(row, places, strict=True)) + start
        inside &= (index >= -0.5) & (index <= count - 0.5)
    return inside
