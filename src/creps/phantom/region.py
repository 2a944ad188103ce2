"""What sets one body region apart: who lies there, what is in view, which scanners see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from creps.phantom.painting.body import Subject
from creps.phantom.painting.shapes import Point
from creps.phantom.scanners.couch import Couch
from creps.phantom.scanners.ct import CtScanner
from creps.phantom.scanners.mr import MrCentre

__all__ = ["FieldOfView", "Region"]

Edges = tuple[float, float]


@dataclass(frozen=True)
class FieldOfView:
    """A scan's box in the patient frame, and where scanners put its origin.

    Attributes:
        edges: Low and high edge (mm) along D (z), H (y), W (x).
        longer_mm: How far the scan may begin below the low edge and end above the high edge: a range each.
        origin_mm: Mean shift (x, y, z) between the patient frame and the scanner's.
    """

    edges: tuple[Edges, Edges, Edges]
    longer_mm: tuple[Edges, Edges]
    origin_mm: Point


@dataclass(frozen=True)
class Region:
    """A body region.

    Attributes:
        name: Lower case.
        draw: Draws a person and a posture: generators for each, and whether the table is a treatment couch.
        mr_view: What an MR shows.
        ct_view: What a planning CT shows.
        mr_centres: Scanners and protocols of the MR.
        ct_scanners: Scanners of the CT.
        couch: What the patient lies on in the CT.
        changes_daily: Whether organs fill and move, so that a CT of another sitting differs.
    """

    name: str
    draw: Callable[[np.random.Generator, np.random.Generator, bool], Subject]
    mr_view: FieldOfView
    ct_view: FieldOfView
    mr_centres: tuple[MrCentre, ...]
    ct_scanners: tuple[CtScanner, ...]
    couch: Couch
    changes_daily: bool = False
