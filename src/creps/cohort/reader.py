"""Read patches from the files of a cohort; files stay memory-mapped, and a patch reads only its own rows."""

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
"""Volumes that stay open in a process; each needs a file handle, of which some systems allow 256."""

Mapped = tuple[npt.NDArray[Any], mmap.mmap, int]
"""The array, its memory map, and the offset of the array in it."""


class PatchReader:
    """Reads patches of a cohort. Open files are not pickled with it.

    By default, the operating system reads ahead around every page that is touched, which for a patch across many
    slices is most of the volume. This reader requests exactly the rows of the patch, all before it waits for the first.

    Args:
        cohort: The cohort to read from.
    """

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self._open: OrderedDict[tuple[str, str, bool], Mapped] = OrderedDict()

    def __reduce__(self) -> tuple[type[PatchReader], tuple[Cohort]]:
        return PatchReader, (self.cohort,)

    def read(self, case: Case, location: PatchLocation, fill: float, *, body: bool = False) -> npt.NDArray[Any]:
        """Copy a patch of a volume, or of its body mask; `fill` where it reaches beyond the edge.

        Raises:
            CohortError: the file is missing, damaged or does not match the manifest.
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
    """Tell the operating system which rows will be read, where that is possible."""
    if not hasattr(mmap, "MADV_WILLNEED"):
        return
    d, h, w = location.inside(triple(array.shape))
    per_slice, per_row, per_voxel = array.strides
    if d.start >= d.stop or h.start >= h.stop or w.start >= w.stop:
        return
    first = start + h.start * per_row + w.start * per_voxel
    length = (h.stop - h.start - 1) * per_row + (w.stop - w.start) * per_voxel
    for i in range(d.start, d.stop):
        offset = first + i * per_slice
        page = offset - offset % mmap.PAGESIZE
        pages.madvise(mmap.MADV_WILLNEED, page, offset + length - page)
