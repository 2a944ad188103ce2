"""Options of a synthesis: one object, checked once, that every layer passes on."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path

from creps.errors import InputError, SettingsError
from creps.preprocessing.target_grid import Spacing, TargetGrid, check_target_grid
from creps.volume import Volume

__all__ = ["SynthesisOptions"]


@dataclass(frozen=True)
class SynthesisOptions:
    """Everything a user can ask of a synthesis besides the inference settings.

    Attributes:
        grid: Grid of the sCT: ``mr``, ``model`` (the network's own) or ``planning`` (axial, not oblique). None:
            ``planning`` for a DICOM series, ``mr`` for anything else.
        spacing_mm: Spacing of the planning grid along D (superior), H, W; None: the MR's.
        force: Continue although the checks of the MR refuse it; the record says so.
        spread: Also return how far the overlapping predictions of each voxel differ.
        series: DICOM series of a folder that holds several: its number in the list, its UID, or part of its
            description.
        mask: Body mask on the grid of the MR, or its file, to be used instead of the one found in the MR.
        structures: Write body and bone as an RTSTRUCT beside a DICOM series; None: yes.
        stable_uids: The same input, model and settings give the same DICOM UIDs.
        pseudonym: Write DICOM without the patient's identity, under this name.

    Raises:
        SettingsError: an unknown grid, or a spacing that does not belong to the grid.
        InputError: a value of the wrong type.
    """

    grid: TargetGrid | None = None
    spacing_mm: Spacing | None = None
    force: bool = False
    spread: bool = False
    series: str | None = None
    mask: Volume | Path | str | None = None
    structures: bool | None = None
    stable_uids: bool = False
    pseudonym: str | None = None

    def __post_init__(self) -> None:
        if self.grid is not None and not isinstance(self.grid, str):
            raise SettingsError(f"The grid is of the type {type(self.grid).__name__}.", "Use mr, model or planning.")
        if self.mask is not None and not isinstance(self.mask, (Volume, Path, str)):
            raise InputError(
                f"The mask is of the type {type(self.mask).__name__}.", "Give a creps.Volume, or the path of a file."
            )
        for name in ("series", "pseudonym"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InputError(f"'{name}' is of the type {type(value).__name__}.", "Give it as text.")
        for name in ("force", "spread", "structures", "stable_uids"):
            value = getattr(self, name)
            if not isinstance(value, bool) and not (name == "structures" and value is None):
                raise InputError(f"'{name}' is of the type {type(value).__name__}.", "Give True or False.")
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", _three_numbers(self.spacing_mm))
        if self.grid is not None:
            check_target_grid(self.grid, self.spacing_mm)

    def with_grid(self, *, dicom: bool) -> SynthesisOptions:
        """The options with the usual grid of the output, if they name none.

        Args:
            dicom: Whether the output is a DICOM series.

        Raises:
            SettingsError: a spacing is given, but the usual grid is not the planning grid.
        """
        return replace(self, grid=self.grid or ("planning" if dicom else "mr"))

    def check_output(self, target: Path, *, dicom_source: bool, dicom_target: bool) -> None:
        """Refuse options that the output cannot have.

        Args:
            target: Where the sCT is to be written.
            dicom_source: Whether the MR is a DICOM series.
            dicom_target: Whether `target` is a folder that receives one.

        Raises:
            InputError: DICOM from something else, or an option for DICOM with a volume file.
        """
        if dicom_target and not dicom_source:
            raise InputError(
                f"{target} is not the name of a volume file, and only a DICOM series gives DICOM.",
                "Name a volume file, such as sct.nii.gz.",
            )
        given = {
            "--deidentify": self.pseudonym is not None,
            "--stable-uids": self.stable_uids,
            "--structures": self.structures is not None,
        }
        for name, is_given in given.items():
            if is_given and not dicom_target:
                raise InputError(f"{name} is for DICOM, but {target} is a volume file.", "Name a folder with -o.")


def _three_numbers(value: object) -> Spacing:
    numbers = list(value) if isinstance(value, Iterable) else []
    if len(numbers) != 3 or not all(isinstance(n, Real) and math.isfinite(n) for n in numbers):
        raise SettingsError(
            f"The spacing {reprlib.repr(value)} is not three numbers.", "Give mm along D, H, W, as in (2, 1, 1)."
        )
    d, h, w = (float(n) for n in numbers)
    return d, h, w
