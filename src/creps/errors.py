"""One exception tree: everything a user can cause derives from `CrepsError`.

* CrepsError
  + InputError        a volume or folder that cannot be used
    - OutputExistsError   a result would overwrite something
  + SettingsError     an unknown key, a value out of range, settings that contradict each other
  + CohortError       a prepared cohort that is missing, broken or too small
  + ModelError        a model, checkpoint or weights file that cannot be used
  + ClusterError      a cluster that is missing, or does not take or start the jobs
  + TrainingError     a run that cannot start or continue
    - RunInterruptedError      a signal ended it early; nothing is lost

Each message has two parts: what happened, then what to do about it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = [
    "ClusterError",
    "CohortError",
    "CrepsError",
    "InputError",
    "ModelError",
    "OutputExistsError",
    "RunInterruptedError",
    "SettingsError",
    "TrainingError",
    "file_error",
    "file_errors_explained",
    "is_out_of_memory",
]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


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


class ClusterError(CrepsError):
    """SLURM is missing, refuses the jobs, or cannot start them."""


class TrainingError(CrepsError):
    """Training cannot start or continue."""


class RunInterruptedError(TrainingError):
    """A signal ended a run before its last step; everything is saved.

    Args:
        what: One sentence.
        remedy: One sentence.
        exit_code: What a shell expects of a program that the signal ended.
        reason: What happened, without any path, for records.
    """

    def __init__(self, what: str, remedy: str, exit_code: int = 130, reason: str = "") -> None:
        super().__init__(what, remedy)
        self.exit_code = exit_code
        self.reason = reason or what


OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_failed"),
    *("failed to map segment", "cannot map zero-fill pages"),  # a library that finds no place
)
"""Parts of the messages of allocators: of the CPU, CUDA, MPS, cuDNN and the system's loader."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the machine or of a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's; it need not be loaded
        return True
    return isinstance(error, (RuntimeError, OSError, ImportError)) and any(
        part in str(error).lower() for part in OUT_OF_MEMORY
    )


def file_error(error: OSError) -> InputError:
    """An error of the file system as one for the user: which file, and what is wrong with it."""
    name, what = error.filename or "A file", error.strerror or " ".join(str(error).split())
    if re.fullmatch(r"\d+ requested and \d+ written", what):  # NumPy, of an array for which there was no space
        what = os.strerror(errno.ENOSPC)
    return InputError(f"{str(name)[:200]}: {what}.", "Check the path, its permissions and the free disk space.")


def file_errors_explained(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorate a public function: an error of the file system that names a file becomes an `InputError`.

    Other errors of the system, such as a closed pipe in a progress callback, are the caller's and pass.
    """

    @wraps(function)
    def explained(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if error.filename is None:
                raise
            raise file_error(error) from error

    return explained
