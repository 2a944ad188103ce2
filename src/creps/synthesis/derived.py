"""What is made of an sCT for one purpose: files in a folder of their own beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from creps.errors import InputError
from creps.pet import output as pet
from creps.ultrasound import output as ultrasound
from creps.volume import Mask, Volume

__all__ = ["DOCUMENTS", "Derived", "checked_derived", "is_derived", "other_files", "remove_derived"]

DOCUMENTS = {ultrasound.FOLDER: ultrasound.DOCUMENT, pet.FOLDER: pet.DOCUMENT}
"""Folder → the document in it, by which creps knows it as its own."""

FILES = {
    ultrasound.FOLDER: frozenset({ultrasound.DOCUMENT, *ultrasound.FILES}),
    pet.FOLDER: frozenset({pet.DOCUMENT, *pet.FILES}),
}
"""Folder → everything that creps writes into it."""


@runtime_checkable
class Derived(Protocol):
    """Something that is made of an sCT."""

    @property
    def folder(self) -> str:
        """Name of its folder: within that of a written series; ending of the name beside a volume file."""

    @property
    def on_mr(self) -> bool:
        """Whether it lies on the grid of the sCT, which is then the MR's unless another one is asked for."""

    def check(self, mr: Volume, body: Volume, target: Volume, region: str, name: str) -> None:
        """Refuse an MR that it cannot be made of, before anything is computed.

        Args:
            mr: The MR as it was given.
            body: The patient as found in it, on the model's grid.
            target: Grid of the sCT.
            region: Of the model.
            name: Of the MR.
        """

    def unlinked(self) -> Derived:
        """The same without what would link a de-identified export to the patient's other files."""

    def write(self, folder: Path, sct: Volume, patient: Mask, name: str, provenance: dict[str, Any]) -> dict[str, Any]:
        """Make it and write it into an empty folder; return what the record of the sCT says of it.

        Args:
            folder: The folder.
            sct: In HU.
            patient: (D, H, W) of `sct`: what is not background.
            name: Of the MR.
            provenance: Notice, time, versions, machine and the model's weights.
        """


def checked_derived(given: object) -> tuple[Derived, ...]:
    """As they were given, each kind once.

    Raises:
        InputError: one of them is something else, or there are two of a kind.
    """
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    for one in found:
        if not isinstance(one, Derived):
            raise InputError(
                f"What is to be made of the sCT is of the type {type(one).__name__}.",
                "Give creps.ultrasound.output.Ultrasound or creps.pet.output.MuMap.",
            )
    if len({one.folder for one in found}) < len(found):
        raise InputError("Two things of one kind are to be made of the sCT.", "Give each kind once.")
    return found


def is_derived(folder: Path) -> bool:
    """Whether a folder was written by creps as one of `DOCUMENTS`, and holds nothing else."""
    return _is_known(folder) and not other_files(folder)


def other_files(folder: Path) -> list[str]:
    """What others put into a folder of `DOCUMENTS`, such as results of a simulation; hidden files do not count."""
    if not _is_known(folder):
        return []
    files = (file.relative_to(folder) for file in sorted(folder.rglob("*")) if not file.is_dir())
    names = (file.as_posix() for file in files if not file.name.startswith("."))
    return [name for name in names if name not in FILES[_kind(folder)]]


def remove_derived(folder: Path) -> None:
    """Delete what creps wrote into a folder of `DOCUMENTS`, and the folder if nothing else is in it."""
    if not _is_known(folder):
        return
    for name in FILES[_kind(folder)]:
        (folder / name).unlink(missing_ok=True)
    for place in (*(one for one in folder.iterdir() if one.is_dir()), folder):
        if not any(place.iterdir()):
            place.rmdir()


def _is_known(folder: Path) -> bool:
    """Whether the document of `DOCUMENTS` lies in a folder of its name."""
    kind = _kind(folder)
    return folder.is_dir() and kind in DOCUMENTS and (folder / DOCUMENTS[kind]).is_file()


def _kind(folder: Path) -> str:
    """``tus`` of ``sct_tus``."""
    return folder.name.rpartition("_")[2]
