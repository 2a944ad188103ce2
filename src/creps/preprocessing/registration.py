"""Rigid registration of two images of one patient, for scoring: misalignment affects every metric.

Mattes mutual information (Mattes et al. 2003) from coarse to fine, by SimpleITK. Everything is seeded and runs in one
thread, so the same pair gives the same transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from creps.errors import InputError
from creps.volume import Volume

__all__ = ["RigidRegistration", "register_rigid"]

LEVELS_MM = (8.0, 4.0, 2.0)
"""Voxel sizes, coarse to fine; levels finer than both images are left out."""

HISTOGRAM_BINS = 50
MAX_SAMPLES = 100_000
ITERATIONS = 300

MARGIN_MM = 15.0
"""A mask is widened by this much, so that the skin, the strongest edge, has air beside it."""

MIN_OVERLAP = 0.25
"""At least this share of the fixed image (or its mask) lies in the moving one, before and after."""

FEWEST_VOXELS = 4
"""Along every axis of both images: with fewer slices, smoothing fails and rotations are poorly determined."""

MAX_ROTATION_DEG = 45.0
"""No patient is rotated further: the optimiser has diverged."""

METHOD = (
    "rigid, Mattes mutual information (50 bins), steps of 8, 4 and 2 mm, regular step gradient descent, SimpleITK "
    f"{sitk.Version_VersionString()}"
)

Start = Literal["frame", "centres"]


@dataclass(frozen=True, eq=False)
class RigidRegistration:
    """Where the points of a fixed image lie in a moving one.

    A point x of the fixed image lies at ``rotation @ (x - centre) + centre + translation`` in the moving image;
    coordinates are the patient's (x, y, z) in mm.

    Attributes:
        rotation: (3, 3) rotation matrix.
        translation_mm: (x, y, z): how far the centre moves.
        centre_mm: (x, y, z) of the centre of rotation, the middle of the fixed image or of its mask.
        metric_before: Negative mutual information at the start; lower is better.
        metric_after: The same at the end.
        start: ``frame`` (the positions in the headers) or ``centres`` (the images' centres aligned).
        seed: Of the sampling.
    """

    rotation: npt.NDArray[np.float64]
    translation_mm: tuple[float, float, float]
    centre_mm: tuple[float, float, float]
    metric_before: float
    metric_after: float
    start: Start = "frame"
    seed: int = 0

    @property
    def rotation_deg(self) -> tuple[float, float, float]:
        """Angles about x, y and z: the matrix is Rz Rx Ry, as ITK's Euler transform has it."""
        x, y, z = np.degrees(_transform(self.rotation).GetParameters()[:3]).tolist()
        return x, y, z

    def to_moving_mm(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Patient coordinates (..., 3) in the moving image of points (..., 3) of the fixed one."""
        centre = np.asarray(self.centre_mm)
        return (np.asarray(points_mm) - centre) @ self.rotation.T + centre + np.asarray(self.translation_mm)

    def moved(
        self,
        volume: Volume,
        onto: Volume,
        fill: float,
        interpolation: Literal["linear", "spline", "nearest"] = "spline",
    ) -> Volume:
        """Sample a volume that lies as the moving image does at the voxels of a grid that lies as the fixed one.

        Args:
            volume: The moving image, or anything in its frame.
            onto: The grid; its array is not read.
            fill: Value beyond the volume's edge.
            interpolation: Cubic B-spline, never beyond the volume's own range; ``nearest`` for masks and labels.

        Returns:
            A volume on the grid of `onto`.
        """
        kinds = {"linear": sitk.sitkLinear, "spline": sitk.sitkBSpline3, "nearest": sitk.sitkNearestNeighbor}
        transform = _transform(self.rotation, self.translation_mm, self.centre_mm)
        image = sitk.Resample(volume.to_sitk(), onto.to_sitk(), transform, kinds[interpolation], fill, sitk.sitkFloat32)
        low, high = min(float(volume.array.min()), fill), max(float(volume.array.max()), fill)
        return onto.with_array(np.clip(sitk.GetArrayFromImage(image), low, high))

    def record(self) -> dict[str, Any]:
        """As plain JSON values; angles and millimetres are those of the fixed image's points in the moving one."""
        return {
            "method": METHOD,
            "start": self.start,
            "seed": self.seed,
            "rotation_deg": [round(angle, 4) for angle in self.rotation_deg],
            "translation_mm": [round(shift, 4) for shift in self.translation_mm],
            "centre_mm": [round(value, 4) for value in self.centre_mm],
            "metric_before": round(self.metric_before, 6),
            "metric_after": round(self.metric_after, 6),
        }


def register_rigid(
    fixed: Volume, moving: Volume, *, fixed_mask: Volume | None = None, seed: int = 0, start: Start = "frame"
) -> RigidRegistration:
    """Find the rotation and shift that bring a moving image onto a fixed one.

    Args:
        fixed: The image that stays.
        moving: The image that is to lie on it, of any modality.
        fixed_mask: The body in `fixed` (on its grid): only it and 15 mm around it are compared; default everything.
        seed: Of the sampling of points.
        start: ``frame``: both have one frame of reference and lie nearly right; ``centres``: they do not, and their
            centres are aligned first.

    Raises:
        InputError: an image has too few slices, the images hardly overlap, the mask is empty or on another grid, or the
            optimiser fails.
    """
    _check_size(fixed, moving)
    samples = _sample_points(fixed, fixed_mask)
    centre = (samples.min(axis=0) + samples.max(axis=0)) / 2
    shift = np.zeros(3) if start == "frame" else _middle(moving) - centre
    transform = _transform(np.eye(3), shift, centre)
    _check_overlap(_share_inside(samples, transform, moving), start)
    first = sitk.Euler3DTransform(transform)
    finest = max(min(fixed.spacing_mm), min(moving.spacing_mm))
    levels = [step for step in LEVELS_MM if step >= finest / 1.5] or [LEVELS_MM[0]]
    try:
        for step_mm in levels:
            method, images = _level(fixed, moving, fixed_mask, step_mm, seed)
            method.SetInitialTransform(transform, inPlace=True)
            method.Execute(*images)
        before, after = (_metric(method, images, one) for one in (first, transform))
    except RuntimeError as error:
        raise InputError(
            f"The images cannot be registered: the optimiser failed ({str(error).strip().splitlines()[-1].strip()}).",
            "Check that both show the same part of the same patient.",
        ) from error
    result = RigidRegistration(
        np.asarray(transform.GetMatrix()).reshape(3, 3), _xyz(transform.GetTranslation()), _xyz(centre), before, after,
        start, seed,
    )  # fmt: skip
    _check(result, _share_inside(samples, transform, moving))
    return result


def _check_size(fixed: Volume, moving: Volume) -> None:
    for volume, which in ((fixed, "fixed"), (moving, "moving")):
        if min(volume.shape) < FEWEST_VOXELS:
            raise InputError(
                f"The {which} image has {' x '.join(map(str, volume.shape))} voxels, and registration needs at least "
                f"{FEWEST_VOXELS} along every axis.",
                "Use images with more slices, or do without registration.",
            )


def _check(result: RigidRegistration, share: float) -> None:
    angle = np.degrees(np.arccos(np.clip((np.trace(result.rotation) - 1) / 2, -1, 1)))
    if share < MIN_OVERLAP or angle > MAX_ROTATION_DEG or result.metric_after > result.metric_before + 0.01:
        raise InputError(
            f"The images cannot be registered: the optimiser ended {angle:.0f} degrees and "
            f"{np.linalg.norm(result.translation_mm):.0f} mm away, with {share:.0%} of the fixed image covered.",
            "Check that both show the same part of the same patient, or align them by hand.",
        )


def _check_overlap(share: float, start: Start) -> None:
    if share >= MIN_OVERLAP:
        return
    remedy = "if their frames of reference differ, start from their centres"
    raise InputError(
        f"The images hardly overlap: {share:.0%} of the fixed image lies in the moving one.",
        f"Check that both show the same part of the same patient{'; ' + remedy if start == 'frame' else ''}.",
    )


def _level(
    fixed: Volume, moving: Volume, fixed_mask: Volume | None, step_mm: float, seed: int
) -> tuple[sitk.ImageRegistrationMethod, tuple[sitk.Image, sitk.Image]]:
    """The registration at one voxel size, and the two images at it."""
    images = _coarse(fixed.to_sitk(), step_mm), _coarse(moving.to_sitk(), step_mm)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)  # sums of several units depend on which thread ends first, by some 1e-5 mm
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)  # off the voxel centres: no pull towards aligned grids
    method.SetMetricSamplingPercentage(min(1.0, MAX_SAMPLES / images[0].GetNumberOfPixels()), seed + 1)  # 0: the clock
    if fixed_mask is not None:
        distance = sitk.SignedMaurerDistanceMap(fixed_mask.to_sitk() > 0.5, squaredDistance=False, useImageSpacing=True)
        mask = distance <= MARGIN_MM
        method.SetMetricFixedMask(sitk.Resample(mask, images[0], sitk.Transform(), sitk.sitkNearestNeighbor, 0))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step_mm / 2,
        minStep=step_mm / 400,
        numberOfIterations=ITERATIONS,
        relaxationFactor=0.9,
        gradientMagnitudeTolerance=1e-8,
    )
    return method, images


def _metric(
    method: sitk.ImageRegistrationMethod, images: tuple[sitk.Image, sitk.Image], transform: sitk.Euler3DTransform
) -> float:
    method.SetInitialTransform(sitk.Euler3DTransform(transform), inPlace=True)
    return float(method.MetricEvaluate(*images))


def _coarse(image: sitk.Image, step_mm: float) -> sitk.Image:
    """An image smoothed and sampled with one voxel size along all axes; an axis that is coarser stays as it is."""
    own = np.asarray(image.GetSpacing())
    spacing = np.maximum(own, step_mm)
    size = [max(2, int(np.ceil(n * o / s))) for n, o, s in zip(image.GetSize(), own, spacing, strict=True)]
    sigmas = [max(0.01 * o, 0.5 * float(np.sqrt(s**2 - o**2))) for o, s in zip(own, spacing, strict=True)]
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    origin = np.asarray(middle) - direction @ ((np.asarray(size) - 1) / 2 * spacing)
    if (spacing > own).any():
        image = sitk.DiscreteGaussian(image, [float(s) ** 2 for s in sigmas], useImageSpacing=True)
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, origin.tolist(), spacing.tolist(), image.GetDirection(),
        float(sitk.GetArrayViewFromImage(image).min()),
    )  # fmt: skip


def _sample_points(fixed: Volume, fixed_mask: Volume | None) -> npt.NDArray[np.float64]:
    """(N, 3) patient coordinates of some ten thousand voxels of the fixed image, or of its mask."""
    if fixed_mask is not None and not fixed_mask.same_grid_as(fixed, tolerance_mm=0.5 * min(fixed.spacing_mm)):
        raise InputError(
            "The mask is on a different grid from the fixed image.", "Give a mask on the image's own grid."
        )
    steps = [max(1, n // 24) for n in fixed.shape]
    index = np.stack(np.meshgrid(*(np.arange(0, n, s) for n, s in zip(fixed.shape, steps, strict=True)), indexing="ij"))
    points = fixed.to_patient_mm(index.reshape(3, -1).T)
    if fixed_mask is None:
        return points
    inside = fixed_mask.array[tuple(slice(None, None, s) for s in steps)].ravel() > 0.5
    if not inside.any():
        raise InputError("The mask of the fixed image is empty.", "Give a mask of the body, or none.")
    return points[inside]


def _share_inside(points: npt.NDArray[np.float64], transform: sitk.Euler3DTransform, moving: Volume) -> float:
    """Share of points of the fixed image that lie within the moving one."""
    matrix, centre = np.asarray(transform.GetMatrix()).reshape(3, 3), np.asarray(transform.GetCenter())
    there = (points - centre) @ matrix.T + centre + np.asarray(transform.GetTranslation())
    index = moving.to_index(there)
    return float(((index >= -0.5) & (index <= np.asarray(moving.shape) - 0.5)).all(axis=1).mean())


def _middle(volume: Volume) -> npt.NDArray[np.float64]:
    return volume.to_patient_mm([(n - 1) / 2 for n in volume.shape])


def _transform(
    rotation: npt.NDArray[np.float64], translation_mm: npt.ArrayLike = (0, 0, 0), centre_mm: npt.ArrayLike = (0, 0, 0)
) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(np.asarray(centre_mm, dtype=np.float64).tolist())
    transform.SetMatrix(np.asarray(rotation, dtype=np.float64).flatten().tolist(), 1e-6)
    transform.SetTranslation(np.asarray(translation_mm, dtype=np.float64).tolist())
    return transform


def _xyz(values: npt.ArrayLike) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in np.asarray(values))
    return x, y, z
