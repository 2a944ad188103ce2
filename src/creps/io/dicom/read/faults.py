"""Errors that several readers of a series raise; `label` names the series, never the patient."""

from __future__ import annotations

from creps.errors import InputError
from creps.io.dicom.read.elements import MalformedDicomError

__all__ = ["changed_while_read", "no_valid", "reason_of", "unreadable"]


def reason_of(error: Exception) -> str:
    """The name of an error of pydicom, of a decoder or of the file system; its own text may quote the header."""
    return str(error) if isinstance(error, MalformedDicomError) else type(error).__name__


def unreadable(label: str, error: MalformedDicomError | OSError) -> InputError:
    """The error for a file of a series that cannot be read."""
    return InputError(f"A file of {label} cannot be read as DICOM ({reason_of(error)}).", "Copy or export it again.")


def no_valid(name: str, label: str) -> InputError:
    """The error for a slice whose attribute is absent, malformed or out of range."""
    return InputError(f"{label} contains a slice without a valid {name}.", "Export the whole series again.")


def changed_while_read(label: str) -> InputError:
    """The error for a series into whose folder something writes."""
    return InputError(f"{label} changed while it was read.", "Try again when nothing writes into its folder.")
