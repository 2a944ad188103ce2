"""Coordinates, smooth random fields and signed distances: the geometry of the unseen family.

Everything is a signed distance in mm, negative inside, on a grid of patient coordinates: x to the left, y to posterior,
z to superior. A smooth displacement bends the coordinates first, so that no shape keeps its formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["Field", "Point", "Space", "intersection", "smooth_union"]

Field = npt.NDArray[np.float32]
Point = Sequence[float]

FAR_MM = 32.0
"""Distances of a shape are known this far around it; farther away it is this far off.
Nothing may therefore be grown by as much: give the shape larger half axes."""


class Space:
    """A box of patient coordinates, bent by a random displacement.

    Args:
        low: Smallest x, y, z in mm.
        high: Largest x, y, z in mm.
        step_mm: Distance of the grid's points.
        rng: Draws the displacement and every later field.
        bend_mm: Standard deviation of the displacement.

    Attributes:
        x, y, z: (D, H, W) bent coordinates in mm.
        shape: (D, H, W).
    """

    def __init__(self, low: Point, high: Point, step_mm: float, rng: np.random.Generator, bend_mm: float = 2.5) -> None:
        axes = [
            np.arange(a, b, step_mm, dtype=np.float32)
            for a, b in zip(reversed(list(low)), reversed(list(high)), strict=True)
        ]
        self.step_mm, self.rng = step_mm, rng
        self.low = tuple(float(v) for v in low)
        self.shape = (len(axes[0]), len(axes[1]), len(axes[2]))
        z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
        bend = [self.noise(45.0, bend_mm) for _ in range(3)]
        self.x, self.y, self.z = x + bend[0], y + bend[1], z + bend[2]

    def noise(self, length_mm: float, sd: float = 1.0) -> Field:
        """A smooth Gaussian field.

        Args:
            length_mm: Correlation length; from about two grid steps on.
            sd: Standard deviation.

        Returns:
            (D, H, W).
        """
        coarse = max(1.0, length_mm / (2 * self.step_mm))
        small = tuple(int(np.ceil(n / coarse)) + 6 for n in self.shape)
        seed = self.rng.standard_normal(small).astype(np.float32)
        seed = ndimage.gaussian_filter(seed, 1.0, mode="wrap")
        seed *= sd / float(seed.std())
        for axis, n in enumerate(self.shape):
            at = np.arange(n, dtype=np.float32) / coarse + 2
            first = at.astype(int)
            share = (at - first).reshape([-1 if k == axis else 1 for k in range(3)]).astype(np.float32)
            share = share * share * (3 - 2 * share)
            seed = np.take(seed, first, axis) * (1 - share) + np.take(seed, first + 1, axis) * share
        return seed

    def blob(self, centre: Point, semi: Point, wobble: float = 0.0, degree: int = 3) -> Field:
        """An ellipsoid whose radius varies with direction by a random polynomial of the direction's cosines.

        Args:
            centre: x, y, z in mm.
            semi: Half axes in mm.
            wobble: Relative standard deviation of the radius.
            degree: Of the polynomial: how many bumps there are.

        Returns:
            Approximate signed distance (D, H, W) in mm.
        """
        reach = [float(s) * (1 + 4 * wobble) for s in semi]
        box, (x, y, z) = self._near(
            [c - r for c, r in zip(centre, reach, strict=True)], [c + r for c, r in zip(centre, reach, strict=True)]
        )
        u, v, w = ((a - np.float32(c)) / np.float32(s) for a, c, s in zip((x, y, z), centre, semi, strict=True))
        radius = np.sqrt(u * u + v * v + w * w) + np.float32(1e-6)
        bumps: Field | float = 0.0
        if wobble > 0:
            u, v, w = u / radius, v / radius, w / radius
            for _ in range(4):
                a, b, c = self.rng.normal(size=3)
                phase, gain = self.rng.uniform(0, 2 * np.pi), self.rng.normal() * wobble / 2
                bumps = bumps + np.float32(gain) * np.cos(degree * (a * u + b * v + c * w) / 1.7 + phase)
        scale = float(np.prod(semi)) ** (1 / 3)
        return self._whole(box, (radius - 1 - bumps) * np.float32(min(scale, min(semi) * 1.5)))

    def tube(self, points: Sequence[Point], radii: Sequence[float]) -> Field:
        """A bent tube through points, with a radius at each.

        Returns:
            Signed distance (D, H, W) in mm.
        """
        corners, widest = np.asarray(points, dtype=float), max(radii)
        box, (x, y, z) = self._near(corners.min(axis=0) - widest, corners.max(axis=0) + widest)
        found: Field | None = None
        for (p, q), (r, s) in zip(pairwise(points), pairwise(radii), strict=True):
            a, b = np.asarray(p, np.float32), np.asarray(q, np.float32)
            axis = b - a
            length = np.float32(max(float(axis @ axis), 1e-6))
            along = np.clip(((x - a[0]) * axis[0] + (y - a[1]) * axis[1] + (z - a[2]) * axis[2]) / length, 0, 1)
            square = sum((c - (a[k] + along * axis[k])) ** 2 for k, c in enumerate((x, y, z)))
            one = np.sqrt(square) - (np.float32(r) + along * np.float32(s - r))
            found = one if found is None else np.minimum(found, one)
        assert found is not None, "a tube needs two points"  # noqa: S101
        return self._whole(box, found)

    def slab(self, normal: Point, offset_mm: float) -> Field:
        """The half space behind a plane: ``normal · (x, y, z) - offset``.

        Returns:
            Signed distance (D, H, W) in mm.
        """
        n = np.asarray(normal, dtype=np.float32)
        n = n / np.linalg.norm(n)
        return np.asarray(n[0] * self.x + n[1] * self.y + n[2] * self.z - np.float32(offset_mm), dtype=np.float32)

    def _near(self, low: Point, high: Point) -> tuple[tuple[slice, slice, slice], tuple[Field, Field, Field]]:
        """Where a shape can be, with a margin, and the bent coordinates there."""
        box = []
        for axis in range(3):  # D, H, W are z, y, x
            a, b = float(low[2 - axis]) - FAR_MM, float(high[2 - axis]) + FAR_MM
            first = int((a - self.low[2 - axis]) / self.step_mm)
            last = int((b - self.low[2 - axis]) / self.step_mm) + 1
            box.append(slice(max(0, min(first, self.shape[axis] - 1)), max(1, min(last, self.shape[axis]))))
        place = (box[0], box[1], box[2])
        return place, (self.x[place], self.y[place], self.z[place])

    def _whole(self, box: tuple[slice, slice, slice], part: Field) -> Field:
        found = np.full(self.shape, np.float32(FAR_MM))
        found[box] = part
        return found

    def cells(self, spacing_mm: float) -> Field:
        """A labyrinth of rounded cells: distance to their walls, negative inside.

        Returns:
            (D, H, W) in mm, roughly.
        """
        a, b, c = (self.noise(spacing_mm, 1.0) for _ in range(3))
        k = np.float32(2 * np.pi / spacing_mm)
        waves = np.sin(k * self.x + a) + np.sin(k * self.y + b) + np.sin(k * self.z + c)
        return np.asarray((0.3 - waves) * np.float32(spacing_mm / 6), dtype=np.float32)


def smooth_union(a: Field, b: Field, radius_mm: float) -> Field:
    """Union of two signed distances with a fillet of that radius."""
    h = np.clip(0.5 + 0.5 * (b - a) / radius_mm, 0, 1)
    return np.asarray(b * (1 - h) + a * h - radius_mm * h * (1 - h), dtype=np.float32)


def intersection(*fields: Field) -> Field:
    """What lies inside all of them."""
    found = fields[0]
    for field in fields[1:]:
        found = np.maximum(found, field)
    return found
