"""What the viewer of a page scrolls through: the volumes of a case, averaged to a size that a page can carry."""

from __future__ import annotations

import base64
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from creps.io.itk import write_volume
from creps.report.images import CaseImages, Shown
from creps.volume import Volume

__all__ = ["ViewerData", "viewer_data"]

LARGEST_VOXELS = 1_400_000
"""Of each volume in the viewer; finer ones are averaged."""

GREY_LEVELS = 250
"""Of an MR's window in the viewer."""


@dataclass(frozen=True)
class ViewerData:
    """What the viewer loads.

    Attributes:
        volumes: For each: key, name, unit, window, multiplier and a NIfTI file in base64.
        grid: Of all of them, with its true position; the NIfTI files have none, since a view follows the axes.
        factors: How many voxels of the sCT along D, H, W are averaged in one.
        first: Index of the box in the sCT along D, H, W; None if the sCT's own axes are others.
    """

    volumes: list[dict[str, Any]]
    grid: Volume
    factors: tuple[int, int, int]
    first: tuple[int, int, int] | None

    @property
    def content(self) -> dict[str, Any]:
        """As plain JSON values; axes are columns in mm along x, y, z of DICOM's patient."""
        axes = self.grid.direction * np.asarray(self.grid.spacing_mm)
        return {
            "volumes": self.volumes,
            "shape": list(self.grid.shape),
            "origin": list(self.grid.origin_mm),
            "axes": axes.T.tolist(),
            "factors": list(self.factors),
            "first": None if self.first is None else list(self.first),
        }

    def voxel_at(self, position_mm: tuple[float, float, float]) -> str:
        """The voxel nearest to a patient position as the viewer counts: from the left, the back and the feet."""
        d, h, w = self.grid.nearest_voxel(position_mm)
        _, height, width = self.grid.shape
        return f"{width - 1 - w},{height - 1 - h},{d}"


def viewer_data(images: CaseImages) -> ViewerData:
    """All images of a case but the difference, which the page computes, averaged to a size that a page can carry."""
    factors = _factors(images.sct)
    volumes = [_for_viewer(one, factors) for one in images.shown if one.key != "difference"]
    turned = not np.allclose(images.parts.sct.direction, images.sct.direction)
    d, h, w = (one.start or 0 for one in images.box)
    return ViewerData(volumes, _averaged(images.sct, factors), factors, None if turned else (d, h, w))


def _factors(volume: Volume) -> tuple[int, int, int]:
    """How many voxels to average along D, H, W until there are few enough; rows and columns are treated alike."""
    depth, plane = 1, 1
    shape, spacing = volume.shape, volume.spacing_mm
    while math.prod(max(1, n // f) for n, f in zip(shape, (depth, plane, plane), strict=True)) > LARGEST_VOXELS:
        deeper = 2 * (depth + 1) <= shape[0] and spacing[0] * depth <= 1.01 * spacing[1] * plane
        depth, plane = (depth + 1, plane) if deeper else (depth, plane + 1)
    d, h, w = (min(f, n) for f, n in zip((depth, plane, plane), shape, strict=True))
    return d, h, w


def _averaged(volume: Volume, factors: tuple[int, int, int]) -> Volume:
    """Blocks of voxels averaged; what does not fill a block at the end is cut off."""
    counts = [max(1, n // f) for n, f in zip(volume.shape, factors, strict=True)]
    whole = volume.array[tuple(slice(0, n * f) for n, f in zip(counts, factors, strict=True))]
    blocks = whole.reshape(*(part for n, f in zip(counts, factors, strict=True) for part in (n, f)))
    x, y, z = volume.to_patient_mm([(f - 1) / 2 for f in factors]).tolist()
    d, h, w = (s * f for s, f in zip(volume.spacing_mm, factors, strict=True))
    return Volume(blocks.mean(axis=(1, 3, 5)), (d, h, w), (x, y, z), volume.direction)


def _for_viewer(one: Shown, factors: tuple[int, int, int]) -> dict[str, Any]:
    """An image as the page loads it: whole numbers, times `multiplier`; an MR in as many levels as a screen has."""
    averaged = _averaged(one.volume, factors)
    small = Volume(averaged.array, averaged.spacing_mm)
    multiplier = 1.0 if one.unit == "HU" else GREY_LEVELS / max(one.window[1], 1e-6)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "volume.nii.gz"
        write_volume(small.with_array(np.rint(small.array * multiplier)), file, integer=True)
        encoded = base64.b64encode(file.read_bytes()).decode()
    return {
        "key": one.key,
        "name": one.name,
        "unit": one.unit,
        "window": [one.window[0] * multiplier, one.window[1] * multiplier],
        "multiplier": multiplier,
        "nifti": encoded,
    }
