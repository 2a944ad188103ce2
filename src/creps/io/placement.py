"""Where a NIfTI header places its voxels: one rule, and a word about every contradiction.

The rule is that of nibabel, FSL and SPM: the sform if its code is above 0, else the qform if its code is above 0, else
the voxel sizes alone, as nibabel does (first axis to the left, centre of the volume at the origin). ITK prefers the
qform, so a file whose two transforms differ lies elsewhere in tools that are built on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from creps.errors import InputError
from creps.io.nifti import NiftiHeader

__all__ = ["Affine", "Placement", "orthogonal", "placement"]

Affine = npt.NDArray[np.float64]
"""(4, 4): voxel index (i, j, k, 1) → RAS coordinates in mm."""

SAME_MM = 0.1
"""Transforms that place every voxel within this distance of each other agree: headers are rounded."""

SHEAR_VOXELS = 0.5
"""A grid is taken as orthogonal if that moves no voxel by more than this fraction of the smallest spacing."""

SIZE_SHARE = 0.01
"""Voxel sizes may differ from the transform's by this fraction without a word."""

NAMES = {1: "scanner", 2: "aligned to another image", 3: "Talairach", 4: "MNI", 5: "template"}
"""NIfTI's codes of a transform."""

MM_OF_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Code of a unit of length → mm. NIfTI knows unknown, m, mm and µm."""

UNIT_NAMES = {1: "metres", 3: "micrometres"}

SET_SFORM = "Set the right transform in its header (sform with code 1), or resample it."


@dataclass(frozen=True)
class Placement:
    """An orthogonal grid in RAS coordinates.

    Attributes:
        affine: (4, 4), voxel index (i, j, k, 1) → RAS in mm; its columns are orthogonal.
        source: Which part of the header it is taken from.
        remarks: What contradicts it, one sentence each, to follow a file's name.
    """

    affine: Affine
    source: str
    remarks: tuple[str, ...] = ()


def placement(header: NiftiHeader, name: str) -> Placement:
    """Decide where the voxels lie.

    Args:
        header: Of a 3-D image.
        name: What messages call the file.

    Raises:
        InputError: spacing that is zero or no number, a transform that is not invertible or not finite, or a grid that
            is sheared by more than half a voxel.
    """
    remarks: list[str] = []
    scale = _scale(header, remarks)
    sizes = _sizes(header, name, remarks)
    codes = {kind: _code(getattr(header, f"{kind}_code"), kind, remarks) for kind in ("sform", "qform")}
    if codes["sform"]:
        source, affine = f"sform (code {codes['sform']}, {NAMES[codes['sform']]})", _sform(header, name)
        _compare(affine, sizes, header, codes, scale, remarks)
    elif codes["qform"]:
        source, affine = f"qform (code {codes['qform']}, {NAMES[codes['qform']]})", _qform(header, sizes, name)
    else:
        source, affine = "voxel sizes only", _centred(header, sizes)
        remarks.append(
            "states no position: its sform and qform codes are 0. As nibabel does, its first axis is taken to run to"
            " the patient's left and its centre to lie at the origin; other programs may swap left and right"
        )
    affine[:3] *= scale
    return Placement(orthogonal(affine, header.shape, name, source, remarks), source, tuple(remarks))


def _scale(header: NiftiHeader, remarks: list[str]) -> float:
    """Millimetres per unit of the header."""
    if header.units not in MM_OF_UNIT:
        remarks.append(f"states its lengths in a unit that NIfTI does not have (code {header.units}); mm are assumed")
        return 1.0
    if header.units in UNIT_NAMES:
        remarks.append(
            f"states its lengths in {UNIT_NAMES[header.units]}, which were converted to mm; nibabel and FSL ignore that"
        )
    return MM_OF_UNIT[header.units]


def _sizes(header: NiftiHeader, name: str, remarks: list[str]) -> npt.NDArray[np.float64]:
    """The voxel sizes (i, j, k), positive."""
    stored = np.array(header.pixdim[1:], dtype=np.float64)
    if not np.isfinite(stored).all() or not stored.all():
        raise InputError(
            f"{name} has a voxel spacing of {_by(stored)} mm.",
            "Spacing must be positive: correct pixdim in its header.",
        )
    if (stored < 0).any():
        remarks.append(f"has negative voxel sizes ({_by(stored)} mm); their signs are ignored")
    return np.abs(stored)


def _code(code: int, kind: str, remarks: list[str]) -> int:
    """A transform's code; one that NIfTI does not have counts as 0."""
    if code in (0, *NAMES):
        return code
    remarks.append(f"states a {kind} code of {code}, which NIfTI does not have; the {kind} is ignored")
    return 0


def _sform(header: NiftiHeader, name: str) -> Affine:
    affine = np.vstack([header.sform, [0, 0, 0, 1]])
    if not np.isfinite(affine).all():
        raise InputError(f"{name} has an sform that is not finite.", SET_SFORM)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not lengths.all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise InputError(
            f"{name} has an sform that flattens the volume (axes of {_by(lengths)} mm in one plane or none).",
            "Set the right sform, or set its code to 0 so that the qform is used.",
        )
    return affine


def _qform(header: NiftiHeader, sizes: npt.NDArray[np.float64], name: str) -> Affine:
    numbers = np.array([*header.quaternion, *header.offset])
    squared = float(np.sum(np.square(header.quaternion)))
    if not np.isfinite(numbers).all() or squared > 1 + 1e-5:
        shown = ", ".join(f"{n:g}" for n in numbers)
        raise InputError(f"{name} has a qform that is no rotation ({shown}).", SET_SFORM)
    if header.pixdim[0] not in (-1, 0, 1):
        raise InputError(
            f"{name} has a qfac (pixdim[0]) of {header.pixdim[0]:g}; only 1 and -1 say left from right.", SET_SFORM
        )
    b, c, d = np.array(header.quaternion, dtype=np.float64) / max(1.0, np.sqrt(squared))
    a = np.sqrt(max(0.0, 1 - squared))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * sizes * [1, 1, -1 if header.pixdim[0] < 0 else 1]
    affine[:3, 3] = header.offset
    return affine


def _centred(header: NiftiHeader, sizes: npt.NDArray[np.float64]) -> Affine:
    affine = np.diag([-sizes[0], sizes[1], sizes[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(header.shape) - 1) / 2)
    return affine


def _compare(
    affine: Affine,
    sizes: npt.NDArray[np.float64],
    header: NiftiHeader,
    codes: dict[str, int],
    scale: float,
    remarks: list[str],
) -> None:
    """Say by how much the qform and the voxel sizes contradict the sform."""
    if codes["qform"]:
        try:
            other = _qform(header, sizes, "")
        except InputError as error:
            remarks.append(f"{error.what.strip().rstrip('.')}; its sform is used")
            return
        apart = scale * _apart(affine, other, header.shape)
        if apart > SAME_MM:
            qform, sform = (f"{kind} (code {codes[kind]}, {NAMES[codes[kind]]})" for kind in ("qform", "sform"))
            remarks.append(
                f"has a {qform} that differs by up to {apart:.1f} mm from its {sform}; the sform is used, as nibabel,"
                " FSL and SPM do"
            )
        return
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if (np.abs(lengths / sizes - 1) > SIZE_SHARE).any():
        remarks.append(f"has voxel sizes of {_by(sizes)} mm, its sform has {_by(lengths)} mm; the sform is used")


def orthogonal(affine: Affine, shape: Sequence[int], name: str, source: str, remarks: list[str]) -> Affine:
    """The nearest grid with orthogonal axes of the same lengths about the same centre.

    Args:
        affine: (4, 4), voxel index (i, j, k, 1) → mm.
        shape: Voxels along (i, j, k).
        name: What messages call the file.
        source: What messages call the transform.
        remarks: Receives a sentence if voxels move.

    Raises:
        InputError: a voxel would move by more than half the smallest spacing.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / lengths)
    straight = np.eye(4)
    straight[:3, :3] = (left @ right) * lengths
    middle = (np.array(shape) - 1) / 2
    straight[:3, 3] = affine[:3, 3] + (affine[:3, :3] - straight[:3, :3]) @ middle
    moved = _apart(affine, straight, shape)
    if moved > max(SAME_MM, SHEAR_VOXELS * lengths.min()):
        raise InputError(
            f"{name} has a sheared {source}: its axes are not at right angles, which no scanner's grid has; with"
            f" right angles its corners would move by {moved:.1f} mm.",
            "Resample it onto an orthogonal grid first.",
        )
    if moved > SAME_MM:
        remarks.append(f"has a slightly sheared {source}; with right angles its corners moved by {moved:.2f} mm")
    return straight


def _apart(one: Affine, other: Affine, shape: Sequence[int]) -> float:
    """Largest distance between the places of the corner voxels."""
    ends = [(0, n - 1) for n in shape]
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    difference = (one - other)[:3, :3] @ corners + (one - other)[:3, 3:]
    return float(np.linalg.norm(difference, axis=0).max())


def _by(numbers: npt.NDArray[np.float64]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)
