"""MR sequences drawn at random, and the signal that each tissue has in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creps.phantom.painting.tissues import TISSUES
from creps.phantom.scanners.mr import MrCentre, signal
from creps.preprocessing.intensity import MR_RANGE_NETWORK

__all__ = ["SEQUENCES", "Levels", "draw_levels", "draw_sequence", "relative_levels"]

Levels = dict[str, float]
"""Tissue → signal."""

LEVEL_SD = 0.15
"""Standard deviation of the log of a tissue's signal around that of the signal equation: people and scanners differ."""

WEAK_FAT_SHARE, WEAK_FAT = 0.2, (0.2, 0.8)
"""In this share of the images fat has only a part of its signal: water excitation, incomplete suppression."""

BRIGHT_SHARE = 0.005
"""Of a body this share is brighter than the top of the range, as with `preparation.mr_scale` auto."""

TOP = 0.85 * MR_RANGE_NETWORK[1]
"""What that brightness becomes, in network units."""

FATTY = frozenset(tissue.name for tissue in TISSUES if "fat" in tissue.name or "marrow" in tissue.name)

Draw = Callable[[np.random.Generator], tuple[str, float, float, float, float]]
"""Random numbers → sequence, TR, TE, TI (ms) and flip angle (degrees)."""


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


SEQUENCES: dict[str, Draw] = {
    "T1 spin echo": lambda rng: ("spin echo", _log_uniform(rng, 350, 900), rng.uniform(8, 20), 0.0, 90.0),
    "T2 turbo spin echo": lambda rng: (
        "turbo spin echo", _log_uniform(rng, 2500, 8000), rng.uniform(65, 130), 0.0, 90.0,
    ),
    "proton density": lambda rng: ("turbo spin echo", _log_uniform(rng, 1800, 5000), rng.uniform(10, 45), 0.0, 90.0),
    "MPRAGE": lambda rng: ("mprage", rng.uniform(1500, 2600), rng.uniform(2, 5), rng.uniform(700, 1250), 9.0),
    "T1 gradient echo": lambda rng: (
        "spoiled gradient echo", _log_uniform(rng, 4, 40), rng.uniform(1.5, 6), 0.0, rng.uniform(10, 40),
    ),
    "FLAIR": lambda rng: ("mprage", rng.uniform(7000, 10500), rng.uniform(90, 140), rng.uniform(2100, 2600), 90.0),
}  # fmt: skip
"""What clinics use for planning; fat suppression, UTE and ZTE are left out, as `docs/concepts/simulation.md` says."""


SEQUENCE_SHARES = (0.2, 0.2, 0.1, 0.2, 0.2, 0.1)
"""Share of the images with each of `SEQUENCES`, in their order."""


def draw_sequence(rng: np.random.Generator) -> MrCentre:
    """A random sequence at 1.5 or 3 T; bias field, noise and scale of the scanner are drawn elsewhere."""
    name = list(SEQUENCES)[int(rng.choice(len(SEQUENCES), p=SEQUENCE_SHARES))]
    sequence, tr, te, ti, flip = SEQUENCES[name](rng)
    tesla = 1.5 if rng.random() < 0.5 else 3.0
    return MrCentre(
        name, tesla, sequence, tr, te, ti, flip, 1.0, (1.0, 1.0, 1.0), 0.0, 1.0, flow_void=rng.random() < 0.5
    )


def draw_levels(rng: np.random.Generator) -> Levels:
    """Signal of each tissue, in any unit: a random sequence, every tissue off its equation, fat weak at times."""
    sequence = draw_sequence(rng)
    levels = {
        tissue.name: signal(tissue, sequence) * float(np.exp(LEVEL_SD * rng.standard_normal())) for tissue in TISSUES
    }
    if rng.random() < WEAK_FAT_SHARE:
        weakened = rng.uniform(*WEAK_FAT)
        levels |= {name: level * weakened for name, level in levels.items() if name in FATTY}
    return levels


def relative_levels(levels: Levels, volumes: dict[str, float]) -> Levels:
    """Levels in network units: `BRIGHT_SHARE` of a body is brighter than `TOP`.

    Args:
        levels: Tissue → signal in any unit.
        volumes: Voxels of each tissue in the body.
    """
    top = _bright(levels, volumes)
    return {name: level / top * TOP for name, level in levels.items()}


def _bright(levels: Levels, volumes: dict[str, float]) -> float:
    """The level that `BRIGHT_SHARE` of the body exceeds."""
    order = sorted(((levels[name], n) for name, n in volumes.items()), reverse=True)
    left = BRIGHT_SHARE * sum(volumes.values())
    for level, n in order:
        left -= n
        if left < 0:
            return max(level, 1e-6)
    return max(order[0][0], 1e-6)
