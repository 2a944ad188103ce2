"""Seeded failures of a finished sCT: `failures.yaml` says what each does and how large it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from creps import hu
from creps.preprocessing.morphology import body_box
from creps.preprocessing.target_grid import bring_onto
from creps.volume import Array, Mask, Volume

__all__ = ["SCT_FAILURES"]

Failure = Callable[[Volume, float, np.random.Generator, Volume], Volume]
"""(sCT, size, random generator, another patient's sCT) → the corrupted sCT; sCTs are upright."""

SOFT_HU, BONE_HU = 40.0, 500.0


def body_of(sct: Volume) -> Mask:
    """(D, H, W) what is denser than skin, filled slice by slice."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in sct.array > hu.SKIN])


def shifted(sct: Volume, mm: float, rng: np.random.Generator, _: Volume) -> Volume:
    by = np.zeros(3)
    axis = int(rng.integers(3))
    by[axis] = rng.choice((-1, 1)) * mm / sct.spacing_mm[axis]
    return sct.with_array(ndimage.shift(sct.array, by, order=1, cval=hu.AIR))


def mirrored(sct: Volume, _: float, __: np.random.Generator, ___: Volume) -> Volume:
    first, end = body_box(sct.array > hu.SKIN)[2]
    flipped = np.full_like(sct.array, hu.AIR)
    flipped[:, :, first:end] = sct.array[:, :, first:end][:, :, ::-1]
    return sct.with_array(flipped)


def collapsed(sct: Volume, share: float, _: np.random.Generator, __: Volume) -> Volume:
    body = body_of(sct)
    middle = np.median(sct.array[body])
    return sct.with_array(np.where(body, middle + (1 - share / 100) * (sct.array - middle), sct.array))


def swapped(sct: Volume, _: float, __: np.random.Generator, other: Volume) -> Volume:
    here, there = (one.to_patient_mm(ndimage.center_of_mass(body_of(one))) for one in (sct, other))
    x, y, z = (np.asarray(other.origin_mm) + here - there).tolist()
    moved = Volume(other.array, other.spacing_mm, (x, y, z), other.direction)
    return sct.with_array(bring_onto(moved, sct, hu.AIR).array)


def bone_deleted(sct: Volume, ml: float, rng: np.random.Generator, _: Volume) -> Volume:
    bone = np.argwhere(sct.array > hu.BONE_SHARE_ABOVE)
    points = bone * np.asarray(sct.spacing_mm)
    count = min(len(bone), round(ml * 1000 / float(np.prod(sct.spacing_mm))))
    _, chosen = cKDTree(points).query(points[rng.integers(len(points))], k=count)
    array = sct.array.copy()
    array[tuple(bone[np.atleast_1d(chosen)].T)] = SOFT_HU
    return sct.with_array(array)


def bone_hallucinated(sct: Volume, ml: float, rng: np.random.Generator, _: Volume) -> Volume:
    radius = (3 * ml * 1000 / (4 * np.pi)) ** (1 / 3)
    soft = body_of(sct) & (sct.array > -200) & (sct.array < 150)
    room = ndimage.distance_transform_edt(np.pad(soft, 1), sampling=sct.spacing_mm)[1:-1, 1:-1, 1:-1]
    places = np.argwhere(room >= min(radius, float(room.max())))
    away = _distance(sct, places[rng.integers(len(places))])
    return sct.with_array(np.where(away <= radius, np.float32(BONE_HU), sct.array))


def seam(sct: Volume, step_hu: float, rng: np.random.Generator, _: Volume) -> Volume:
    body, axis = body_of(sct), int(rng.integers(3))
    first, end = body_box(body)[axis]
    beyond = [slice(None)] * 3
    beyond[axis] = slice(round(first + (end - first) * rng.uniform(0.25, 0.75)), None)
    array = sct.array.copy()
    array[tuple(beyond)] += np.float32(step_hu) * body[tuple(beyond)]
    return sct.with_array(np.clip(array, *hu.SCT_RANGE))


def _distance(volume: Volume, centre: Sequence[int]) -> Array:
    places = np.ix_(*((np.arange(n) - c) * s for n, c, s in zip(volume.shape, centre, volume.spacing_mm, strict=True)))
    return np.asarray(np.sqrt(sum(place**2 for place in places)), dtype=np.float32)


SCT_FAILURES: dict[str, Failure] = {
    "shift": shifted,
    "mirror": mirrored,
    "collapsed model": collapsed,
    "swapped patient": swapped,
    "bone deleted": bone_deleted,
    "bone hallucinated": bone_hallucinated,
    "seam": seam,
}
