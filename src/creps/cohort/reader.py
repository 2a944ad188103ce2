"""Patches from a cohort's files: volumes stay mapped for a while, and a patch reads its own rows only."""

from __future__ import annotations

import mmap
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from creps.cohort.cohort import Case, Cohort
from creps.patches import PatchLocation, read_patch, triple

__all__ = ["PatchReader"]

KEPT = 64
"""Volumes that stay open in a process: each takes a file handle, of which some systems allow 256."""

Mapped = tuple[npt.NDArray[Any], mmap.mmap, int]
"""The array, its map, and the array's first byte in it."""


class PatchReader:
    """Reads patches of a cohort. What it has open does not travel to other processes.

    By itself a system reads far around every page that is touched: for a patch that lies in many slices most of the
    volume. Here it is told which rows are wanted, all before the first is waited for, and to read nothing else.

    Args:
        cohort: Where arrays are read from.
    """

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self._open: OrderedDict[tuple[str, str, bool], Mapped] = OrderedDict()

    def __reduce__(self) -> tuple[type[PatchReader], tuple[Cohort]]:
        return PatchReader, (self.cohort,)

    def read(self, case: Case, location: PatchLocation, fill: float, *, body: bool = False) -> npt.NDArray[Any]:
        """Copy a patch of a volume, or of its body mask; `fill` where it reaches beyond the edge.

        Raises:
            CohortError: the file is missing, damaged or not what the manifest says.
        """
        array, pages, start = self._mapped(case, body)
        _announce(array, pages, start, location)
        return read_patch(array, location, fill)

    def _mapped(self, case: Case, body: bool) -> Mapped:
        key = (case.modality, case.case, body)
        mapped = self._open.pop(key, None)
        if mapped is None:
            array: Any = self.cohort.body(case) if body else self.cohort.array(case)
            mapped = (np.asarray(array), array.base, array.offset)
            if hasattr(mmap, "MADV_RANDOM"):
                array.base.madvise(mmap.MADV_RANDOM)
        self._open[key] = mapped
        if len(self._open) > KEPT:
            self._open.popitem(last=False)
        return mapped


def _announce(array: npt.NDArray[Any], pages: mmap.mmap, start: int, location: PatchLocation) -> None:
    """Tell the system which rows will be read, where it can be told."""
    if not hasattr(mmap, "MADV_WILLNEED"):
        return
    d, h, w = location.inside(triple(array.shape))
    per_slice, per_row, per_voxel = array.strides
    if d.start >= d.stop or h.start >= h.stop or w.start >= w.stop:
        return
    first = start + h.start * per_row + w.start * per_voxel
    length = (h.stop - h.start - 1) * per_row + (w.stop - w.start) * per_voxel
    for i in range(d.start, d.stop):
        wanted = first + i * per_slice
        page = wanted - wanted % mmap.PAGESIZE
        pages.madvise(mmap.MADV_WILLNEED, page, wanted + length - page)
