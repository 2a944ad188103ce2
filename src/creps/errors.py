"""One exception tree: everything a user can cause derives from `CrepsError`.

* CrepsError
  + InputError        a volume or folder that cannot be used
    - OutputExistsError   a result would overwrite something
  + SettingsError     an unknown key, a value out of range, settings that contradict each other
  + CohortError       a prepared cohort that is missing, broken or too small
  + ModelError        a model, checkpoint or weights file that cannot be used
  + TrainingError     a run that cannot go on
    - RunInterruptedError      a signal ended it early; nothing is lost

Each message has two parts: what happened, then what to do about it.
"""

from __future__ import annotations

__all__ = [
    "CohortError",
    "CrepsError",
    "InputError",
    "ModelError",
    "OutputExistsError",
    "RunInterruptedError",
    "SettingsError",
    "TrainingError",
]


class CrepsError(Exception):
    """An error with a remedy.

    Args:
        what: One sentence: what is wrong, and in which file.
        remedy: One sentence: what to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


class InputError(CrepsError):
    """A volume or folder given by the user cannot be used."""


class OutputExistsError(InputError):
    """Writing would overwrite something that already exists."""


class SettingsError(CrepsError):
    """A settings file, preset or option is wrong."""


class CohortError(CrepsError):
    """A prepared cohort is missing, broken or too small."""


class ModelError(CrepsError):
    """A model folder, checkpoint or weights file cannot be used."""


class TrainingError(CrepsError):
    """Training cannot start or cannot go on."""


class RunInterruptedError(TrainingError):
    """A signal ended a run before its last step; everything is saved.

    Args:
        what: One sentence.
        remedy: One sentence.
        exit_code: What a shell expects of a program that the signal ended.
        reason: What happened, without naming a place, for records.
    """

    def __init__(self, what: str, remedy: str, exit_code: int = 130, reason: str = "") -> None:
        super().__init__(what, remedy)
        self.exit_code = exit_code
        self.reason = reason or what
