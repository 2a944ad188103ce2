"""One phantom patient: grid, anatomy and images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from creps.errors import SettingsError
from creps.phantom.canvas import Canvas
from creps.phantom.ct import CT_SCANNERS, acquire_ct
from creps.phantom.fields import Axes, smooth_field
from creps.phantom.head import Head, Posture, draw_person, draw_posture, grow_head
from creps.phantom.mr import MR_CENTRES, acquire_mr
from creps.phantom.person import Person
from creps.phantom.tissues import TEXTURE_LENGTHS_MM
from creps.volume import Array, Volume

__all__ = ["MAX_SPACING_MM", "Phantom", "check_spacing", "head_patient"]

MAX_SPACING_MM = 5.0

# Head-frame edges (mm) of the field of view: x, y, z.
_MR_FIELD = ((-97.0, 97.0), (-124.0, 112.0), (-134.0, 96.0))
_CT_FIELD = ((-110.0, 110.0), (-126.0, 132.0), (-134.0, 99.0))


@dataclass(frozen=True, eq=False)
class Phantom:
    """One patient's images, all on one grid.

    Attributes:
        mr: MR magnitudes in arbitrary units, or None.
        ct: CT with noise (HU), or None.
        ct_noise_free: The same CT without noise (HU), or None.
        mask: 1 inside the body, airways included, the couch left out.
        labels: Tissue of each voxel as its place in `TISSUES`.
        head: The tissue layers themselves.
        parameters: What was drawn, for a record.
    """

    mr: Volume | None
    ct: Volume | None
    ct_noise_free: Volume | None
    mask: Volume
    labels: Volume
    head: Head
    parameters: dict[str, Any]


def check_spacing(spacing_mm: float) -> None:
    """Raise `SettingsError` unless the spacing is positive and at most `MAX_SPACING_MM`."""
    if not (np.isfinite(spacing_mm) and 0 < spacing_mm <= MAX_SPACING_MM):
        raise SettingsError(
            f"A phantom cannot have a voxel spacing of {spacing_mm:g} mm.",
            f"Give a spacing above 0 and up to {MAX_SPACING_MM:g} mm.",
        )


def head_patient(
    seed: int | list[int], spacing_mm: float = 2.0, *, mr: bool = True, ct: bool = True, centre: int = 0
) -> Phantom:
    """Grow one head and image it.

    Args:
        seed: Same seed, same patient, at any spacing and whatever is imaged.
        spacing_mm: Nominal voxel size; centres stretch it a little.
        mr: Acquire the MR. With it, posture and grid are the MR's, and the CT is aligned to it;
            without it they are a planning CT's.
        ct: Acquire the CT.
        centre: Which of `MR_CENTRES` (and `CT_SCANNERS`), counted on from 0 and repeated.

    Returns:
        The images asked for, mask and labels.

    Raises:
        SettingsError: the spacing is not above 0 and up to `MAX_SPACING_MM`.
    """
    check_spacing(spacing_mm)
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(6)]
    person_rng, posture_rng, anatomy_rng, texture_rng, mr_rng, ct_rng = streams
    person = draw_person(person_rng)
    posture = draw_posture(posture_rng, treatment_couch=not mr)
    scanner = CT_SCANNERS[centre % len(CT_SCANNERS)]
    mr_centre = MR_CENTRES[centre % len(MR_CENTRES)]
    axes = draw_axes(posture_rng, spacing_mm, mr_centre.stretch if mr else scanner.stretch, planning_ct=not mr)
    head = grow_head(anatomy_rng, axes, person, posture)
    texture = draw_texture(texture_rng, head.canvas)
    grid = draw_grid(posture_rng, axes, planning_ct=not mr)
    parameters = _record(person, posture)
    images: dict[str, Volume | None] = {"mr": None, "ct": None, "ct_noise_free": None}
    if mr:
        array, scale = acquire_mr(mr_rng, head.canvas, mr_centre, texture)
        images["mr"] = grid.with_array(array)
        parameters |= {"mr_centre": mr_centre.name, "mr_scale": round(scale, 3)}
    if ct:
        noisy, clean = acquire_ct(ct_rng, head.canvas, scanner, texture, head.skin_mm)
        images |= {"ct": grid.with_array(noisy), "ct_noise_free": grid.with_array(clean)}
        parameters |= {"ct_scanner": scanner.name, "ct_noise_hu": scanner.noise_hu}
    mask, labels = grid.with_array(head.mask), grid.with_array(head.canvas.labels())
    return Phantom(**images, mask=mask, labels=labels, head=head, parameters=parameters)


def draw_axes(
    rng: np.random.Generator, spacing_mm: float, stretch: tuple[float, float, float], *, planning_ct: bool
) -> Axes:
    """Voxel centres (mm, head frame) along D, H, W; a planning CT covers more or less of the neck."""
    field = _CT_FIELD if planning_ct else _MR_FIELD
    extra = (rng.uniform(-4, 14) if planning_ct else rng.uniform(-4, 4), rng.uniform(-2, 4))
    bounds = (field[2][0] - extra[0], field[2][1] + extra[1]), field[1], field[0]
    axes: list[npt.NDArray[np.float64]] = []
    for (low, high), factor in zip(bounds, stretch, strict=True):
        step = round(spacing_mm * factor, 4)
        count = max(2, round((high - low) / step))
        axes.append(np.asarray((low + high) / 2 + (np.arange(count) - (count - 1) / 2) * step, dtype=np.float64))
    return axes


def draw_grid(rng: np.random.Generator, axes: Axes, *, planning_ct: bool) -> Volume:
    """An empty volume with a scanner's origin: the head frame shifted by a random table position."""
    spread = (4.0, 8.0, 8.0)
    offset = rng.uniform(-1, 1, 3) * spread + ((0.0, -150.0, -420.0) if planning_ct else (0.0, 18.0, 6.0))
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
    return {length: smooth_field(rng, canvas.axes, length) for length in TEXTURE_LENGTHS_MM}


def _record(person: Person, posture: Posture) -> dict[str, Any]:
    rounded: dict[str, Any] = {}
    for key, value in (person.as_dict() | posture.as_dict()).items():
        rounded[key] = [round(v, 4) for v in value] if isinstance(value, tuple) else round(value, 4)
    return rounded
