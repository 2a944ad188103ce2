"""MR images simulated from CTs and from digital phantoms: pairs to learn from where there are none."""

from __future__ import annotations

from creps.training.simulation.background import BackgroundGrowth
from creps.training.simulation.pairs import (
    SimulatedPairs,
    check_phantoms,
    describe_pairs,
    grow_phantoms,
    has_phantoms,
    held_out_pairs,
    simulated_pairs,
)

__all__ = [
    "BackgroundGrowth",
    "SimulatedPairs",
    "check_phantoms",
    "describe_pairs",
    "grow_phantoms",
    "has_phantoms",
    "held_out_pairs",
    "simulated_pairs",
]
