"""Targets and organs: from an RTSTRUCT, or from a folder of masks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from creps.dose.grid import averaged
from creps.dose.images import CtImage, axial
from creps.errors import InputError, SettingsError
from creps.io.dicom.read.structures import Structure, StructureSet, read_structures
from creps.io.itk import is_volume_file, read_volume, stem
from creps.volume import Array, Mask, Volume

__all__ = ["Structures", "check_frames", "choose_target", "find_structures"]

BODY_NAMES = ("body", "external", "skin", "outer contour", "patient")
"""Structures of these names are outlines; the body is found in each image."""

TARGET_NAMES = ("ptv", "target", "ctv", "gtv")
"""Beginnings of the names of targets, the largest volume first."""

CUT_SHARE = 0.99
"""A structure of which less lies in the dose grid is warned of."""

LEAST_OUTLINE_DICE = 0.8
"""Of the outline in an RTSTRUCT and the body in the CT; drawn on the same CT they agree by more than 0.95."""

Structures = dict[str, Array]
"""Name → share of each voxel of the dose grid that belongs to the structure, (D, H, W)."""

log = logging.getLogger(__name__)


def find_structures(
    source: Path | str | Mapping[str, Volume],
    ct: CtImage,
    body: Mask,
    grid: Volume,
    *,
    names: tuple[str, ...] | None = None,
    any_frame: bool = False,
) -> Structures:
    """Read the structures.

    Args:
        source: File of an RTSTRUCT, a folder with a mask file for each structure, or name → mask.
        ct: The image that contours are filled on.
        body: (D, H, W) the patient in it; the outline in an RTSTRUCT must agree with it.
        grid: The dose grid.
        names: Names of the structures to read; None: all.
        any_frame: Take contours of another frame of reference as they are.

    Raises:
        InputError: nothing can be read, or a structure is empty, lies outside the images, or belongs to another frame
            of reference.
    """
    folded = None if names is None else {name.casefold() for name in names}

    def keep(name: str) -> bool:
        return folded is None or name.casefold() in folded

    if isinstance(source, Mapping):
        given = {name: one for name, one in source.items() if keep(name) and not is_body(name)}
        volumes = iter([(name, _as_mask(one, f"The mask '{name}'")) for name, one in given.items()])
    elif Path(source).is_dir():
        volumes = _from_folder(Path(source), keep)
    elif is_volume_file(Path(source)) or not Path(source).exists():
        what = "is an image, not a structure set" if Path(source).exists() else "does not exist"
        raise InputError(f"{source} {what}.", "Give an RTSTRUCT file, or a folder with a mask NAME.nii.gz each.")
    else:
        found_set = read_structures(source)
        _check_frame_of(found_set, Path(source), ct, any_frame=any_frame)
        _check_outline(found_set, Path(source), ct, body)
        volumes = _from_set(found_set, ct, keep)
    found = Structures()
    for name, volume in volumes:
        if name in found:
            raise InputError(f"{source} has two structures '{name}'.", "Rename one of them.")
        found[name] = _share(name, volume, grid)
    if not found:
        raise InputError(f"{source} has no structure to report.", "Give a target and organs.")
    return found


def _share(name: str, volume: Volume, grid: Volume) -> Array:
    """The share of each voxel of the dose grid."""
    whole = float(volume.array.sum()) * float(np.prod(volume.spacing_mm))
    if whole == 0:
        raise InputError(f"Structure '{name}' is empty.", "Draw it, or leave it out of the structures.")
    share = averaged(volume, grid, 0.0)
    inside = float(share.sum()) * float(np.prod(grid.spacing_mm))
    if inside == 0:
        raise InputError(
            f"Structure '{name}' lies outside the body or outside one of the images.",
            "Give structures that belong to these images.",
        )
    if inside < CUT_SHARE * whole:
        log.warning("%.0f %% of structure '%s' is outside the dose grid and left out", 100 - 100 * inside / whole, name)
    return share


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


def _as_mask(volume: Volume, name: str) -> Volume:
    low, high = float(volume.array.min()), float(volume.array.max())
    if low < 0 or not np.isfinite(high):
        raise InputError(f"{name} is not a mask: it has values from {low:g} to {high:g}.", "Write 0 and 1.")
    return axial(volume.with_array(volume.array > 0), 0.0)


def _from_folder(folder: Path, keep: Callable[[str], bool]) -> Iterator[tuple[str, Volume]]:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_volume_file(path)]
    seen = set[str]()
    for path in files:
        name = stem(path)
        if not keep(name) or is_body(name):
            continue
        if name in seen:
            raise InputError(f"{folder} contains two masks '{name}'.", "Keep one of them.")
        mask = _as_mask(read_volume(path), str(path))
        seen.add(name)
        yield name, mask
    if not seen:
        raise InputError(f"{folder} contains no mask of a structure.", "Write NAME.nii.gz for each structure.")


def _from_set(structures: StructureSet, ct: CtImage, keep: Callable[[str], bool]) -> Iterator[tuple[str, Volume]]:
    for one in structures.structures:
        if not keep(one.name) or _is_outline(one):
            continue
        if not one.contours:
            log.warning("structure '%s' has no closed contour and is left out", one.name)
            continue
        yield one.name, ct.volume.with_array(one.mask(ct.volume))


def _is_outline(structure: Structure) -> bool:
    return is_body(structure.name) or structure.kind == "EXTERNAL"


def _check_frame_of(structures: StructureSet, path: Path, ct: CtImage, *, any_frame: bool) -> None:
    for one in structures.structures:
        if ct.frame_uid and one.frame_uid and ct.frame_uid != one.frame_uid and not any_frame:
            raise InputError(
                f"Structure '{one.name}' of {path} is in another frame of reference than {ct.name}.",
                "Give the structure set of this CT, or add --any-frame (any_frame=True) if positions already agree.",
            )


def _check_outline(structures: StructureSet, path: Path, ct: CtImage, body: Mask) -> None:
    """Refuse structures whose outline lies elsewhere than the patient: frames of reference may be equal or ignored."""
    for one in structures.structures:
        if not _is_outline(one) or not one.contours:
            continue
        outline = one.mask(ct.volume)
        there = outline.any(axis=(1, 2))  # where the outline was drawn
        both = float((outline & body).sum())
        dice = 2 * both / max(1.0, float(outline.sum() + body[there].sum()))
        if dice < LEAST_OUTLINE_DICE:
            raise InputError(
                f"The outline '{one.name}' of {path} agrees with the body in {ct.name} by a Dice of only {dice:.2f}.",
                "Give the structure set of this CT; this one belongs to another position of the patient.",
            )
