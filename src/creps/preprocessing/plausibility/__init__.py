"""Check that a volume is the CT or the MR that it is given as, before anything is computed from it."""

from __future__ import annotations

from creps.preprocessing.plausibility.ct import NO_CT, check_below_air, check_ct
from creps.preprocessing.plausibility.mr import LOOKS_LIKE_CT, check_mr, check_mr_scale
from creps.preprocessing.plausibility.size import check_extent

__all__ = [
    "LOOKS_LIKE_CT",
    "NO_CT",
    "check_below_air",
    "check_ct",
    "check_extent",
    "check_mr",
    "check_mr_scale",
]
