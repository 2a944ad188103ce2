"""`Finding`: the result of one intake check and its remedy."""

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
        level: ``note``: for information; ``warning``: inspect before using the sCT; ``refusal``: no sCT unless forced.
        message: One sentence, without anything that names the patient.
        remedy: One sentence: what to do.
    """

    check: str
    level: Level
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"
