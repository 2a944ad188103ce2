"""A pelvis of the unseen family: the origin lies half-way between the femoral heads."""

from __future__ import annotations

import numpy as np

from benchmarks.unseen.body import Body
from benchmarks.unseen.space import Field, Space, intersection, smooth_union

__all__ = ["grow_pelvis"]


def grow_pelvis(rng: np.random.Generator, step_mm: float) -> Body:
    """Draw a person and paint the pelvis, from the fourth lumbar vertebra to the upper thighs.

    Args:
        rng: Draws everything.
        step_mm: Distance of the points it is painted on.

    Returns:
        Labels (D, H, W) and what is worth noting of the person.
    """
    woman = bool(rng.random() < 0.5)
    size = float(rng.normal(0.97 if woman else 1.02, 0.04))
    fat = float(np.clip(rng.gamma(4.0, 6.5 if woman else 5.0), 6, 55))
    wide, deep = 152 * size * rng.normal(1, 0.03), 96 * size * rng.normal(1, 0.04)
    reach = (wide + 1.1 * fat + 34, deep + 1.3 * fat + 36)
    space = Space((-reach[0], -reach[1], -135 * size), (reach[0], reach[1], 145 * size), step_mm, rng)
    body = Body(space)
    skin, muscles = _outline(space, wide, deep, fat, size)
    body.paint(skin, "fat")
    body.paint(np.maximum(skin, np.abs(space.noise(16, 1.0)) - 0.035), "connective tissue")
    body.paint(muscles, "muscle")
    marbling = np.float32(rng.uniform(0.03, 0.22))
    body.paint(np.maximum(muscles, np.abs(space.noise(14, 1.0) + 0.4 * space.noise(5, 1.0)) - marbling), "fat")
    cavity = space.blob((0, -8 * size, 62 * size), (92 * size, 60 * size, 105 * size), 0.03)
    body.paint(cavity, "fat")
    _gaps_between_muscles(body, size)
    _muscle_bellies(body, size)
    _bowel(body, cavity, size)
    _organs(body, size, woman)
    marrow = float(rng.uniform(0, 1))
    _bones(body, size, woman, marrow)
    body.paint(intersection(skin, -(skin + 1.8)), "skin")
    body.erase(skin)
    hips = rng.random() < 0.06
    if hips:  # a hip replacement: a metal head and stem
        s = 1 if rng.random() < 0.5 else -1
        body.paint(space.blob((s * 88 * size, 0, 0), (16, 16, 16)), "filling")
        body.paint(
            space.tube([(s * 88 * size, 0, 0), (s * 132 * size, 4, -40), (s * 126 * size, 6, -110)], [6, 8, 5]),
            "filling",
        )
    notes = {
        "size": round(size, 3),
        "fat_mm": round(fat, 1),
        "sex": "f" if woman else "m",
        "yellow_marrow": round(marrow, 2),
        "metal": bool(hips),
    }
    return body.finished(notes)


def _outline(space: Space, wide: float, deep: float, fat: float, size: float) -> tuple[Field, Field]:
    """Skin, and the envelope of the muscles: a trunk that becomes two thighs below the crotch."""

    def trunk(more: float) -> Field:
        waist = 1 - 0.10 * np.clip(space.z / 130, 0, 1) ** 1.5
        u, v = space.x / (wide * waist + more), (space.y - 4) / (deep + more)
        power = np.float32(2.5)
        radius = (np.abs(u) ** power + np.abs(v) ** power + 1e-9) ** (1 / power)
        return np.asarray((radius - 1) * np.float32(deep + more), dtype=np.float32)

    def thighs(more: float) -> Field:
        legs = [
            space.tube([(s * 88 * size, 4, 20), (s * 92 * size, 2, -220)], [80 * size + more, 74 * size + more])
            for s in (-1, 1)
        ]
        return np.minimum(*legs)

    below = space.slab((0, 0, -1), 42 * size)
    found = []
    for more in (0.35 * fat + 0.7 * fat, 0.0):
        high = intersection(trunk(more), below)
        legs = thighs(0.75 * more)
        legs = np.maximum(legs, 1.0 - np.abs(space.x) * 1.0) if more else legs
        halves = [
            space.blob((s * 62 * size, 72 * size, -6 * size), [n * size + 0.8 * more for n in (70, 46, 62)])
            for s in (-1, 1)
        ]
        shape = smooth_union(smooth_union(high, legs, 16), np.minimum(*halves), 20)
        cleft = intersection(np.abs(space.x) - 3, space.slab((0, -1, 0), -76 * size), space.slab((0, 0, 1), 36 * size))
        found.append(np.maximum(shape, -cleft) if more else shape)
    return found[0], found[1]


def _gaps_between_muscles(body: Body, size: float) -> None:
    """Planes of fat between the groups of the thigh and of the buttock."""
    space = body.space
    for s in (-1, 1):
        angle = np.arctan2(space.y - 6, s * space.x - 105 * size) + 0.25 * space.noise(60, 1.0)
        for at in (-2.4, -1.1, 0.3, 1.6, 2.7):
            seam = np.abs(np.mod(angle - at + np.pi, 2 * np.pi) - np.pi) * 60 - body.space.rng.uniform(1.0, 2.6)
            body.paint(seam.astype(np.float32), "fat", only=("muscle",), where=(space.z < 25) & (s * space.x > 0))
    layer = np.abs(space.noise(55, 14.0) + space.y - 58 * size) - body.space.rng.uniform(0.8, 2.4)
    body.paint(layer, "fat", only=("muscle",), where=space.z > -60)


def _muscle_bellies(body: Body, size: float) -> None:
    space, rng = body.space, body.space.rng
    lean = rng.uniform(0.8, 1.15)
    for s in (-1, 1):
        body.paint(
            space.tube(
                [
                    (s * 42 * size, 6, 150),
                    (s * 62 * size, -22, 70),
                    (s * 76 * size, -36, 10),
                    (s * 104 * size, -4, -52),
                ],
                [20 * lean, 22 * lean, 16 * lean, 8],
            ),
            "muscle",
        )
        body.paint(space.blob((s * 84 * size, -2, 88 * size), (15 * lean, 36 * size, 40 * size), 0.06), "muscle")
        body.paint(space.blob((s * 52 * size, 2, -8), (12, 26 * size, 22), 0.08), "muscle")
        body.paint(space.blob((s * 34 * size, -76 * size, 90), (26 * size, 9 * lean, 90), 0.05), "muscle")
        body.paint(
            space.tube(
                [(s * 62 * size, -46, 20), (s * 64 * size, -52, -40), (s * 70 * size, -40, -170)], [5, 5.2, 4.8]
            ),
            "blood",
        )
        body.paint(
            space.tube([(s * 55 * size, -42, 22), (s * 54 * size, -46, -40), (s * 60 * size, -32, -170)], [6, 6, 5.2]),
            "blood",
        )
        body.paint(
            space.tube([(s * 26, 24, 140), (s * 46 * size, 4, 80), (s * 60 * size, -42, 22)], [7, 6, 5.5]), "blood"
        )
        body.paint(
            space.tube(
                [(s * 64 * size, 62 * size, 12), (s * 84 * size, 46 * size, -50), (s * 90 * size, 34, -160)], [6, 5, 5]
            ),
            "connective tissue",
        )


def _bowel(body: Body, cavity: Field, size: float) -> None:
    space, rng = body.space, body.space.rng
    for _ in range(int(rng.integers(5, 10))):
        at = np.array([rng.uniform(-60, 60), rng.uniform(-45, 20), rng.uniform(45, 130)]) * size
        points = [at]
        for _ in range(6):
            at = np.clip(at + rng.normal(0, 24, 3), (-70 * size, -50 * size, 35), (70 * size, 30 * size, 150))
            points.append(at)
        radii = list(rng.uniform(8, 14, len(points)))
        loop = np.maximum(space.tube(points, radii), cavity + 3)
        body.paint(loop, "bowel wall")
        body.paint(loop + 2.5, "bowel content")
        if rng.random() < 0.5:
            lowest = float(min(p[1] for p in points))
            body.paint(np.maximum(loop + 2.5, space.slab((0, 1, 0), lowest + rng.uniform(-2, 8))), "air")


def _organs(body: Body, size: float, woman: bool) -> None:
    space, rng = body.space, body.space.rng
    full = float(rng.uniform(0.7, 1.5))
    bladder = space.blob(
        (rng.normal(0, 4), -30 * size, 22 * size + 8 * full), (32 * full**0.5, 26 * full**0.5, 22 * full), 0.05
    )
    body.paint(bladder - rng.uniform(2.5, 5), "bowel wall")
    body.paint(bladder, "urine")
    if woman:
        womb = space.blob((rng.normal(0, 8), 6 * size, 42 * size), rng.uniform((20, 16, 26), (30, 24, 42)), 0.06)
        body.paint(womb, "uterus")
        body.paint(womb + 14, "mucosa")
        for s in (-1, 1):
            body.paint(space.blob((s * 44 * size, 10 * size, 56 * size), rng.uniform(9, 15, 3), 0.1), "prostate")
        body.paint(space.tube([(0, 8, 14), (0, -6, -36)], [9, 8]), "mucosa")
    else:
        gland = float(rng.uniform(0.85, 1.5))
        body.paint(space.blob((0, -12 * size, -8), (22 * gland, 16 * gland, 18 * gland), 0.05), "prostate")
        for s in (-1, 1):
            body.paint(space.blob((s * 16, 4, 14), (16, 6, 8), 0.15), "urine", only=("fat", "muscle"))
        body.paint(space.tube([(0, -70 * size, -44), (0, -108 * size, -74)], [15, 15]), "connective tissue")
    wide = rng.uniform(10, 21)
    rectum = space.tube(
        [(0, 44 * size, 62), (0, 50 * size, 30), (0, 34 * size, 0), (0, 40 * size, -40), (0, 56 * size, -62)],
        [wide * 0.8, wide, wide, 8, 7],
    )
    body.paint(rectum - 3, "bowel wall")
    body.paint(rectum, "bowel content")
    if rng.random() < 0.6:
        body.paint(np.maximum(rectum + 1, 0.25 - space.noise(22, 1.0)), "air")


def _bones(body: Body, size: float, woman: bool, marrow: float) -> None:
    space, rng = body.space, body.space.rng
    compact = float(rng.uniform(0.8, 1.25))
    flare = 1.06 if woman else 1.0
    joint = 88 * size
    for s in (-1, 1):
        ilium = _ilium(space, s, size, flare)
        socket = space.blob((s * joint, 0, 4), (32 * size, 31 * size, 31 * size), 0.03)
        ischium = space.tube(
            [(s * 84 * size, 22, -14), (s * 62 * size * flare, 30, -52 * size), (s * 44 * size * flare, 2, -58 * size)],
            [17, 15 * size, 8],
        )
        pubis = space.tube(
            [(s * 66 * size, -26, 8), (s * 34 * size, -44 * size, -8), (s * 10, -48 * size, -22)], [11, 8.5, 10]
        )
        ramus = space.tube([(s * 10, -48 * size, -24), (s * 44 * size * flare, 0, -58 * size)], [7.5, 7.5])
        hip = smooth_union(smooth_union(smooth_union(smooth_union(ilium, socket, 10), ischium, 8), pubis, 8), ramus, 6)
        _bone(body, hip, 1.5 * compact, marrow)
        ball = space.blob((s * joint, -1, 0), (24 * size, 24 * size, 24 * size), 0.015)
        body.paint(ball - 3.2, "cartilage")
        neck = space.tube([(s * joint, -1, 0), (s * 124 * size, 3, -28 * size)], [17 * size, 15 * size])
        trochanter = space.blob((s * 136 * size, 6, -26 * size), (17, 19, 25), 0.08)
        lesser = space.blob((s * 112 * size, 18, -62 * size), (9, 9, 12), 0.08)
        shaft = space.tube(
            [(s * 130 * size, 4, -36 * size), (s * 120 * size, 0, -110 * size), (s * 112 * size, -4, -230)],
            [17.5, 14.5 * size, 13.5 * size],
        )
        femur = smooth_union(
            smooth_union(smooth_union(ball, neck, 8), trochanter, 8), smooth_union(shaft, lesser, 6), 8
        )
        thick = np.clip(1.4 + 4.6 * np.clip((-space.z - 30) / 45, 0, 1), 1.4, 6.0) * compact
        thin = np.where(ball < 3, 1.2 * compact, thick).astype(np.float32)
        _bone(body, femur, thin, min(1.0, marrow + 0.25), hollow=space.z < -75 * size)
    symphysis = space.blob((0, -48 * size, -22), (5 if woman else 3.5, 10, 18), 0.03)
    body.paint(symphysis, "cartilage")
    _sacrum(body, size, compact, marrow)


def _ilium(space: Space, side: int, size: float, flare: float) -> Field:
    """A bent plate from the sacroiliac joint to the anterior spine, thick at its rim and thin in its middle."""
    outward = (side * space.x - 74 * size * flare) - 0.34 * (space.z - 30) - 0.0042 * (space.y + 8) ** 2 * -1 - 22
    across = np.asarray(outward / np.float32(1.15), dtype=np.float32) + 0.35 * (space.y - 10)
    u, v = (space.y - 6) / (66 * size), (space.z - 72 * size) / (62 * size)
    rim = np.sqrt(u * u + v * v) - 1
    thick = np.clip(5.0 + 9.0 * np.exp(-((rim / 0.16) ** 2)) + 4.0 * np.clip(-v, 0, 1), 4, 16) * size * 0.55
    return np.asarray(np.maximum(np.abs(across) - thick, rim * 60 * size), dtype=np.float32)


def _sacrum(body: Body, size: float, compact: float, marrow: float) -> None:
    space, rng = body.space, body.space.rng
    tilt = rng.normal(0, 0.05)
    parts = []
    for number in range(5):
        z, y = (96 - 21 * number) * size, (52 + 13 * number - 3.4 * max(0, number - 2) ** 2 + tilt * 100) * size
        half = (48 - 7.5 * number) * size
        parts.append(space.blob((0, y, z), (half, (17 - 1.6 * number) * size, 14 * size), 0.04))
    sacrum = parts[0]
    for part in parts[1:]:
        sacrum = smooth_union(sacrum, part, 7)
    for number in range(4):
        z, y = (86 - 21 * number) * size, (56 + 13 * number) * size
        for s in (-1, 1):
            hole = space.tube(
                [(s * (22 - 2 * number) * size, y - 30, z), (s * (22 - 2 * number) * size, y + 30, z)], [4.2, 4.2]
            )
            sacrum = np.maximum(sacrum, -hole)
    _bone(body, sacrum, 1.1 * compact, marrow)
    for number, z in enumerate((126, 163)):
        y = (32 - 6 * number) * size
        vertebra = space.blob((0, y, z * size), (27 * size, 20 * size, 15 * size), 0.03)
        _bone(body, vertebra, 1.0 * compact, marrow)
        arch = space.tube([(s * 20 * size, y + 16, z * size) for s in (-1, 1)], [6, 6])
        spur = space.tube([(0, y + 38 * size, z * size), (0, y + 60 * size, z * size - 10)], [6, 4])
        sides = space.tube([(-46 * size, y + 26, z * size), (46 * size, y + 26, z * size)], [5, 5])
        for part in (arch, spur, sides):
            _bone(body, part, 1.6 * compact, marrow)
        body.paint(space.blob((0, y + 3, z * size - 19 * size), (25 * size, 18 * size, 5), 0.03), "cartilage")
        body.paint(
            space.tube([(0, y + 29 * size, z * size - 20), (0, y + 29 * size, z * size + 20)], [8, 8]),
            "cerebrospinal fluid",
        )


def _bone(body: Body, shape: Field, thickness: Field | float, yellow: float, hollow: np.ndarray | None = None) -> None:
    """Compact bone around spongy bone with marrow that is red or yellow in patches."""
    space = body.space
    body.paint(shape, "compact bone")
    inside = np.asarray(shape + thickness, dtype=np.float32)
    body.paint(inside, "spongy bone")
    threshold = np.float32(1.1 - 1.6 * yellow)
    body.paint(np.maximum(inside + 2.0, threshold - space.noise(20, 1.0)), "yellow marrow")
    body.paint(np.maximum(inside + 2.5, 1.3 - space.noise(12, 1.0)), "red marrow", only=("spongy bone",))
    if hollow is not None:
        body.paint(inside, "yellow marrow", where=hollow)
