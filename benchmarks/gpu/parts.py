"""The parts of the job: in which order, how long each may take, what each needs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PARTS", "PHANTOMS", "Part"]


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Its name in the results.
        seconds: After which it is stopped; None: whatever is not reserved for later parts.
        reserved: Seconds that no earlier part may take.
        needs: Groups of phantoms that must have been grown.
        after: A part whose results it works on.
    """

    name: str
    seconds: float | None
    reserved: float = 0.0
    needs: tuple[str, ...] = ()
    after: str | None = None


PHANTOMS = Part("phantoms", 330)
"""Runs beside the others, on the CPU, from the first second."""

PARTS = (
    Part("peak", 30, 10),
    Part("paper-brain", 115, 90, ("paper-brain",)),
    Part("paper-pelvis", 90, 60, ("paper-pelvis",)),
    Part("sct", 45, 20, ("sct",)),
    Part("train", None, 150, ("train",)),
    Part("score", 45, 40, ("held-out",), "train"),
    Part("limits", 60, 40),
    Part("compile", 90, 40),
    Part("monai", 30, 20, ("sct",)),
)
"""The most valuable first; `peak` takes the seconds in which the first phantoms grow."""
