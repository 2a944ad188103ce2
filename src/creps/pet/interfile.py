"""Interfile: the format of open PET reconstructions, a text header beside raw voxels."""

from __future__ import annotations

from pathlib import Path

from creps.errors import InputError
from creps.io.atomic import atomic_file
from creps.preprocessing.target_grid import obliquity_degrees
from creps.provenance import NOTICE
from creps.volume import Volume

__all__ = ["check_storable", "interfile_header", "write_interfile"]


def check_storable(grid: Volume, name: str) -> None:
    """Refuse a grid that Interfile cannot store: it has no orientation.

    Args:
        grid: Its array is not read.
        name: Of its file.

    Raises:
        InputError: the grid is oblique.
    """
    oblique = obliquity_degrees(grid)
    if oblique > 0:
        raise InputError(
            f"The PET grid {name} is oblique by {oblique:.3g} degrees, and Interfile has no orientation.",
            "Give the grid of the PET reconstruction, which is axial.",
        )


def write_interfile(volume: Volume, path: Path, quantity: str) -> None:
    """Write ``NAME.hv`` and its voxels ``NAME.v``, both or none.

    Voxels are float32, little-endian; x runs to the patient's left, y to posterior, z to superior (head first, supine).
    The offsets of the first voxel are its patient coordinates in mm, as in DICOM.

    Args:
        volume: Axial, in any order of its axes.
        path: The header, ``.hv``.
        quantity: What the voxels hold, with its unit.

    Raises:
        InputError: the volume is oblique.
    """
    check_storable(volume, path.name)
    upright = volume.reoriented()
    with atomic_file(path) as temporary:
        voxels = temporary.with_suffix(".v")
        voxels.write_bytes(upright.array.astype("<f4").tobytes())
        temporary.write_text(interfile_header(upright, voxels.name, quantity), encoding="ascii")


def interfile_header(upright: Volume, data_file: str, quantity: str) -> str:
    r"""The header of an axial volume: the keys of Interfile 3.3 with those that STIR adds for PET images.

    Args:
        upright: In the default orientation.
        data_file: Name of the file with the voxels, in the folder of the header.
        quantity: What the voxels hold, with its unit.

    Examples:
        >>> import numpy as np
        >>> header = interfile_header(Volume(np.zeros((3, 4, 5)), (2.0, 1.0, 1.5)), "mumap.v", "mu, cm-1")
        >>> [line for line in header.splitlines() if "[1]" in line][:3]
        ['matrix axis label [1] := x', '!matrix size [1] := 5', 'scaling factor (mm/pixel) [1] := 1.5']
    """
    axes = []
    for number, axis in enumerate("xyz", start=1):
        axes += [
            f"matrix axis label [{number}] := {axis}",
            f"!matrix size [{number}] := {upright.shape[3 - number]}",
            f"scaling factor (mm/pixel) [{number}] := {upright.spacing_mm[3 - number]:.9g}",
            f"first pixel offset (mm) [{number}] := {upright.origin_mm[number - 1]:.9g}",
        ]
    lines = [
        "!INTERFILE :=",
        f"; {quantity}",
        f"; {NOTICE}",
        "!imaging modality := PT",
        "!originating system := creps",
        "!version of keys := 3.3",
        f"name of data file := {data_file}",
        "!GENERAL DATA :=",
        "data offset in bytes := 0",
        "!GENERAL IMAGE DATA :=",
        "!type of data := PET",
        "imagedata byte order := LITTLEENDIAN",
        "patient orientation := head_in",
        "patient rotation := supine",
        "!PET STUDY (General) :=",
        "!PET data type := Image",
        "process status := Reconstructed",
        "!number format := float",
        "!number of bytes per pixel := 4",
        "number of dimensions := 3",
        *axes,
        "number of time frames := 1",
        "image scaling factor[1] := 1",
        "quantification units := 1",
        "!END OF INTERFILE :=",
    ]
    return "\n".join(lines) + "\n"
