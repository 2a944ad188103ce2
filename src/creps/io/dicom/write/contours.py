"""Outlines of a plane of a mask, between its pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["outlines"]

Points = npt.NDArray[np.float64]
Plane = npt.NDArray[np.bool_]


def outlines(plane: Plane, *, with_holes: bool, smallest: float = 0.0) -> list[Points]:
    """Closed polygons, one per island, halfway between the pixels in it and those outside.

    Pixels that touch at a corner only are two islands.

    Args:
        plane: (H, W).
        with_holes: Cut holes out, each joined to the outline by a channel without width (the keyhole technique of
            PS3.3, C.8.8.6.3): the polygon's area is the island's, by any fill rule. Otherwise holes are filled.
        smallest: Islands and holes of a smaller area, in pixels, are passed over.

    Returns:
        For each polygon its corners (n, 2) as (row, column), the first not repeated at the end.
    """
    from scipy import ndimage

    labels, _ = ndimage.label(plane)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        island = np.pad(labels[box] == number, 1)
        outer, *holes = _boundaries(island)
        if _area(outer) < smallest:
            continue
        holes = [hole for hole in holes if _area(hole) >= smallest] if with_holes else []
        corner = np.array([box[0].start - 1, box[1].start - 1])
        found.append(_without_straight(_keyholes(outer, holes)) + corner)
    return found


def _boundaries(island: Plane) -> list[Points]:
    """The outline of one island, then those of its holes, which run the other way round."""
    from skimage.measure import find_contours

    rings = [ring[:-1] for ring in find_contours(island.astype(np.float64), 0.5)]
    return sorted(rings, key=_area, reverse=True)


def _area(ring: Points) -> float:
    (y, x), (next_y, next_x) = ring.T, np.roll(ring, -1, axis=0).T
    return abs(float(np.sum(x * next_y - next_x * y))) / 2


def _keyholes(outer: Points, holes: list[Points]) -> Points:
    """One polygon of all: the hole nearest to what is joined already is joined next, where they are nearest."""
    from scipy.spatial import cKDTree

    joined, left = outer, list(holes)
    while left:
        tree = cKDTree(joined)
        reached = [tree.query(hole) for hole in left]
        nearest = min(range(len(left)), key=lambda i: float(reached[i][0].min()))
        start = int(reached[nearest][0].argmin())
        door = int(reached[nearest][1][start])
        ring = np.roll(left.pop(nearest), -start, axis=0)
        joined = np.concatenate([joined[: door + 1], ring, ring[:1], joined[door:]])
    return joined


def _without_straight(ring: Points) -> Points:
    """The same polygon without the points that its line runs straight through."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    on = (before * after).sum(axis=1)
    return ring[~((turn == 0) & (on > 0))]
