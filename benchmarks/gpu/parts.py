"""The parts of the job: in which order, how long each may take, what each needs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PARTS", "PHANTOMS", "Part"]


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Its name in the results.
        seconds: After which it is stopped; None: whatever the later parts leave.
        needs: Groups of phantoms that must have been grown.
        after: A part whose results it works on.
    """

    name: str
    seconds: float | None
    needs: tuple[str, ...] = ()
    after: str | None = None


PHANTOMS = Part("phantoms", 330)
"""Runs beside the others, on the CPU, from the first second."""

PARTS = (
    Part("peak", 30),
    Part("paper-brain", 110, ("paper-brain",)),
    Part("paper-pelvis", 80, ("paper-pelvis",)),
    Part("sct", 40, ("sct",)),
    Part("train", None, ("train",)),
    Part("score", 40, ("held-out",), "train"),
    Part("limits", 40),
    Part("compile", 50),
    Part("monai", 25, ("sct",)),
)
"""The most valuable first; `peak` takes the seconds in which the first phantoms grow."""
