"""Body regions by the names that settings give them, and the part of the body that each of them is.

>>> from creps.regions import part_of_body
>>> part_of_body("brain"), part_of_body("pelvis"), part_of_body("thorax")
('head', 'pelvis', 'thorax')
"""

from __future__ import annotations

__all__ = ["part_of_body"]

_OTHER_NAMES = {"brain": "head"}


def part_of_body(region: str) -> str:
    """The part of the body: the paper calls its heads `brain`; other names stand for themselves.

    Args:
        region: `preparation.region` of settings or of a model.
    """
    return _OTHER_NAMES.get(region, region)
