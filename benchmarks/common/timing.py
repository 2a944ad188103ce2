"""Time alternatives side by side: every round runs all of them in turn, so that they share the machine's load."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

__all__ = ["medians", "timed"]


def timed(run: Callable[[], object]) -> float:
    """Return the seconds of one call, including the GPU's work."""
    gc.collect()
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def medians(
    alternatives: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    reference: str,
    warm_up: bool = True,
    against: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Time alternatives in rounds that run all of them, each round in another order.

    Args:
        alternatives: Name → what to time.
        rounds: Number of rounds.
        reference: The alternative that the ratios refer to.
        warm_up: Whether each alternative runs once before the first round.
        against: Further alternatives to refer to.

    Returns:
        Name → median, least and most seconds, and `times_reference`, the median over rounds of the ratio within a
        round: what slows a whole round down cancels. `times` are the same ratios to each of `against`.
    """
    if warm_up:
        for run in alternatives.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for number in range(rounds):
        names = list(alternatives)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(timed(alternatives[name]))

    def ratio(name: str, other: str) -> float:
        return round(statistics.median(a / b for a, b in zip(seconds[name], seconds[other], strict=True)), 3)

    return {
        name: {
            "seconds": round(statistics.median(own), 4),
            "least": round(min(own), 4),
            "most": round(max(own), 4),
            "times_reference": ratio(name, reference),
            "rounds": rounds,
            **({"times": {other: ratio(name, other) for other in against}} if against else {}),
        }
        for name, own in seconds.items()
    }
