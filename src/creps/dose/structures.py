"""Targets and organs: from an RTSTRUCT, or from a folder of masks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from creps.dose.images import CtImage, axial
from creps.errors import InputError, SettingsError
from creps.io.dicom.read.structures import StructureSet, read_structures
from creps.io.itk import is_volume_file, read_volume, stem
from creps.volume import Volume

__all__ = ["Structures", "choose_target", "find_structures"]

BODY_NAMES = ("body", "external", "skin", "outer contour", "patient")
"""Structures of these names are outlines; the body is found in each image."""

TARGET_NAMES = ("ptv", "target", "ctv", "gtv")
"""Beginnings of the names of targets, the largest volume first."""

Structures = dict[str, Volume]
"""Name → 1 inside and 0 outside, each on its own axial grid."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wanted:
    names: tuple[str, ...] | None

    def __contains__(self, name: str) -> bool:
        return self.names is None or name.casefold() in {one.casefold() for one in self.names}


def find_structures(
    source: Path | str | Mapping[str, Volume],
    ct: CtImage,
    sct: CtImage,
    *,
    wanted: tuple[str, ...] | None = None,
    any_frame: bool = False,
) -> Structures:
    """Read the structures.

    Args:
        source: File of an RTSTRUCT, a folder with a mask file for each structure, or name → mask.
        ct: The image that contours are filled on.
        sct: The other image, whose frame of reference must be the same.
        wanted: Names to keep; None: all.
        any_frame: Take contours of another frame of reference as they are.

    Raises:
        InputError: nothing can be read, a structure lies outside the CT, or it belongs to another frame of reference.
    """
    check_frames(ct, sct, any_frame=any_frame)
    keep = _Wanted(wanted)
    if isinstance(source, Mapping):
        return {name: axial(volume, 0.0) for name, volume in source.items() if name in keep and not is_body(name)}
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, keep)
    return _from_set(read_structures(path), path, ct, keep, any_frame=any_frame)


def is_body(name: str) -> bool:
    """Whether a structure of this name is the outline of the patient."""
    return name.casefold().replace("_", " ") in BODY_NAMES


def check_frames(ct: CtImage, sct: CtImage, *, any_frame: bool) -> None:
    """Refuse images that DICOM places in different frames of reference.

    Raises:
        InputError: they are.
    """
    if ct.frame_uid and sct.frame_uid and ct.frame_uid != sct.frame_uid and not any_frame:
        raise InputError(
            f"{sct.name} is in another frame of reference than {ct.name}.",
            "Register the CT to the MR first, or add --any-frame (any_frame=True) if positions already agree.",
        )


def choose_target(names: tuple[str, ...], given: str | None) -> str:
    """The target's name among the names of the structures.

    Args:
        names: All names.
        given: The plan's choice.

    Raises:
        SettingsError: there is no such structure, or none looks like a target.

    Examples:
        >>> choose_target(("rectum", "CTV_60", "PTV_60"), None)
        'PTV_60'
    """
    if given is not None:
        found = [name for name in names if name.casefold() == given.casefold()]
        if len(found) != 1:
            raise SettingsError(
                f"There is no structure '{given}' to be the target.", f"The structures are {', '.join(names)}."
            )
        return found[0]
    for beginning in TARGET_NAMES:
        for name in names:
            if name.casefold().startswith(beginning):
                return name
    raise SettingsError(
        f"No structure looks like a target among {', '.join(names) or 'none'}.",
        "Name one in the plan file (target: NAME), or call it PTV.",
    )


def _from_folder(folder: Path, keep: _Wanted) -> Structures:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_volume_file(path)]
    found: Structures = {}
    for path in files:
        name = stem(path)
        if name not in keep or is_body(name):
            continue
        if name in found:
            raise InputError(f"{folder} contains two masks '{name}'.", "Keep one of them.")
        mask = read_volume(path)
        low, high = float(mask.array.min()), float(mask.array.max())
        if low < 0 or not np.isfinite(high):
            raise InputError(f"{path} is not a mask: it has values from {low:g} to {high:g}.", "Write 0 and 1.")
        found[name] = axial(mask.with_array(mask.array > 0), 0.0)
    if not found:
        raise InputError(f"{folder} contains no mask of a structure.", "Write NAME.nii.gz for each structure.")
    return found


def _from_set(structures: StructureSet, path: Path, ct: CtImage, keep: _Wanted, *, any_frame: bool) -> Structures:
    found: Structures = {}
    for one in structures.structures:
        if one.name not in keep or is_body(one.name) or one.kind == "EXTERNAL":
            continue
        if not one.contours:
            log.warning("structure '%s' has no closed contour and is left out", one.name)
            continue
        if ct.frame_uid and one.frame_uid and ct.frame_uid != one.frame_uid and not any_frame:
            raise InputError(
                f"Structure '{one.name}' of {path} is in another frame of reference than {ct.name}.",
                "Give the structure set of this CT, or add --any-frame (any_frame=True) if positions already agree.",
            )
        found[one.name] = ct.volume.with_array(one.mask(ct.volume))
    if not found:
        raise InputError(f"{path} has no structure to report.", "Export targets and organs with it.")
    return found
