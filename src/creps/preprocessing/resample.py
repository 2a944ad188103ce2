"""Cubic B-spline resampling between grids (section 2.2, Pre-processing).

Axes that stay parallel make the interpolation separable: one prefilter, then one sparse 1-D product
per axis. That is the way of an MR to the model's grid and of its sCT back. Only the sCT of an oblique MR
that is requested on axial slices is turned (`resample_turned`): about one axis, as most are, it is a sparse 2-D product
for the planes across that axis and a 1-D product along it; otherwise every voxel takes its 64 coefficients.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from creps.preprocessing.crop import Slices, cropped, outside_extent
from creps.preprocessing.imaged import imaged_box
from creps.preprocessing.morphology import box_around
from creps.volume import Array, Volume

__all__ = ["lattice_index", "model_grid", "resample", "resample_imaged", "resample_onto", "resample_turned"]

Matrix = npt.NDArray[np.float64]

NEAREST = 0.381966
"""The voxel next to the patient's origin lies less than this many voxels before it, or at most 1 - this many behind it.
Symmetric fields of view put the origin on a voxel or halfway between two: rounding at 1/2 would leave the choice to the
last digit of a header."""

SLIVER = 1e-3
"""Voxels of the grid that reach into the volume by less than this are not needed."""

SHARED = 1e-4
"""Voxels: at an edge of 1000 HU between neighbours a tenth of a HU."""


def model_grid(volume: Volume, spacing_mm: tuple[float, float, float]) -> Volume:
    """An empty volume over the same extent with the given spacing (D, H, W), on a lattice fixed in the patient.

    Patient coordinates and the positions of the voxels fix the lattice. Where the volume ends does not matter: padding
    or cropping it moves no point of the lattice. Along each axis, point 0 is a voxel centre, that of the voxel next
    to the patient's origin if the rows of voxels went on endlessly. So a volume that already has the spacing is not
    interpolated. The grid holds the points whose cells reach into the volume.
    """
    return _on_lattice(volume, spacing_mm)[0]


def lattice_index(volume: Volume, spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """The index (D, H, W) of the first voxel of `model_grid` on its lattice."""
    return _on_lattice(volume, spacing_mm)[1]


def _on_lattice(volume: Volume, spacing_mm: tuple[float, float, float]) -> tuple[Volume, tuple[int, int, int]]:
    first = volume.direction.T @ np.asarray(volume.origin_mm)
    starts, counts, points = [], [], []
    for centre, n, own, step in zip(first.tolist(), volume.shape, volume.spacing_mm, spacing_mm, strict=True):
        fixed = centre - own * math.floor(centre / own + NEAREST)
        start = math.floor((centre - own / 2 - fixed) / step + 0.5 + SLIVER)
        end = math.ceil((centre + (n - 0.5) * own - fixed) / step + 0.5 - SLIVER)
        starts.append(start)
        counts.append(max(2, end - start))
        points.append(fixed + start * step)
    x, y, z = (volume.direction @ np.array(points)).tolist()
    d, h, w = starts
    return Volume(np.zeros(counts, np.float32), spacing_mm, (x, y, z), volume.direction), (d, h, w)


def resample(volume: Volume, spacing_mm: tuple[float, float, float]) -> Volume:
    """Resample to a spacing (D, H, W) in mm, along the volume's own axes, on the grid of `model_grid`.

    See `resample_imaged` for padding.
    """
    return resample_imaged(volume, spacing_mm)[0]


def resample_imaged(volume: Volume, spacing_mm: tuple[float, float, float]) -> tuple[Volume, Slices]:
    """`resample`, and the part of the result that was imaged.

    Planes that are padding (`imaged_box`) are not interpolated with the patient: they become the volume's lowest
    value, and what was imaged is resampled as if they were not there.

    Returns:
        The resampled volume; its box along D, H, W without padding.
    """
    grid, box = model_grid(volume, spacing_mm), imaged_box(volume)
    if box is None:
        return resample_onto(volume, grid), (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    imaged = cropped(volume, box)
    part = resample_onto(imaged, model_grid(imaged, spacing_mm))
    array = np.full(grid.shape, volume.array.min(), np.float32)
    starts = np.subtract(lattice_index(imaged, spacing_mm), lattice_index(volume, spacing_mm)).tolist()
    d, h, w = (slice(start, start + n) for start, n in zip(starts, part.shape, strict=True))
    array[d, h, w] = part.array
    return grid.with_array(array), (d, h, w)


def resample_onto(volume: Volume, grid: Volume) -> Volume:
    """Sample a volume at the voxels of a grid with parallel axes.

    Cubic B-spline; beyond the volume's edge its outermost value is repeated; the result never leaves
    the source's range, so that the spline's overshoot at bone and metal is cut off.

    Args:
        volume: What to sample.
        grid: Where; its array is not read.

    Returns:
        A volume on `grid`.

    Raises:
        ValueError: the axes are not parallel.
    """
    if not np.allclose(volume.direction, grid.direction, atol=1e-4):
        raise ValueError("resample_onto needs grids with parallel axes")
    if volume.same_grid_as(grid):
        return grid.with_array(volume.array)
    start = volume.direction.T @ (np.asarray(grid.origin_mm) - np.asarray(volume.origin_mm))
    positions = [
        (offset + np.arange(n) * spacing) / own
        for offset, n, spacing, own in zip(start, grid.shape, grid.spacing_mm, volume.spacing_mm, strict=True)
    ]
    array = ndimage.spline_filter(volume.array, order=3, output=np.float32, mode="mirror")
    for axis in np.argsort([n / m for n, m in zip(grid.shape, volume.shape, strict=True)]):
        array = _along(array, _weights(positions[axis], volume.shape[axis]), int(axis))
    return grid.with_array(np.clip(array, volume.array.min(), volume.array.max()))


def resample_turned(volume: Volume, grid: Volume) -> Volume:
    """Sample a volume at the voxels of a grid that may be rotated against it.

    Cubic B-spline, clipped to the source's range. Values beyond the volume's edge are meaningless, see
    `outside_extent`.

    Args:
        volume: What to sample.
        grid: Where; its array is not read.

    Returns:
        A volume on `grid`.
    """
    own = np.asarray(volume.spacing_mm)[:, None]
    matrix = (volume.direction.T @ grid.direction) * np.asarray(grid.spacing_mm) / own
    offset = volume.direction.T @ (np.asarray(grid.origin_mm) - np.asarray(volume.origin_mm)) / own[:, 0]
    array = ndimage.spline_filter(volume.array, order=3, output=np.float32, mode="mirror")
    axis = _axis_of_rotation(matrix, grid.shape)
    if axis is None:
        sampled = _at_every_voxel(array, matrix, offset, volume, grid)
    else:
        count = volume.shape[axis]
        places = offset[axis] + matrix[axis, axis] * np.arange(grid.shape[axis])
        array = _along(array, _sparse(*_taps(places, count), count), axis)
        sampled = _in_planes(array, matrix, offset, axis, grid.shape)
    return grid.with_array(np.clip(sampled, volume.array.min(), volume.array.max(), out=sampled))


def _axis_of_rotation(matrix: Matrix, shape: tuple[int, int, int]) -> int | None:
    """The axis that both grids share, if the others' part in it moves no voxel by more than `SHARED`."""
    for axis in range(3):
        others = [i for i in range(3) if i != axis]
        across = np.abs(matrix[axis, others]) @ np.take(shape, others)
        along = np.abs(matrix[others, axis]).max() * shape[axis]
        if max(across, along) < SHARED:
            return axis
    return None


def _in_planes(array: Array, matrix: Matrix, offset: Matrix, axis: int, shape: tuple[int, int, int]) -> Array:
    """Coefficients in the planes across an axis → values at the places of the turned planes."""
    a, b = (i for i in range(3) if i != axis)
    row, column = np.arange(shape[a])[:, None], np.arange(shape[b])
    places = [(offset[i] + matrix[i, a] * row + matrix[i, b] * column).ravel() for i in (a, b)]
    inside = np.ones(len(places[0]), dtype=bool)
    for place, i in zip(places, (a, b), strict=True):
        inside &= (place > -1) & (place < array.shape[i])
    columns, taps = zip(
        *(_taps(place[inside], array.shape[i]) for place, i in zip(places, (a, b), strict=True)), strict=True
    )
    both = columns[0][:, None] * array.shape[b] + columns[1]
    weights = taps[0][:, None] * taps[1]
    matrix_2d = _sparse(both.reshape(16, -1), weights.reshape(16, -1), array.shape[a] * array.shape[b])
    flat = np.moveaxis(array, axis, 2).reshape(matrix_2d.shape[1], -1)
    sampled = np.zeros((len(inside), flat.shape[1]), np.float32)
    sampled[inside] = matrix_2d @ flat
    return np.ascontiguousarray(np.moveaxis(sampled.reshape(shape[a], shape[b], -1), 2, axis))


def _at_every_voxel(array: Array, matrix: Matrix, offset: Matrix, volume: Volume, grid: Volume) -> Array:
    """Coefficients → values at the places of a turned grid, slice by slice, one in each thread."""
    import SimpleITK as sitk

    sampled = np.zeros(grid.shape, np.float32)

    def sample(d: int) -> None:
        x, y, z = grid.to_patient_mm((d, 0, 0)).tolist()
        plane = Volume(sampled[d : d + 1], grid.spacing_mm, (x, y, z), grid.direction)
        _, *window = box_around(~outside_extent(plane, volume), (0, 0, 0))
        first = np.array([d, *(part.start for part in window)])
        ndimage.affine_transform(
            array,
            matrix,
            offset + matrix @ first,
            output_shape=(1, *(part.stop - part.start for part in window)),
            output=sampled[(slice(d, d + 1), *window)],
            order=3,
            mode="mirror",
            prefilter=False,
        )

    with ThreadPoolExecutor(sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()) as threads:
        list(threads.map(sample, range(grid.shape[0])))
    return sampled


def _weights(positions: Matrix, count: int) -> sparse.csr_matrix:
    """(len(positions), count) cubic B-spline weights on mirrored coefficients, positions clamped."""
    return _sparse(*_taps(np.clip(positions, 0, count - 1), count), count)


def _taps(positions: Matrix, count: int) -> tuple[npt.NDArray[np.int64], Matrix]:
    """(4, len(positions)) coefficients that each position takes, mirrored at the outermost centres, and weights."""
    base = np.floor(positions).astype(np.int64)
    t = positions - base
    taps = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    period = max(1, 2 * (count - 1))
    columns = np.abs(base + np.arange(-1, 3)[:, None]) % period
    return np.minimum(columns, period - columns), taps


def _sparse(columns: npt.NDArray[np.int64], weights: Matrix, count: int) -> sparse.csr_matrix:
    """(positions, count) from (taps, positions)."""
    rows = np.broadcast_to(np.arange(columns.shape[1]), columns.shape)
    entries = (weights.ravel(), (rows.ravel(), columns.ravel()))
    return sparse.coo_matrix(entries, shape=(columns.shape[1], count)).tocsr().astype(np.float32)


def _along(array: Array, weights: sparse.csr_matrix, axis: int) -> Array:
    """Multiply `weights` into one axis of a (D, H, W) array."""
    depth, height, width = array.shape
    if axis == 0:
        return np.asarray((weights @ array.reshape(depth, -1)).reshape(-1, height, width))
    if axis == 1:
        return np.stack([weights @ plane for plane in array])
    return np.stack([(weights @ plane.T).T for plane in array])
