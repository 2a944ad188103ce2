"""Overrides: HU that a structure or a mask gets in the sCT, whatever the network predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from creps.errors import InputError
from creps.io.dicom.read.structures import Structure, read_structures
from creps.io.dicom.write.identity import SourceSeries
from creps.io.image import ImageSource
from creps.io.itk import read_volume, suffix
from creps.preprocessing.morphology import voxel_ml
from creps.preprocessing.target_grid import bring_onto
from creps.provenance import sha256_file
from creps.synthesis.bulk import check_hu
from creps.volume import Array, Mask, Volume

__all__ = ["Override", "ResolvedOverride", "overridden", "overrides_of", "resolve_overrides"]


@dataclass(frozen=True)
class Override:
    """HU for a mask, or for a structure of an RTSTRUCT.

    Attributes:
        hu: What its voxels get.
        mask: Mask on the grid of the MR or its file, 1 inside; None: a structure.
        structure: Name of a structure; upper and lower case are the same.
        structure_set: File of the RTSTRUCT that has it.

    Raises:
        InputError: neither a mask nor a structure with its file is given, or both are.
        SettingsError: the HU are out of range.
    """

    hu: float
    mask: Volume | Path | str | None = None
    structure: str | None = None
    structure_set: Path | str | None = None

    def __post_init__(self) -> None:
        check_hu(self.hu, "an override")
        if self.mask is not None and not isinstance(self.mask, (Volume, Path, str)):
            raise InputError(f"The mask is of the type {type(self.mask).__name__}.", "Give a volume or its file.")
        if (self.mask is None) == (self.structure is None):
            raise InputError("An override has no mask and no structure, or both.", "Give a mask, or a structure.")
        if self.structure is not None and self.structure_set is None:
            raise InputError(
                f"No structure set is given for the structure '{self.structure}'.",
                "Name the RTSTRUCT file (--structure-set FILE), or give a mask file.",
            )


def overrides_of(
    given: Mapping[Volume | Path | str, float], structure_set: Path | str | None = None
) -> tuple[Override, ...]:
    """Overrides as a user writes them.

    Args:
        given: A mask, its file, or the name of a structure → HU. Text that ends like a volume file is a file.
        structure_set: File of the RTSTRUCT that has the structures.

    Raises:
        InputError: see `Override`.
        SettingsError: see `Override`.

    >>> [one.structure or one.mask for one in overrides_of({"Bladder": 0, "gold.nii.gz": 3000}, "RS.dcm")]
    ['Bladder', 'gold.nii.gz']
    """
    if not isinstance(given, Mapping):
        raise InputError(f"The overrides are of the type {type(given).__name__}.", "Give {structure or mask: HU}.")
    if given and structure_set is not None and all(not _is_structure(key) for key in given):
        raise InputError(f"No override names a structure of {structure_set}.", "Leave the structure set out.")
    found = []
    for key, value in given.items():
        if _is_structure(key):
            found.append(Override(value, structure=key, structure_set=structure_set))
        else:
            found.append(Override(value, mask=key))
    return tuple(found)


def _is_structure(key: Volume | Path | str) -> TypeGuard[str]:
    return isinstance(key, str) and not suffix(Path(key))


@dataclass(frozen=True, eq=False)
class ResolvedOverride:
    """An override on the grid of the sCT.

    Attributes:
        hu: What its voxels get.
        where: (D, H, W) its voxels.
        record: What the record says of it.
    """

    hu: float
    where: Mask
    record: dict[str, Any]


def resolve_overrides(
    overrides: Sequence[Override], mr: Volume, target: Volume, source: ImageSource | None
) -> list[ResolvedOverride]:
    """Find the voxels of overrides, before anything is computed.

    Args:
        overrides: In the order in which they are applied.
        mr: The MR; masks lie on its grid.
        target: The grid of the sCT.
        source: File or series of the MR.

    Raises:
        InputError: a mask is on another grid or empty; a structure is absent, empty, or in another frame of reference.
    """
    found = []
    for one in overrides:
        where, about = _structure(one, target, source) if one.mask is None else _mask(one.mask, mr, target)
        label = "mask" if one.mask is not None else f"structure '{one.structure}'"
        if not where.any():
            raise InputError(f"The {label} of an override is empty in the sCT.", "Choose another, or leave it out.")
        volume_ml = round(float(where.sum()) * voxel_ml(target.spacing_mm), 3)
        found.append(ResolvedOverride(float(one.hu), where, {"hu": float(one.hu), "ml": volume_ml, **about}))
    return found


def overridden(sct: Volume, overrides: Sequence[ResolvedOverride]) -> tuple[Volume, Mask | None]:
    """The sCT with the HU of the overrides, and the voxels that they set; where two overlap, the later one counts.

    Returns:
        The same volume and None without overrides.
    """
    if not overrides:
        return sct, None
    array: Array = sct.array.copy()
    for one in overrides:
        array[one.where] = one.hu
    return sct.with_array(array), np.any([one.where for one in overrides], axis=0)


def _mask(given: Volume | Path | str, mr: Volume, target: Volume) -> tuple[Mask, dict[str, Any]]:
    mask = given if isinstance(given, Volume) else read_volume(Path(given))
    if not mask.same_grid_as(mr):
        raise InputError(
            "The mask of an override is on a different grid from the MR.", "Resample the mask to the grid of the MR."
        )
    inside = mask.with_array(mask.array > 0.5)
    about = {"mask": "in memory" if isinstance(given, Volume) else sha256_file(Path(given))}
    on_target = inside if mr.same_grid_as(target) else bring_onto(inside, target, 0.0)
    return np.asarray(on_target.array > 0.5), about


def _structure(one: Override, target: Volume, source: ImageSource | None) -> tuple[Mask, dict[str, Any]]:
    path = Path(str(one.structure_set))
    structure = read_structures(path).named(str(one.structure))
    _check_frame(structure, source)
    return structure.mask(target), {"structure": structure.name, "structure_set": sha256_file(path)}


def _check_frame(structure: Structure, source: ImageSource | None) -> None:
    """Refuse contours that need not lie where the MR lies."""
    if source is None or source.series is None:
        raise InputError(
            f"The structure '{structure.name}' is DICOM, but the MR is not, so nothing says that they belong together.",
            "Give the MR as a DICOM series, or the structure as a mask file on the grid of the MR.",
        )
    if structure.frame_uid != SourceSeries.of(source.series).frame_uid:
        raise InputError(
            f"The structure '{structure.name}' is in another frame of reference than the MR.",
            "Draw it on the MR, or on an image that was registered and resampled to it.",
        )
