"""Would the limit of the score hold if it had been chosen without a centre's MRs?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from creps.intake.score_checks import REFUSE_AT

__all__ = ["leave_one_out"]


def leave_one_out(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Choose the limit anew without one centre or scanner at a time, and apply it to what was left out.

    A centre's phantoms are judged by a model of the other centres, a real MR by one of the other real MRs. The limit is
    the lowest that refuses no whole MR of the other groups. MRs whose field of view is cut are left out.

    Args:
        rows: Of the table, with the largest score of every MR.
    """
    groups = {}
    for row in rows:
        whole = [s for s, cut in zip(row["largest"], row["cut"], strict=True) if s is not None and not cut]
        if re.fullmatch("that centre .*", row["what"]) and whole:
            groups[f"{row['model'].split(',')[0]}, {row['what']}"] = whole
        elif row["what"] == "the one left out":
            groups |= {f"{row['model'].split(',')[0]} {i + 1}": [score] for i, score in enumerate(whole)}
    found = []
    for name, scores in groups.items():
        limit = max(score for other, own in groups.items() if other != name for score in own)
        found.append(
            {
                "left_out": name,
                "count": len(scores),
                "median": float(np.median(scores)),
                "largest": max(scores),
                "limit": limit,
                "refused": sum(score > limit for score in scores),
                "refused_as_shipped": sum(score >= REFUSE_AT for score in scores),
            }
        )
    return found
