"""Options of a synthesis: those that decide the voxels, and those that decide how an sCT is written."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from creps.errors import InputError, SettingsError
from creps.preprocessing.target_grid import Spacing, TargetGrid, check_target_grid
from creps.synthesis.bulk import BulkDensities
from creps.synthesis.derived import Derived, checked_derived
from creps.synthesis.overrides import Override
from creps.volume import Volume

__all__ = ["OutputOptions", "SynthesisOptions"]


@dataclass(frozen=True)
class SynthesisOptions:
    """What decides the voxels of an sCT, besides the model and its inference settings.

    Attributes:
        grid: Grid of the sCT: ``mr``, ``model`` (the network's own) or ``planning`` (axial, not oblique). None:
            ``planning`` for DICOM, ``mr`` for anything else.
        spacing_mm: Spacing of the planning grid along D (superior), H, W; None: the MR's.
        mask: Body mask on the grid of the MR, or its file, to be used instead of the one found in the MR.
        force: Continue although the intake checks refuse the MR; the record says so.
        spread: Also return how far the value of each voxel may be off, see `Synthesis.spread`.
        uncertainty: Also return the half width of the 90 % interval, see `Synthesis.uncertainty`.
        overrides: HU that structures or masks get in the sCT, one after the other.
        derived: What else is made of the sCT, in folders beside it; each may refuse an MR that does not suit it.

    Raises:
        SettingsError: an unknown grid, or a spacing that does not belong to the grid.
        InputError: a value of the wrong type.
    """

    grid: TargetGrid | None = None
    spacing_mm: Spacing | None = None
    mask: Volume | Path | str | None = None
    force: bool = False
    spread: bool = False
    uncertainty: bool = False
    overrides: tuple[Override, ...] = ()
    derived: tuple[Derived, ...] = ()

    def __post_init__(self) -> None:
        if self.grid is not None and not isinstance(self.grid, str):
            raise SettingsError(f"The grid is of the type {type(self.grid).__name__}.", "Use mr, model or planning.")
        if self.mask is not None and not isinstance(self.mask, (Volume, Path, str)):
            raise InputError(
                f"The mask is of the type {type(self.mask).__name__}.", "Give a creps.Volume, or the path of a file."
            )
        _check_flags(force=self.force, spread=self.spread, uncertainty=self.uncertainty)
        object.__setattr__(self, "overrides", _overrides(self.overrides))
        object.__setattr__(self, "derived", checked_derived(self.derived))
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", _three_numbers(self.spacing_mm))
        if self.grid is not None:
            check_target_grid(self.grid, self.spacing_mm)

    @property
    def with_spread(self) -> bool:
        """Whether the network's spread is computed."""
        return self.spread or self.uncertainty

    def grid_for(self, *, dicom: bool) -> TargetGrid:
        """The grid asked for, or else the usual one.

        Args:
            dicom: Whether the sCT becomes a DICOM series.

        Raises:
            SettingsError: a spacing is given, but the usual grid is not the planning grid.
        """
        if self.grid is not None:
            return self.grid
        usual: TargetGrid = "planning" if dicom and not any(one.on_mr for one in self.derived) else "mr"
        check_target_grid(usual, self.spacing_mm)
        return usual


@dataclass(frozen=True)
class OutputOptions:
    """How an sCT is written as DICOM; the voxels are the same.

    Attributes:
        structures: Write body and bone as an RTSTRUCT beside the series; None: yes.
        stable_uids: The same input, model and settings give the same UIDs.
        pseudonym: Write it without the patient's identity, under this name.
        qa: Check the sCT against its MR, and write the result beside it.
        bulk: HU of the classes of a second CT of bulk densities, to be written beside the sCT; None: none.
        report: A report will be written beside the sCT: its place must be free too.

    Raises:
        InputError: a value of the wrong type.
    """

    structures: bool | None = None
    stable_uids: bool = False
    pseudonym: str | None = None
    qa: bool = True
    bulk: BulkDensities | None = None
    report: bool = False

    def __post_init__(self) -> None:
        if self.pseudonym is not None and not isinstance(self.pseudonym, str):
            raise InputError(f"'pseudonym' is of the type {type(self.pseudonym).__name__}.", "Give it as text.")
        _check_flags(stable_uids=self.stable_uids, qa=self.qa, report=self.report)
        if self.bulk is not None and not isinstance(self.bulk, BulkDensities):
            raise InputError(f"'bulk' is of the type {type(self.bulk).__name__}.", "Give creps.BulkDensities.")
        if self.structures is not None:
            _check_flags(structures=self.structures)

    def check_target(self, target: Path, *, dicom_source: bool, dicom_target: bool) -> None:
        """Refuse a target that cannot be written with these options.

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
            "De-identification is": self.pseudonym is not None,
            "Stable UIDs are": self.stable_uids,
            "The choice of structures is": self.structures is not None,
        }
        for what, is_given in given.items():
            if is_given and not dicom_target:
                raise InputError(f"{what} for DICOM, but {target} is a volume file.", "Name a folder.")


def _overrides(given: object) -> tuple[Override, ...]:
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    for one in found:
        if not isinstance(one, Override):
            raise InputError(f"An override is of the type {type(one).__name__}.", "Give creps.Override.")
    return found


def _check_flags(**flags: object) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InputError(f"'{name}' is of the type {type(value).__name__}.", "Give True or False.")


def _three_numbers(value: object) -> Spacing:
    numbers = list(value) if isinstance(value, Iterable) else []
    if len(numbers) != 3 or not all(isinstance(n, Real) and math.isfinite(n) for n in numbers):
        raise SettingsError(
            f"The spacing {reprlib.repr(value)} is not three numbers.", "Give mm along D, H, W, as in (2, 1, 1)."
        )
    d, h, w = (float(n) for n in numbers)
    return d, h, w
