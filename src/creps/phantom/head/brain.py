"""The brain: folded cortex, white matter, nuclei, ventricles, cerebellum, brain stem, and its coverings."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from creps.phantom.head.person import Person
from creps.phantom.painting.canvas import Canvas, Window
from creps.phantom.painting.fields import smooth_field, smoothstep
from creps.phantom.painting.shapes import Points, Shape, blend_max, both, box, cut, ellipsoid, tube, union
from creps.volume import Array

__all__ = ["paint_brain"]

_CENTRE = (0.0, 2.0, 6.0)
_SHELL_MM = 58.0
_CORTEX_MM = 2.9


def paint_brain(rng: np.random.Generator, canvas: Canvas, person: Person, hull_mm: Array) -> None:
    """Everything inside the dura.

    Args:
        rng: Source of the folds.
        canvas: Painted on.
        person: Proportions.
        hull_mm: (D, H, W) distance to the cranial cavity.
    """
    window = canvas.window((-75, -90, -76), (75, 90, 80))
    if window is None:
        return
    p = canvas.at(window)
    depth = -hull_mm[window] * np.float32(0.95)
    canvas.cover(window, "dura", canvas.inside(-depth))
    canvas.cover(window, "csf", canvas.inside(-depth + np.float32(0.8)))
    tentorium = _tentorium(p)
    cerebrum = _cerebrum(rng, canvas, person, window, depth, tentorium)
    canvas.cover(window, "grey matter", canvas.inside(cerebrum))
    canvas.cover(window, "white matter", canvas.inside(cerebrum + np.float32(_CORTEX_MM)))
    _paint_centre(canvas)
    _paint_ventricles(canvas, person)
    _paint_below(rng, canvas, person, window, depth, tentorium)
    _paint_coverings(canvas, window, depth, tentorium)


def _tentorium(p: Points) -> Array:
    """Signed distance to the tentorium and the front of the posterior fossa, negative below."""
    roof = -4 - np.float32(0.36) * np.maximum(p.y - 30, 0) - np.float32(0.0062) * p.x**2
    front = 16 + np.float32(0.30) * np.abs(p.x) - p.y
    return blend_max((p.z - roof) * np.float32(0.93), front * np.float32(0.95), 4.0)


def _cerebrum(
    rng: np.random.Generator, canvas: Canvas, person: Person, window: Window, depth: Array, tentorium: Array
) -> Array:
    """Signed distance to the pial surface of the cerebrum, negative in the tissue."""
    p = canvas.at(window)
    gap = person.atrophy_mm + np.float32(0.7) * canvas.smooth_field(rng, 30.0)[window]
    gap = gap + 2 * smoothstep(-p.z, 5, 40) * smoothstep(-np.abs(p.x), -24, -8)
    outer = np.minimum(depth - np.maximum(gap, np.float32(1.0)), tentorium - np.float32(1.8))
    basal = np.minimum((p.z + 9) + np.maximum(np.abs(p.x) - 13, 0) * 3, outer + 40)  # no cortex on the stem's cisterns
    outer = np.minimum(outer, basal)
    sheet, reach = _folds(rng, person, p)
    return np.asarray(np.maximum(-outer, _sulci(p, outer, sheet, reach)), dtype=np.float32)


def _sulci(p: Points, outer: Array, sheet: Array, reach: Array) -> Array:
    """Signed distance that is positive in the sulci and fissures, negative in the tissue."""
    open_mm = np.float32(0.85) + np.float32(0.3) * reach
    radius = np.sqrt((p.x / np.float32(0.8)) ** 2 + (p.y - 2) ** 2 + (p.z - 6) ** 2)
    below = np.maximum(np.maximum(outer - (14 + 5 * reach), 40 - radius), 0)
    sulcus = open_mm * (1 - np.float32(0.03) * outer) - np.sqrt(sheet**2 + below**2)
    callosal = np.sqrt(((p.y - 2) / 43) ** 2 + ((p.z + 1) / 29) ** 2)
    wander = np.float32(1.2) * np.sin(p.y * np.float32(0.09)) * np.float32(0.5)
    apart = np.sqrt((p.x - wander) ** 2 + np.maximum((1 - callosal) * 30, 0) ** 2)
    fissure = np.float32(1.5) - apart
    slant = (p.z + 9 - np.float32(0.42) * (p.y + 12)) * np.float32(0.92)
    ends = np.maximum(np.abs(p.y + 4) - 34, 0) + np.maximum(39 - np.abs(p.x) - np.float32(0.10) * np.abs(p.y), 0)
    sylvian = np.float32(1.7) - np.sqrt((slant + 2 * np.sin(p.y * np.float32(0.12))) ** 2 + ends**2)
    insula = np.abs(p.x) - 40 - np.float32(0.003) * (p.y + 4) ** 2
    wall = np.float32(1.5) - np.sqrt(
        insula**2 + np.maximum(np.abs(p.y + 4) - 22, 0) ** 2 + np.maximum(np.abs(slant - 2) - 7, 0) ** 2
    )
    return np.asarray(np.maximum(np.maximum(sulcus, fissure), np.maximum(sylvian, wall)), dtype=np.float32)


def _folds(rng: np.random.Generator, person: Person, p: Points) -> tuple[Array, Array]:
    """Where sulci run.

    The zero set of a smooth random field on the brain's surface is a set of winding, branching
    curves, as sulci are; carried inwards along the radius it becomes a set of sheets.

    Args:
        rng: Source of the field.
        person: `gyri_mm` scales the folds.
        p: Atlas points.

    Returns:
        Distance (mm, signed) to the nearest sheet, and a slow field of about unit variance that
        says how deep sulci go there.
    """
    step = 2.0
    line = np.arange(-84.0, 84.1, step, dtype=np.float64)
    lattice = (line, line, line)
    field = smooth_field(rng, lattice, person.gyri_mm)
    slow = np.clip(smooth_field(rng, lattice, 28.0), -1.5, 1.5)
    slope = np.gradient(field, step)
    steep = np.sqrt(sum(part**2 for part in slope))
    distance = field / np.sqrt(steep**2 + (np.float32(0.45) * steep.mean()) ** 2)
    radial = [p.x - np.float32(_CENTRE[0]), p.y - np.float32(_CENTRE[1]), p.z - np.float32(_CENTRE[2])]
    radius = np.sqrt(sum(part**2 for part in radial)) + np.float32(1e-3)
    shell = (np.float32(_SHELL_MM) + np.float32(0.35) * (radius - np.float32(_SHELL_MM))) / radius
    stretch = np.clip(radius / np.float32(_SHELL_MM), 0.6, 1.4)
    places = [(part * shell - np.float32(line[0])) / np.float32(step) for part in reversed(radial)]
    sheet = ndimage.map_coordinates(distance.astype(np.float32), places, order=1, mode="nearest")
    reach = ndimage.map_coordinates(slow, places, order=1, mode="nearest")
    return np.asarray(sheet * stretch, dtype=np.float32), np.asarray(reach, dtype=np.float32)


def _paint_centre(canvas: Canvas) -> None:
    """Corpus callosum, basal ganglia, thalamus, hypothalamus."""
    callosum = tube(
        [(0, -26, -2), (0, -37, 4), (0, -35, 15), (0, -20, 23), (0, 5, 26), (0, 27, 20), (0, 38, 9), (0, 33, 4)],
        [3.0, 5.0, 5.0, 4.0, 4.0, 4.5, 6.0, 4.0],
        (2.6, 1.0, 1.0),
    )
    canvas.paint("white matter", callosum)
    canvas.paint_pair("white matter", tube([(12, -30, 12), (20, 0, 20), (20, 30, 12)], [8.0, 9.0, 9.0]))
    canvas.paint_pair("deep grey matter", ellipsoid((11, 8, 3), (9, 14, 9)))
    canvas.paint_pair("deep grey matter", tube([(12, -26, 4), (15, -8, 15), (20, 12, 19)], [7.0, 4.0, 2.5]))
    canvas.paint_pair("deep grey matter", ellipsoid((26, -7, 0), (6, 17, 11)))
    canvas.paint_pair("white matter", tube([(16, -18, 8), (17, -3, 2), (23, 14, 6)], [2.5, 3.0, 3.0], (1, 1, 3)))
    canvas.paint("deep grey matter", ellipsoid((0, -6, -7), (7, 9, 6)))


def _paint_ventricles(canvas: Canvas, person: Person) -> None:
    """Lateral, third and fourth ventricle, aqueduct and the cisterns."""
    s = person.ventricles
    body = tube(
        [(9, -36, 5), (8, -22, 13), (8, 0, 18), (15, 20, 15), (25, 34, 6), (25, 50, 0), (22, 60, -2)],
        [3.4 * s, 5.2 * s, 4.4 * s, 4.6 * s, 6.4 * s, 4.0 * s, 1.5 * s],
        (0.8, 1.0, 1.25),
    )
    horn = tube([(25, 34, 5), (33, 18, -10), (32, 0, -19), (30, -8, -21)], [5.5 * s, 3.2 * s, 2.6 * s, 2.2 * s])
    canvas.paint_pair("csf", body)
    canvas.paint_pair("csf", horn)
    canvas.paint_pair("mucosa", tube([(14, 18, 12), (23, 31, 5), (27, 28, -2)], [1.6, 2.4, 1.4]))  # choroid plexus
    canvas.paint("csf", ellipsoid((0, -1, 1), (2.2 * s, 13, 9)))
    canvas.paint("csf", ellipsoid((0, 32, 0), (9, 8, 6)))  # quadrigeminal cistern
    canvas.paint("deep grey matter", ellipsoid((0, 24, 0), (3.5, 4.5, 3.0)))  # pineal


def _paint_below(
    rng: np.random.Generator, canvas: Canvas, person: Person, window: Window, depth: Array, tentorium: Array
) -> None:
    """Cerebellum and brain stem."""
    p = canvas.at(window)
    wall = depth - np.float32(1.6 + 0.5 * person.atrophy_mm)
    lobes = np.maximum(-wall, tentorium + np.float32(1.6))
    mirrored = Points(np.abs(p.x), p.y, p.z)
    hemisphere = ellipsoid((23, 45, -29), (30, 31, 24)).distance(mirrored)
    vermis = ellipsoid((0, 44, -22), (12, 24, 19)).distance(p)
    lobes = np.maximum(lobes, np.minimum(hemisphere, vermis))
    canvas.cover(window, "csf", canvas.inside(tentorium) * canvas.inside(-depth + np.float32(0.8)))
    canvas.cover(window, "grey matter", canvas.inside(lobes))
    angle = np.arctan2(p.z + 29, p.y - 20)
    radius = np.sqrt((p.z + 29) ** 2 + (p.y - 20) ** 2)
    warp = canvas.smooth_field(rng, 14.0)[window]
    folia = np.sin(angle * 34 + np.float32(1.1) * warp)
    fine = smoothstep(radius, 10, 24)
    arbor = np.float32(11) - np.float32(4.5) * folia * fine + np.float32(1.0) * warp
    canvas.cover(window, "white matter", canvas.inside((lobes + arbor) * np.float32(0.6)))
    cleft = np.clip((-folia - np.float32(0.55)) * 2, 0, 1) * canvas.inside(lobes) * canvas.inside(-lobes - 6)
    canvas.cover(window, "csf", np.asarray(cleft * fine * np.float32(0.55), dtype=np.float32))
    canvas.paint("white matter", tube([(0, 8, -4), (0, 13, -15), (0, 15, -24)], [10.0, 11.5, 11.0], (1.25, 1.0, 1.0)))
    canvas.paint_pair("white matter", tube([(8, 0, -3), (10, 6, -12)], [6.0, 6.0]))
    canvas.paint("white matter", ellipsoid((0, 11, -26), (16, 12.5, 13)))
    canvas.paint_pair("white matter", tube([(10, 16, -27), (20, 32, -30)], [8.0, 7.0]))
    canvas.paint("white matter", tube([(0, 17, -36), (0, 21, -48), (0, 24, -62)], [8.5, 7.5, 5.8]))
    canvas.paint("csf", tube([(0, 21, -4), (0, 24, -14), (0, 25, -18)], [0.9, 0.9, 1.2]))
    canvas.paint("csf", both(ellipsoid((0, 29, -28), (8, 7.5, 13)), box((0, 29, -28), (8, 6.0, 13), 2.0)))


def _paint_coverings(canvas: Canvas, window: Window, depth: Array, tentorium: Array) -> None:
    """Falx, tentorium, venous sinuses and the pituitary."""
    p = canvas.at(window)
    within = canvas.inside(-depth)
    callosal = np.sqrt(((p.y - 2) / 52) ** 2 + ((p.z + 4) / 40) ** 2)
    falx = np.maximum(np.abs(p.x) - np.float32(0.5), (1 - callosal) * 35)
    falx = np.maximum(falx, -tentorium)
    canvas.cover(window, "dura", canvas.inside(falx) * within)
    leaf = np.maximum(np.abs(tentorium) - np.float32(0.5), 34 - p.y)
    canvas.cover(window, "dura", canvas.inside(leaf) * within)
    sagittal = np.sqrt(p.x**2 + (depth - 1) ** 2) - np.float32(3.2)
    sagittal = np.maximum(sagittal, np.maximum(-18 - p.z, -p.z - np.float32(0.25) * (p.y + 80)))
    canvas.cover(window, "blood", canvas.inside(sagittal))
    transverse: Shape = tube([(0, 83, -17), (25, 74, -21), (48, 52, -27), (50, 36, -34)], [3.0, 3.2, 3.4, 3.4])
    canvas.paint_pair("blood", transverse)
    gland = union(ellipsoid((0, -17, -19), (6, 5, 3.5)), tube([(0, -15, -16), (0, -9, -9)], [1.3, 1.2]), blend=1.0)
    canvas.paint("deep grey matter", cut(gland, box((0, -17, -40), (20, 20, 15), 1.0)))
    canvas.paint_pair("blood", tube([(12, -8, -26), (13, -20, -24), (12, -22, -17)], [2.8, 2.8, 2.4]))  # carotid siphon
    canvas.paint("blood", tube([(0, -4, -12), (0, -2, -28), (0, 6, -42)], [1.5, 1.8, 1.6]))  # basilar artery
