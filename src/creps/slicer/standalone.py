"""What surrounds a network of creps, for programs without creps: numpy, SimpleITK and ONNX Runtime alone.

Synthetic CT for research. Not for diagnosis. Not a medical device.

The steps are those of ``creps synthesize`` with one forward pass. Two are simpler: the body is found by a threshold,
and padding of the MR is not looked for. Intake checks and QA are missing. Runs on Python 3.9, which 3D Slicer 5.8 has.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Image", "synthesize"]

AIR_HU = -1000.0
HU_RANGE = (-1024.0, 3000.0)
PER_UNIT_HU = 1000.0
BRIGHT_PERCENTILE, TOP = 99.5, 2.0
MARGIN_MM = 10.0
OPENED_MM, CLOSED_MM = 2.0, 8.0
TISSUE = 0.2
RIM = 8
NEAREST, SLIVER = 0.381966, 1e-3
AXIAL = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Image:
    """An array (D, H, W) and where it lies: spacing and columns of the direction in its order, coordinates in LPS."""

    array: npt.NDArray[Any]
    spacing: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]


def synthesize(session: Any, mr: npt.NDArray[Any], ijk_to_ras: npt.NDArray[Any], mask: Any = None) -> Any:
    """Synthetic CT of an MR, on the MR's own grid.

    Args:
        session: ONNX Runtime session of a file that ``creps export`` wrote.
        mr: (K, J, I) values in scanner units, as ``slicer.util.arrayFromVolume`` gives them.
        ijk_to_ras: (4, 4) matrix from voxels (i, j, k) to RAS in mm.
        mask: (K, J, I) the patient, above 0 inside; None: found by a threshold.

    Returns:
        (K, J, I) HU, float32.

    Raises:
        ValueError: no patient is found in the MR.
    """
    metadata = session.get_modelmeta().custom_metadata_map
    preparation, stride = json.loads(metadata["plan"])["preparation"], int(metadata["stride_voxels"])
    given = placed(np.asarray(mr, np.float32), ijk_to_ras)
    grid, first = lattice(upright(given), preparation["spacing_mm"])
    values = resampled(upright(given), grid, None)
    if mask is None:
        body = found_body(values, grid.spacing)
    else:
        inside = replace(given, array=(np.asarray(mask) > 0).astype(np.float32))
        body = resampled(upright(inside), grid, 0.0) > 0.5
    if not body.any():
        raise ValueError("No patient was found in the MR. Give a mask of the patient.")
    scale = preparation["mr_scale"]
    divisor = float(np.percentile(values[body], BRIGHT_PERCENTILE)) / TOP if scale == "auto" else float(scale)
    hu = predicted(session, np.clip(values / divisor, 0, TOP), body, grid.spacing, first, stride)
    sct = resampled(replace(grid, array=hu), given, AIR_HU)
    return np.clip(sct, *HU_RANGE).astype(np.float32)


def placed(array: npt.NDArray[Any], ijk_to_ras: npt.NDArray[Any]) -> Image:
    """An array (K, J, I) with the matrix of its voxels."""
    matrix = np.asarray(ijk_to_ras, float)
    columns = RAS_TO_LPS @ matrix[:3, 2::-1]
    spacing = np.linalg.norm(columns, axis=0)
    return Image(array, spacing, RAS_TO_LPS @ matrix[:3, 3], columns / spacing)


def upright(image: Image) -> Image:
    """The same voxels with axes nearest to superior, posterior, left."""
    alignment = AXIAL.T @ image.direction
    order = list(max(permutations(range(3)), key=lambda p: sum(abs(alignment[t, own]) for t, own in enumerate(p))))
    signs = [1 if alignment[t, own] >= 0 else -1 for t, own in enumerate(order)]
    corner = np.zeros(3)
    for own, sign in zip(order, signs):
        corner[own] = 0 if sign > 0 else image.array.shape[own] - 1
    flips = tuple(slice(None, None, sign) for sign in signs)
    return Image(
        np.ascontiguousarray(image.array.transpose(order)[flips]),
        image.spacing[order],
        image.origin + image.direction @ (image.spacing * corner),
        image.direction[:, order] * np.array(signs, float),
    )


def lattice(image: Image, spacing_mm: list[float]) -> tuple[Image, list[int]]:
    """The model's grid over an image, empty, and the index of its first voxel on the patient's lattice."""
    starts, counts, points = [], [], []
    centres = (image.direction.T @ image.origin).tolist()
    for centre, n, own, step in zip(centres, image.array.shape, image.spacing.tolist(), spacing_mm):
        fixed = centre - own * math.floor(centre / own + NEAREST)
        start = math.floor((centre - own / 2 - fixed) / step + 0.5 + SLIVER)
        end = math.ceil((centre + (n - 0.5) * own - fixed) / step + 0.5 - SLIVER)
        starts.append(start)
        counts.append(max(2, end - start))
        points.append(fixed + start * step)
    empty = np.zeros(counts, np.float32)
    return Image(empty, np.array(spacing_mm, float), image.direction @ np.array(points), image.direction), starts


def resampled(image: Image, grid: Image, outside: float | None) -> npt.NDArray[Any]:
    """An image at the voxels of a grid, by cubic B-splines; beyond it its outermost values, or a constant."""
    import SimpleITK as sitk

    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkBSpline)
    resampler.SetReferenceImage(in_itk(grid))
    if outside is None:
        resampler.UseNearestNeighborExtrapolatorOn()
    else:
        resampler.SetDefaultPixelValue(outside)
    found = sitk.GetArrayFromImage(resampler.Execute(in_itk(image)))
    return np.clip(found, image.array.min(), image.array.max())


def in_itk(image: Image) -> Any:
    """The same as a SimpleITK image."""
    import SimpleITK as sitk

    found = sitk.GetImageFromArray(image.array)
    found.SetSpacing(image.spacing[::-1].tolist())
    found.SetOrigin(image.origin.tolist())
    found.SetDirection(image.direction[:, ::-1].flatten().tolist())
    return found


def found_body(values: npt.NDArray[Any], spacing: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """(D, H, W) what is above a share of Otsu's threshold, without specks, closed, and filled in every slice."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.minimum(values, np.percentile(values, 99)).astype(np.float32))
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(image)
    opened, closed = ([int(mm / s + 1e-6) for s in spacing[::-1].tolist()] for mm in (OPENED_MM, CLOSED_MM))
    tissue = sitk.BinaryMorphologicalOpening(image > TISSUE * otsu.GetThreshold(), opened, sitk.sitkCross)
    pieces = sitk.ConnectedComponent(sitk.BinaryMorphologicalClosing(tissue, closed))  # joins scalp and brain
    body = sitk.GetArrayFromImage(sitk.RelabelComponent(pieces, sortByObjectSize=True) == 1).astype(bool)
    for axis in range(3):
        for plane in np.moveaxis(body, axis, 0):
            filled = sitk.BinaryFillhole(sitk.GetImageFromArray(np.ascontiguousarray(plane).astype(np.uint8)))
            plane |= sitk.GetArrayFromImage(filled).astype(bool)
    return body


def predicted(
    session: Any,
    network: npt.NDArray[Any],
    body: npt.NDArray[np.bool_],
    spacing: npt.NDArray[Any],
    first: list[int],
    stride: int,
) -> npt.NDArray[Any]:
    """(D, H, W) HU: one forward pass over the body and a margin, air elsewhere.

    The pass begins and ends on multiples of the network's stride on the patient's lattice, with a rim around it.
    """
    rim = RIM + -RIM % stride
    seen, kept, inner = [], [], []
    for axis, (n, s) in enumerate(zip(body.shape, spacing.tolist())):
        inside = np.flatnonzero(body.any(axis=tuple(other for other in range(3) if other != axis))).tolist()
        margin = math.ceil(MARGIN_MM / s - 1e-6)
        low, high = max(0, inside[0] - margin), min(n, inside[-1] + 1 + margin)
        start, end = low - (low + first[axis]) % stride - rim, high + -(high + first[axis]) % stride + rim
        seen.append(np.clip(np.arange(start, end), 0, n - 1))
        kept.append(slice(low, high))
        inner.append(slice(low - start, high - start))
    (output,) = session.run(None, {session.get_inputs()[0].name: network[np.ix_(*seen)][None, None].astype(np.float32)})
    found = np.full(body.shape, AIR_HU, np.float32)
    found[tuple(kept)] = PER_UNIT_HU * output[0, 0][tuple(inner)]
    found[beyond(body, spacing)] = AIR_HU
    return np.clip(found, *HU_RANGE)


def beyond(body: npt.NDArray[np.bool_], spacing: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """(D, H, W) what lies further than the margin from the body."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(body.astype(np.uint8))
    image.SetSpacing(spacing[::-1].tolist())
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(distance) > MARGIN_MM)
