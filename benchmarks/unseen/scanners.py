"""MR and CT of a body: partial volumes first, then each scanner's own signal, field, chemical shift, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.unseen.body import Body
from benchmarks.unseen.signal import Sequence, level
from benchmarks.unseen.space import Field
from benchmarks.unseen.tissues import LABEL, TISSUES

__all__ = ["MR_CENTRES", "Images", "acquire"]

MR_CENTRES: dict[str, tuple[Sequence, ...]] = {
    "head": (
        Sequence("mprage", 3.0, 2300, 2.9, 9, 900, 176, 7.4),
        Sequence("flash", 1.5, 22, 7, 26),
        Sequence("spin_echo", 1.5, 550, 14, 90, 0, 1, 14, 180),
    ),
    "pelvis": (
        Sequence("spin_echo", 1.5, 600, 11, 90, 0, 3, 11, 150),
        Sequence("spin_echo", 3.0, 4500, 96, 90, 0, 14, 12, 140),
    ),
}
"""Region → one protocol for each MR centre."""

FATTY = ("fat", "yellow marrow")


@dataclass(frozen=True)
class Images:
    """What the scanners give of one body, all on one grid (D, H, W).

    Attributes:
        mr: Scanner units.
        ct: HU, with noise and, if asked for, a couch.
        ct_noise_free: HU, without noise and couch.
        mask: 1 in the patient.
        labels: The tissue that fills most of a voxel, a value of `LABEL`.
    """

    mr: Field
    ct: Field
    ct_noise_free: Field
    mask: Field
    labels: Field


def acquire(body: Body, region: str, centre: int, factor: int, *, couch: bool) -> Images:
    """Image a body.

    Args:
        body: Painted on a grid `factor` times finer than the images.
        region: ``head`` or ``pelvis``.
        centre: Index into the region's MR centres.
        factor: Painted points per voxel along each axis.
        couch: Whether the CT shows a couch below the patient.
    """
    rng = body.space.rng
    size = [n // factor for n in body.labels.shape]
    labels = body.labels[tuple(slice(0, n * factor) for n in size)]
    shares = {t: _share(labels == t, factor) for t in np.unique(labels)}
    textures = {length: _texture(size, rng, length) for length in (1.2, 3.5)}
    noisy, free = _ct(shares, textures, size, rng, couch=couch)
    most = np.argmax(np.stack(list(shares.values())), axis=0)
    inside = 1 - shares.get(LABEL["air"], np.zeros(size, np.float32))
    solid = ndimage.binary_fill_holes(_largest(inside > 0.5))
    mask = np.stack([ndimage.binary_fill_holes(plane) for plane in solid])
    names = np.array(list(shares), dtype=np.float32)
    return Images(
        _mr(shares, textures, MR_CENTRES[region][centre], size, rng),
        noisy,
        free,
        mask.astype(np.float32),
        names[most],
    )


def _share(inside: npt.NDArray[np.bool_], factor: int) -> Field:
    d, h, w = (n // factor for n in inside.shape)
    blocks = inside.reshape(d, factor, h, factor, w, factor)
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32))


def _texture(size: list[int], rng: np.random.Generator, length: float) -> Field:
    field = ndimage.gaussian_filter(rng.standard_normal(size).astype(np.float32), length)
    return np.asarray(field / field.std(), dtype=np.float32)


def _largest(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    pieces, count = ndimage.label(inside)
    if count < 2:
        return inside
    return np.asarray(pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])))


def _ct(
    shares: dict[int, Field],
    textures: dict[float, Field],
    size: list[int],
    rng: np.random.Generator,
    *,
    couch: bool,
) -> tuple[Field, Field]:
    grain = 0.6 * textures[1.2] + 0.8 * textures[3.5]
    hu = np.zeros(size, dtype=np.float32)
    person = rng.normal(0, 1, len(TISSUES)).clip(-2, 2)  # every person's tissues are a little denser or less dense
    for t, share in shares.items():
        tissue = TISSUES[t]
        hu += share * np.float32(tissue.hu + 0.5 * tissue.spread_hu * person[t])
        hu += share * np.float32(0.8 * tissue.spread_hu) * grain
    free = ndimage.gaussian_filter(hu, 0.45)
    with_couch = free.copy()
    if couch:
        _add_couch(with_couch, shares, rng)
    noise = ndimage.gaussian_filter(rng.standard_normal(size).astype(np.float32), 0.6)
    level_hu = float(rng.uniform(8, 22))
    thick = (1 - shares.get(0, np.zeros(size, np.float32))).sum(axis=2, keepdims=True)
    noise *= level_hu / noise.std() * (0.6 + 0.8 * thick / max(float(thick.max()), 1.0))
    return (
        np.clip(np.rint(with_couch + noise), -1024, 3071).astype(np.float32),
        np.clip(np.rint(free), -1024, 3071).astype(np.float32),
    )


def _add_couch(hu: Field, shares: dict[int, Field], rng: np.random.Generator) -> None:
    """A foam slab between two thin plates under the lowest point of the patient."""
    inside = 1 - shares.get(0, np.zeros(hu.shape, np.float32))
    rows = np.flatnonzero(inside.max(axis=(0, 2)) > 0.5)
    top = int(rows.max()) + 1 + int(rng.integers(0, 2))
    profile = [-350.0, *[-920.0] * int(rng.integers(4, 9)), -350.0]
    for offset, value in enumerate(profile):
        if top + offset < hu.shape[1]:
            row = hu[:, top + offset]
            np.maximum(row, np.where(inside[:, top + offset] < 0.5, np.float32(value), row), out=row)


def _mr(
    shares: dict[int, Field],
    textures: dict[float, Field],
    protocol: Sequence,
    size: list[int],
    rng: np.random.Generator,
) -> Field:
    person = np.exp(rng.normal(0, 0.05, len(TISSUES)))
    water, fat = (np.zeros(size, dtype=np.float32) for _ in range(2))
    for t, share in shares.items():
        tissue = TISSUES[t]
        value = np.float32(level(tissue, protocol) * person[t])
        grain = 1 + np.float32(0.05) * textures[1.2] + np.float32(0.05) * textures[3.5]
        (fat if tissue.name in FATTY else water)[...] += share * value * grain
    shifted = ndimage.shift(fat, (0, 0, float(rng.uniform(-0.9, 0.9))), order=1)  # fat resonates lower: it moves
    image = ndimage.gaussian_filter(water + shifted, (0.35, 0.35, 0.35))
    metal = shares.get(LABEL["filling"])
    if metal is not None and metal.max() > 0.2:
        away = ndimage.distance_transform_edt(metal <= 0.2)
        image *= (1 - np.exp(-((away / rng.uniform(2.5, 4.5)) ** 2))).astype(np.float32)
    image *= _bias_field(size, rng, 0.10 if protocol.tesla < 2 else 0.18)
    scale = float(np.exp(rng.uniform(np.log(300), np.log(2500)))) / max(float(np.percentile(image, 99.5)), 1e-6)
    noise = float(rng.uniform(0.008, 0.025)) * float(np.percentile(image, 99.5))
    real = image + noise * rng.standard_normal(size).astype(np.float32)
    return np.rint(np.hypot(real, noise * rng.standard_normal(size).astype(np.float32)) * scale).astype(np.float32)


def _bias_field(size: list[int], rng: np.random.Generator, strength: float) -> Field:
    """A product of cosines of a quarter to a whole wave over the volume, and a coil that is nearer to one side."""
    log = np.zeros(size, dtype=np.float32)
    axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in size], indexing="ij", sparse=True)
    for _ in range(4):
        waves, phases = rng.uniform(0.2, 1.4, 3), rng.uniform(0, 2 * np.pi, 3)
        term = np.float32(rng.normal(0, strength))
        for axis, wave, phase in zip(axes, waves, phases, strict=True):
            term = term * np.cos(np.float32(np.pi * wave) * axis + np.float32(phase))
        log = log + term
    near = rng.normal(0, 1, 3)
    log = log + np.float32(strength) * sum(np.float32(n) * axis for n, axis in zip(near, axes, strict=True))
    return np.exp(log - log.mean()).astype(np.float32)
