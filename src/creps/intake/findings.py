"""`Finding`: what a check says, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Level"]

Level = Literal["note", "warning", "refusal"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check has to say.

    Attributes:
        check: Name of the check.
        level: ``note``: to know; ``warning``: look before using the sCT; ``refusal``: no sCT unless it is forced.
        message: One sentence, without anything that names the patient.
        remedy: One sentence: what to do.
    """

    check: str
    level: Level
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"
