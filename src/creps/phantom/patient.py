"""One phantom patient: grid, anatomy and images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from creps.errors import SettingsError
from creps.phantom.head.anatomy import HEAD
from creps.phantom.painting.body import Body
from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.fields import Axes
from creps.phantom.painting.tissues import TEXTURE_LENGTHS_MM
from creps.phantom.pelvis.anatomy import PELVIS
from creps.phantom.region import FieldOfView, Region
from creps.phantom.scanners.ct import acquire_ct
from creps.phantom.scanners.mr import acquire_mr
from creps.volume import Array, Volume

__all__ = ["MAX_SPACING_MM", "Phantom", "check_spacing", "grow_patient", "head_patient", "pelvis_patient"]

MAX_SPACING_MM = 5.0


@dataclass(frozen=True, eq=False)
class Phantom:
    """One patient's images, all on one grid.

    Attributes:
        mr: MR magnitudes in arbitrary units, or None.
        ct: CT with noise (HU), or None; with an MR it is its aligned truth.
        ct_noise_free: The same CT without noise (HU), or None.
        ct_planning: With an MR and a CT, the same body's CT in another sitting, its organs filled
            otherwise (HU, with noise); None where nothing changes daily.
        mask: 1 inside the body, airways included, the couch left out.
        labels: Tissue of each voxel as its place in `TISSUES`.
        labels_planning: Likewise for `ct_planning`, or None.
        body: The tissue layers themselves.
        parameters: What was drawn, for a record.
    """

    mr: Volume | None
    ct: Volume | None
    ct_noise_free: Volume | None
    ct_planning: Volume | None
    mask: Volume
    labels: Volume
    labels_planning: Volume | None
    body: Body
    parameters: dict[str, Any]


def check_spacing(*spacing_mm: float) -> None:
    """Raise `SettingsError` unless every spacing is positive and at most `MAX_SPACING_MM`."""
    if not all(0 < step <= MAX_SPACING_MM for step in spacing_mm):
        raise SettingsError(
            f"A phantom cannot have a voxel spacing of {' x '.join(f'{step:g}' for step in spacing_mm)} mm.",
            f"Give a spacing above 0 and up to {MAX_SPACING_MM:g} mm.",
        )


def head_patient(
    seed: int | list[int], spacing_mm: float = 2.0, *, mr: bool = True, ct: bool = True, centre: int = 0
) -> Phantom:
    """Grow one head and image it: `grow_patient` of the head."""
    return grow_patient(HEAD, seed, spacing_mm, mr=mr, ct=ct, centre=centre)


def pelvis_patient(
    seed: int | list[int], spacing_mm: float = 2.0, *, mr: bool = True, ct: bool = True, centre: int = 0
) -> Phantom:
    """Grow one pelvis and image it: `grow_patient` of the pelvis."""
    return grow_patient(PELVIS, seed, spacing_mm, mr=mr, ct=ct, centre=centre)


def grow_patient(
    region: Region, seed: int | list[int], spacing_mm: float = 2.0, *, mr: bool = True, ct: bool = True, centre: int = 0
) -> Phantom:
    """Grow one patient and acquire images.

    Args:
        region: Part of the body.
        seed: Same seed, same patient, at any spacing and whatever is imaged.
        spacing_mm: Nominal voxel size; centres stretch it a little.
        mr: Acquire the MR. With it, posture and grid are the MR's, and the CT is aligned to it;
            without it they are a planning CT's.
        ct: Acquire the CT.
        centre: Which of the region's MR centres (and CT scanners), counted on from 0 and repeated.

    Returns:
        The images asked for, mask and labels.

    Raises:
        SettingsError: the spacing is not above 0 and up to `MAX_SPACING_MM`.
    """
    check_spacing(spacing_mm)
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(9)]
    person_rng, posture_rng, anatomy_rng, texture_rng, mr_rng, ct_rng, day_rng, other_day_rng, planning_rng = streams
    subject = region.draw(person_rng, posture_rng, not mr)
    scanner = region.ct_scanners[centre % len(region.ct_scanners)]
    mr_centre = region.mr_centres[centre % len(region.mr_centres)]
    view = region.mr_view if mr else region.ct_view
    axes = draw_axes(posture_rng, spacing_mm, mr_centre.stretch if mr else scanner.stretch, view)
    on_day = subject.grow(anatomy_rng, axes)
    body = on_day(day_rng)
    texture = draw_texture(texture_rng, body.canvas)
    grid = draw_grid(posture_rng, axes, view)
    parameters = _rounded(subject.as_dict() | body.day)
    images: dict[str, Volume | None] = dict.fromkeys(("mr", "ct", "ct_noise_free", "ct_planning", "labels_planning"))
    if mr:
        array, scale = acquire_mr(mr_rng, body.canvas, mr_centre, texture)
        images["mr"] = grid.with_array(array)
        parameters |= {"mr_centre": mr_centre.name, "mr_scale": round(scale, 3)}
    if ct:
        noisy, clean = acquire_ct(ct_rng, body.canvas, scanner, texture, body.skin_mm, region.couch)
        images |= {"ct": grid.with_array(noisy), "ct_noise_free": grid.with_array(clean)}
        parameters |= {"ct_scanner": scanner.name, "ct_noise_hu": scanner.noise_hu}
    if mr and ct and region.changes_daily:
        other = on_day(other_day_rng)
        noisy, _ = acquire_ct(planning_rng, other.canvas, scanner, texture, other.skin_mm, region.couch)
        images |= {"ct_planning": grid.with_array(noisy), "labels_planning": grid.with_array(other.canvas.labels())}
        parameters["ct_planning"] = _rounded(other.day)
    mask, labels = grid.with_array(body.mask), grid.with_array(body.canvas.labels())
    return Phantom(**images, mask=mask, labels=labels, body=body, parameters=parameters)


def draw_axes(
    rng: np.random.Generator, spacing_mm: float, stretch: tuple[float, float, float], view: FieldOfView
) -> Axes:
    """Voxel centres (mm, patient frame) along D, H, W; a scan begins and ends a little here or there."""
    below, above = (rng.uniform(*longer) for longer in view.longer_mm)
    (bottom, top), *across = view.edges
    axes: list[npt.NDArray[np.float64]] = []
    for (low, high), factor in zip([(bottom - below, top + above), *across], stretch, strict=True):
        step = round(spacing_mm * factor, 4)
        count = max(2, round((high - low) / step))
        axes.append(np.asarray((low + high) / 2 + (np.arange(count) - (count - 1) / 2) * step, dtype=np.float64))
    return axes


def draw_grid(rng: np.random.Generator, axes: Axes, view: FieldOfView) -> Volume:
    """An empty volume with a scanner's origin: the patient frame shifted by a random table position."""
    spread = (4.0, 8.0, 8.0)
    offset = rng.uniform(-1, 1, 3) * spread + view.origin_mm
    shape = (len(axes[0]), len(axes[1]), len(axes[2]))
    first = [float(axes[2][0]), float(axes[1][0]), float(axes[0][0])]
    origin = [round(value + float(part), 2) for value, part in zip(first, offset, strict=True)]
    spacing = [float(axis[1] - axis[0]) for axis in axes]
    return Volume(
        np.zeros(shape, dtype=np.float32),
        (round(spacing[0], 4), round(spacing[1], 4), round(spacing[2], 4)),
        (origin[0], origin[1], origin[2]),
    )


def draw_texture(rng: np.random.Generator, canvas: Canvas) -> dict[float, Array]:
    """Unit-variance random fields (D, H, W), one per correlation length of the tissue table."""
    return {length: canvas.smooth_field(rng, length) for length in TEXTURE_LENGTHS_MM}


def _rounded(record: dict[str, Any]) -> dict[str, Any]:
    """A record with short numbers."""

    def short(value: Any) -> Any:
        if isinstance(value, tuple):
            return [short(part) for part in value]
        return round(value, 4) if isinstance(value, float) else value

    return {key: short(value) for key, value in record.items()}
