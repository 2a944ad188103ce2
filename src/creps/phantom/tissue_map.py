"""A phantom's tissues without its images: what each voxel is made of, to be imaged again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from creps.phantom.painting.body import Body
from creps.phantom.painting.tissues import TISSUE_ID, TISSUES
from creps.phantom.patient import check_spacing, draw_axes
from creps.phantom.region import Region
from creps.volume import Array, Mask

__all__ = ["KEPT", "TissueMap", "grow_tissue_map"]

KEPT = 4
"""Tissues kept in each voxel; the others go to the largest."""

Bytes = npt.NDArray[np.uint8]
Window = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class TissueMap:
    """The tissue fractions of a body on a grid, a few bytes per voxel.

    Attributes:
        tissues: (KEPT, D, H, W), places in `TISSUES`, the largest fraction first.
        shares: (KEPT - 1, D, H, W), fractions of all but the first tissue in 1/255.
        body: (D, H, W), True inside the skin, airways included.
        spacing_mm: Voxel spacing (D, H, W).
    """

    tissues: Bytes
    shares: Bytes
    body: Mask
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, body: Body, spacing_mm: tuple[float, float, float]) -> TissueMap:
        """The fractions of a grown body on its own grid."""
        canvas = body.canvas
        names = sorted({layer.tissue for layer in canvas.layers} | {"air"}, key=TISSUE_ID.__getitem__)
        tissues = np.zeros((KEPT, *canvas.shape), dtype=np.uint8)
        fractions = np.zeros((KEPT, *canvas.shape), dtype=np.float32)
        for name in names:
            part = canvas.mix({name: 1.0})
            ids = np.full(canvas.shape, TISSUE_ID[name], dtype=np.uint8)
            for place in range(KEPT):  # insertion: what is larger moves in, what it displaces moves on
                larger = part > fractions[place]
                part[larger], fractions[place][larger] = fractions[place][larger], part[larger]
                ids[larger], tissues[place][larger] = tissues[place][larger], ids[larger]
        shares = np.rint(255 * fractions[1:]).astype(np.uint8)
        return cls(tissues, shares, body.skin_mm < 0, spacing_mm)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, height, width = self.body.shape
        return depth, height, width

    def mix(self, values: Mapping[str, float], window: Window = (slice(None),) * 3) -> Array:
        """The mean of a quantity over each voxel's tissues.

        Args:
            values: The quantity per tissue name; missing tissues count as 0.
            window: The part of the grid.

        Returns:
            (D, H, W) of the window, float32.
        """
        return self.mixed([values], window)[0]

    def mixed(self, quantities: Sequence[Mapping[str, float]], window: Window = (slice(None),) * 3) -> Array:
        """`mix` of several quantities at once.

        Args:
            quantities: Each per tissue name; missing tissues count as 0.
            window: The part of the grid.

        Returns:
            (n, D, H, W) of the window, float32.
        """
        table = np.zeros((len(quantities), len(TISSUES)), dtype=np.float32)
        for row, values in zip(table, quantities, strict=True):
            for name, value in values.items():
                row[TISSUE_ID[name]] = value
        first, *others = (ids[window].ravel() for ids in self.tissues)
        result: Array = table.take(first, axis=1)
        for other, shares in zip(others, self.shares, strict=True):
            share = shares[window].ravel()
            at = share.nonzero()[0]  # most voxels are of one tissue
            part = share[at] * np.float32(1 / 255)
            one, two = first[at], other[at]
            for values, row in zip(result, table, strict=True):
                values[at] += (row[two] - row[one]) * part
        return result.reshape(len(quantities), *self.body[window].shape)

    def volumes(self) -> dict[str, float]:
        """Voxels of each tissue that occurs inside the body."""
        rest = 255.0 - self.shares.sum(axis=0, dtype=np.float32)
        totals = np.zeros(len(TISSUES))
        for ids, share in zip(self.tissues, (rest, *self.shares), strict=True):
            totals += np.bincount(ids[self.body], weights=share[self.body] / 255, minlength=len(TISSUES))
        return {tissue.name: float(n) for tissue, n in zip(TISSUES, totals, strict=True) if n > 0}


def grow_tissue_map(
    region: Region,
    seed: int | list[int],
    spacing_mm: tuple[float, float, float],
    *,
    planning: bool = False,
    wide: bool = False,
) -> TissueMap:
    """Grow one person on a grid of any spacing.

    Args:
        region: Part of the body.
        seed: Same seed, same person.
        spacing_mm: Voxel spacing (D, H, W).
        planning: Posture and field of view of a planning CT instead of an MR.
        wide: Proportions from all that patients have, not from those near the average.

    Raises:
        SettingsError: the spacing along an axis is not above 0 and up to `MAX_SPACING_MM`.
    """
    check_spacing(*spacing_mm)
    streams = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(4))
    person, posture, anatomy, day = streams
    subject = region.draw(person, posture, planning)
    if wide:
        subject = subject.widened(person)
    axes = draw_axes(posture, 1.0, spacing_mm, region.ct_view if planning else region.mr_view)
    return TissueMap.of(subject.grow(anatomy, axes)(day), spacing_mm)
