"""The options of an evaluation, checked once."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from creps.errors import SettingsError
from creps.volume import Volume

__all__ = ["EvaluationOptions", "Image", "Register"]

Image = Volume | Path | str
"""A volume, a file, or the folder of a DICOM series."""

Register = Literal["rigid", "rigid-centres"]
"""Start from the positions in the headers, or with the images' centres aligned."""


@dataclass(frozen=True)
class EvaluationOptions:
    """How synthetic CTs are scored.

    Attributes:
        mask: Region to score in one pair, on the grid of either image; default: the body found in the true CT. In
            folders, the masks lie beside the CTs.
        labels: Class number of every voxel, on the grid of either image, for errors by class; in folders, the stem of
            the label files. Default: classes are HU windows on the CT.
        label_names: Name of every class number, or a JSON file with them; needed with `labels`.
        resample: Resample the CT (with its mask and labels) onto the sCT's grid.
        register: Register the CT rigidly to the sCT first, which hides position errors.
        truth: In folders, the stem of the true CTs, default ``ct``: ``ct_noise_free`` is a phantom's CT without noise.

    Raises:
        SettingsError: labels without names or names without labels, an unknown registration, or resampling and
            registration at once.
    """

    mask: Image | None = None
    labels: Image | None = None
    label_names: Mapping[int, str] | Path | str | None = None
    resample: bool = False
    register: Register | None = None
    truth: str | None = None

    def __post_init__(self) -> None:
        if self.register is not None and not (isinstance(self.register, str) and self.register in get_args(Register)):
            known = " or ".join(f"'{one}'" for one in get_args(Register))
            raise SettingsError(f"There is no registration {reprlib.repr(self.register)}.", f"Use {known}, or none.")
        if self.resample and self.register is not None:
            raise SettingsError(
                "Registration already resamples the CT to the sCT's grid.", "Leave out --resample (resample=True)."
            )
        if self.truth is not None and not isinstance(self.truth, str):
            raise SettingsError(f"The option truth is of the type {type(self.truth).__name__}.", "Give a name.")
        if (self.labels is None) != (self.label_names is None):
            raise SettingsError("Labels and their names go together, but one is missing.", "Give both, or neither.")

    def check_pair(self) -> None:
        """Refuse options that only folders have.

        Raises:
            SettingsError: `truth` is set.
        """
        if self.truth is not None:
            raise SettingsError("The option truth names the CTs in a folder.", "With one sCT, give the CT itself.")

    def check_folder(self) -> None:
        """Refuse options that only a single pair has.

        Raises:
            SettingsError: a mask, or a label volume instead of the stem of its file.
        """
        if self.mask is not None:
            raise SettingsError("A mask goes with one sCT.", "In folders, name it CASE/mask.* beside the CT.")
        if self.labels is not None and not isinstance(self.labels, str):
            raise SettingsError(
                "In folders, labels are given by the stem of their files.", "Give a text, such as labels."
            )
