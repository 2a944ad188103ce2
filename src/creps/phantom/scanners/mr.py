"""Magnetic resonance: the signal equations and scanners of several centres."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, radians, sin

import numpy as np

from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.tissues import TISSUES, Tissue
from creps.volume import Array

__all__ = ["MR_CENTRES", "PELVIS_MR_CENTRES", "MrCentre", "acquire_mr", "relative_texture", "signal"]


@dataclass(frozen=True)
class MrCentre:
    """One hospital's MR scanner and protocol.

    Attributes:
        name: Short name, used in records.
        tesla: Field strength, 1.5 or 3.
        sequence: "mprage", "spin echo", "turbo spin echo" or "spoiled gradient echo".
        tr_ms: Repetition time.
        te_ms: Echo time.
        ti_ms: Inversion time (mprage only).
        flip_deg: Flip angle (spoiled gradient echo only).
        full_scale: Stored value of the brightest tissue, about; patients vary around it.
        stretch: Voxel size along D, H, W against the nominal spacing.
        bias: Standard deviation of the logarithm of the bias field.
        snr: Signal of `reference` over the noise's standard deviation.
        reference: A tissue.
        flow_void: Whether flowing blood is dark, as where a refocusing pulse finds it gone.
    """

    name: str
    tesla: float
    sequence: str
    tr_ms: float
    te_ms: float
    ti_ms: float
    flip_deg: float
    full_scale: float
    stretch: tuple[float, float, float]
    bias: float
    snr: float
    reference: str = "white matter"
    flow_void: bool = False


MR_CENTRES: tuple[MrCentre, ...] = (
    MrCentre("A", 3.0, "mprage", 2300, 2.9, 1180, 9, 2300, (1.0, 1.0, 1.0), 0.13, 28),
    MrCentre("B", 1.5, "spin echo", 520, 11, 0, 90, 900, (1.25, 1.0, 1.0), 0.08, 24),
    MrCentre("C", 1.5, "spoiled gradient echo", 12, 4.5, 0, 24, 145, (1.0, 1.05, 1.05), 0.10, 18),
)
"""Three centres that image heads and differ in contrast, raw range, voxel size, bias and noise."""

PELVIS_MR_CENTRES: tuple[MrCentre, ...] = (
    MrCentre("A", 3.0, "turbo spin echo", 5200, 96, 0, 90, 640, (1.5, 1.0, 1.0), 0.13, 9, "muscle", True),
    MrCentre("B", 1.5, "spin echo", 560, 12, 0, 90, 1500, (1.6, 1.0, 1.0), 0.09, 22, "muscle", True),
    MrCentre("C", 1.5, "spoiled gradient echo", 7.2, 4.6, 0, 12, 190, (1.25, 1.05, 1.05), 0.12, 16, "muscle"),
)
"""Three centres that image pelves: T2 turbo spin echo, T1 spin echo, and the in-phase part of a T1 Dixon scan."""

_TRAIN_LENGTHENS_FAT = 1.9
"""T2 of fat under a train of refocusing pulses against its T2 (Henkelman et al. 1994, J Magn Reson Imaging 4:533)."""

_FLOW_VOID = 0.2
"""Signal of flowing blood against blood at rest: most of it has left the slice between the pulses."""

_FATTY = ("fat", "yellow marrow", "trabecular bone")


def signal(tissue: Tissue, centre: MrCentre) -> float:
    """Steady-state signal of a tissue, 0 to about 1.

    Spin echo: PD (1 - E1) E2; a turbo spin echo likewise, at its effective TE and with fat's T2
    lengthened. Spoiled gradient echo: the Ernst equation. MPRAGE: inversion
    recovery read at TI, the train's own saturation left out.
    """
    field = 0 if centre.tesla < 2 else 1
    t1, t2 = tissue.t1_ms[field], tissue.t2_ms[field]
    if centre.sequence == "turbo spin echo" and tissue.name in _FATTY:
        t2 *= _TRAIN_LENGTHENS_FAT
    recovery, decay = exp(-centre.tr_ms / t1), exp(-centre.te_ms / t2)
    if centre.sequence in ("spin echo", "turbo spin echo"):
        flow = _FLOW_VOID if centre.flow_void and tissue.name == "blood" else 1.0
        return tissue.pd * (1 - recovery) * decay * flow
    if centre.sequence == "mprage":
        return tissue.pd * abs(1 - 2 * exp(-centre.ti_ms / t1) / (1 + recovery)) * decay
    flip = radians(centre.flip_deg)
    return tissue.pd * sin(flip) * (1 - recovery) / (1 - cos(flip) * recovery) * decay


def acquire_mr(
    rng: np.random.Generator, canvas: Canvas, centre: MrCentre, texture: dict[float, Array]
) -> tuple[Array, float]:
    """Image a patient.

    Args:
        rng: Source of bias field, scale and noise.
        canvas: The patient.
        centre: Scanner and protocol.
        texture: Unit-variance fields (D, H, W) by correlation length, the ones that modulate the CT too.

    Returns:
        (D, H, W) non-negative magnitudes in the scanner's arbitrary units, and the patient's scale factor.
    """
    values = {tissue.name: signal(tissue, centre) for tissue in TISSUES}
    image = canvas.mix(values)
    for length, field in texture.items():
        relative = {t.name: relative_texture(t) for t in TISSUES if t.texture_mm == length}
        image *= 1 + canvas.mix(relative) * field
    bias = canvas.smooth_field(rng, 110.0) + np.float32(0.5) * canvas.smooth_field(rng, 60.0)
    image *= np.exp(np.float32(centre.bias) * bias)
    noise = np.float32(values[centre.reference] / centre.snr)
    real = image + noise * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(image.shape, dtype=np.float32)
    scale = centre.full_scale * float(np.exp(0.15 * np.clip(rng.standard_normal(), -2, 2))) / values["fat"]
    stored = np.rint(np.sqrt(real**2 + imaginary**2) * np.float32(scale))
    return np.asarray(np.clip(stored, 0, 4095), dtype=np.float32), scale


_TEXTURE = {
    "fat": 0.06,
    "muscle": 0.08,
    "gland": 0.10,
    "diploe": 0.14,
    "marrow": 0.12,
    "bowel content": 0.15,
    "stool": 0.25,
    "prostate": 0.12,
    "peripheral zone": 0.10,
    "seminal vesicle": 0.20,
    "uterus": 0.06,
    "ovary": 0.20,
    "trabecular bone": 0.10,
    "yellow marrow": 0.06,
}
_LITTLE_TEXTURE = 0.02


def relative_texture(tissue: Tissue) -> float:
    """Relative modulation of the MR signal: a few per cent, more in muscle, marrow and glands."""
    return _TEXTURE.get(tissue.name, _LITTLE_TEXTURE)
