"""A head of the unseen family: the brain's centre is the origin, and the neck reaches down to the fourth vertebra."""

from __future__ import annotations

import numpy as np

from benchmarks.unseen.body import Body
from benchmarks.unseen.space import Field, Space, intersection, smooth_union

__all__ = ["grow_head"]


def grow_head(rng: np.random.Generator, step_mm: float) -> Body:
    """Draw a person and paint the head.

    Args:
        rng: Draws everything.
        step_mm: Distance of the points it is painted on.

    Returns:
        Labels (D, H, W) and what is worth noting of the person.
    """
    size = float(rng.normal(1.0, 0.04)) * (0.9 if rng.random() < 0.1 else 1.0)
    space = Space((-106 * size, -138 * size, -150 * size), (106 * size, 124 * size, 114 * size), step_mm, rng)
    body = Body(space)
    wide, long, high = 68 * size * rng.normal(1, 0.03), 86 * size * rng.normal(1, 0.03), 70 * size * rng.normal(1, 0.03)
    vault = space.blob((0, 2, 4), (wide + 7, long + 7, high + 7), 0.025)
    cut = space.slab((0, -0.35, -1), 42 * size)  # the base of the skull, rising towards the face
    braincase = intersection(vault, cut)
    face = _face(space, size)
    neck = space.tube([(0, 18, -20), (0, 22 * size, -80), (0, 26 * size, -170)], [58 * size, 47 * size, 50 * size])
    neck = smooth_union(neck, space.blob((0, -12 * size, -96 * size), (50 * size, 60 * size, 34 * size), 0.02), 22)
    scalp = rng.uniform(4.5, 8.5)
    skin = smooth_union(smooth_union(vault - scalp - space.noise(30, 0.6), face, 14), neck, 18)
    body.paint(skin, "muscle")
    fat = rng.uniform(1.5, 6.0)
    body.paint(intersection(skin, -(skin + 1.6 + fat + space.noise(22, 1.0))), "fat")
    _soft_parts(body, size)
    record = _skull(body, braincase, size)
    _brain(body, record["inner"], size)
    _face_bones(body, size)
    _spine(body, size)
    _airways(body, size)
    body.paint(intersection(skin, -(skin + 1.6)), "skin", only=("muscle", "fat"))
    body.erase(skin)
    notes = {
        "size": round(size, 3),
        "skull_mm": record["thickness"],
        "fat_mm": round(fat, 1),
        "fillings": body.fillings,
    }
    return body.finished(notes)


def _face(space: Space, size: float) -> Field:
    jaw = space.blob((0, -48 * size, -72 * size), (52 * size, 50 * size, 42 * size), 0.03)
    cheeks = space.blob((0, -52 * size, -36 * size), (62 * size, 46 * size, 44 * size), 0.03)
    nose = space.tube([(0, -88 * size, -18 * size), (0, -108 * size, -46 * size)], [8 * size, 12 * size])
    ears = [space.blob((s * 80 * size, 10 * size, -25 * size), (7, 15 * size, 26 * size), 0.1) for s in (-1, 1)]
    out = smooth_union(smooth_union(jaw, cheeks, 15), nose, 10)
    return smooth_union(smooth_union(out, ears[0], 4), ears[1], 4)


def _soft_parts(body: Body, size: float) -> None:
    space, rng = body.space, body.space.rng
    for s in (-1, 1):
        body.paint(space.blob((s * 58 * size, -18 * size, -48 * size), (8, 24 * size, 34 * size), 0.08), "muscle")
        parotid = space.blob((s * 56 * size, 4 * size, -62 * size), (11, 15 * size, 22 * size), 0.1)
        body.paint(parotid, "mucosa", only=("muscle", "fat"))
        body.paint(space.tube([(s * 34 * size, 10, -72 * size), (s * 36 * size, 12, -160)], [3.5, 3.8]), "blood")
        body.paint(space.tube([(s * 40 * size, 16, -72 * size), (s * 42 * size, 18, -160)], [5, 6]), "blood")
    planes = space.noise(9, 1.0)
    body.paint(np.abs(planes) - np.float32(0.09 * rng.uniform(0.6, 1.6)), "fat", only=("muscle",))
    body.paint(space.blob((0, -42 * size, -78 * size), (22 * size, 30 * size, 20 * size), 0.05), "muscle")


def _skull(body: Body, braincase: Field, size: float) -> dict[str, object]:
    space, rng = body.space, body.space.rng
    mean = float(rng.uniform(5.0, 8.0)) * size
    thickness = np.clip(mean * (1 + 0.28 * space.noise(45, 1.0)), 2.2, 12.0)
    temporal = np.exp(
        -(((np.abs(space.x) - 70 * size) / 14) ** 2) - ((space.z + 18) / 22) ** 2 - ((space.y + 6) / 30) ** 2
    )
    thickness = thickness * (1 - 0.6 * temporal)
    occiput = np.exp(-(((space.y - 88 * size) / 14) ** 2) - ((space.z + 18) / 16) ** 2 - (space.x / 16) ** 2)
    thickness = (thickness + 5 * occiput).astype(np.float32)
    inner = braincase + thickness
    bone = intersection(braincase, -inner)
    body.paint(bone, "compact bone")
    tables = np.float32(rng.uniform(1.2, 2.0))
    diploe = intersection(braincase + tables, -(inner - tables * 0.9))
    grain = space.noise(6, 1.0)
    body.paint(diploe, "spongy bone")
    body.paint(np.maximum(diploe, 0.9 - grain), "yellow marrow" if rng.random() < 0.4 else "red marrow")
    for _ in range(2):  # sutures and vessels cross the tables
        body.paint(np.maximum(bone, np.abs(space.noise(70, 1.0)) - 0.012), "connective tissue")
    for s in (-1, 1):  # the petrous bones, with the mastoid's cells behind them
        petrous = space.tube(
            [(s * 62 * size, 16 * size, -44 * size), (s * 22 * size, -6 * size, -38 * size)], [12 * size, 7 * size]
        )
        body.paint(petrous, "compact bone")
        body.paint(petrous + 4, "petrous bone")
        mastoid = space.blob((s * 62 * size, 22 * size, -54 * size), (10 * size, 13 * size, 17 * size), 0.08)
        body.paint(mastoid, "compact bone")
        cells = rng.uniform(0.2, 1.0)
        body.paint(np.maximum(mastoid + 2, space.cells(float(rng.uniform(7, 11))) - np.float32(cells)), "air")
        canal = space.tube([(s * 82 * size, 10 * size, -36 * size), (s * 48 * size, 8 * size, -38 * size)], [3.4, 3.0])
        body.paint(canal, "air")
    clivus = space.tube([(0, -12 * size, -32 * size), (0, 10 * size, -58 * size)], [9 * size, 7 * size])
    body.paint(clivus, "compact bone")
    body.paint(clivus + 2.2, "yellow marrow" if rng.random() < 0.6 else "red marrow")
    body.paint(
        space.tube([(0, 22 * size, -30 * size), (0, 26 * size, -80 * size)], [15 * size, 10]), "cerebrospinal fluid"
    )
    return {"inner": inner, "thickness": round(mean, 1)}


def _brain(body: Body, inner: object, size: float) -> None:
    space, rng = body.space, body.space.rng
    hollow = np.asarray(inner, dtype=np.float32)
    inside = hollow + 1.0
    body.paint(inside, "cerebrospinal fluid")
    atrophy = float(rng.gamma(2.0, 0.7))
    surface = inside + np.float32(1.2 + atrophy)
    body.paint(surface, "grey matter")
    folds = space.noise(13, 1.0)
    depth = -surface
    sulci = np.abs(folds) - np.float32(0.10 + 0.05 * atrophy) * np.exp(-depth / 11)
    body.paint(np.maximum(surface, sulci), "cerebrospinal fluid", only=("grey matter",))
    away = -np.abs(folds) * 3.2 + np.float32(3.4)
    body.paint(np.maximum(surface + 3.0, np.minimum(away, 16 - depth)), "white matter", only=("grey matter",))
    body.paint(
        np.maximum(surface, np.abs(space.x) - (0.9 + 0.5 * atrophy)),
        "cerebrospinal fluid",
        only=("grey matter", "white matter"),
        where=space.z > -10 * size,
    )
    body.paint(space.blob((0, 4, 6), (16 * size, 30 * size, 10 * size), 0.05), "white matter")
    big = float(rng.uniform(0.7, 1.5)) * (1 + 0.25 * atrophy)
    for s in (-1, 1):
        body.paint(space.blob((s * 17 * size, -6, -2), (9 * size, 17 * size, 10 * size), 0.08), "grey matter")
        body.paint(
            space.tube(
                [
                    (s * 8, -34 * size, 4),
                    (s * 9, -4, 16 * size),
                    (s * 22, 30 * size, 8 * size),
                    (s * 34, 24 * size, -12 * size),
                    (s * 33, -2, -22 * size),
                ],
                [3.6 * big, 4.4 * big, 6.0 * big, 4.0 * big, 2.0 * big],
            ),
            "cerebrospinal fluid",
        )
    body.paint(
        np.maximum(space.blob((0, 0, -6), (40, 13 * size, 11 * size)), np.abs(space.x) - 1.6 * big),
        "cerebrospinal fluid",
    )
    _posterior_fossa(body, surface, big, size)
    body.paint(
        np.maximum(hollow + 2, np.maximum(np.abs(space.x) - 4, -(hollow + 9))),
        "blood",
        only=("cerebrospinal fluid", "grey matter"),
        where=(space.y > 20) & (space.z > -10),
    )
    if rng.random() < 0.2:
        at = rng.uniform(-35, 35, 3) * (1, 1, 0.6)
        body.paint(space.blob(at, rng.uniform(6, 16, 3), 0.15), "mucosa", only=("white matter", "grey matter"))


def _posterior_fossa(body: Body, surface: Field, big: float, size: float) -> None:
    space = body.space
    tent = intersection(surface + 1, space.slab((0, -0.35, 1), -25 * size), space.slab((0, -1, 0.1), -16 * size))
    cerebellum = np.maximum(tent, space.blob((0, 52 * size, -38 * size), (52 * size, 34 * size, 26 * size), 0.04))
    body.paint(np.maximum(tent, -cerebellum), "cerebrospinal fluid")
    body.paint(cerebellum, "grey matter")
    leaves = np.abs(np.sin((space.z + 0.5 * space.y + 2 * space.noise(25, 1.0)) * np.float32(2 * np.pi / 7)))
    body.paint(np.maximum(cerebellum + 3, leaves - 0.45), "white matter")
    body.paint(
        space.tube(
            [(0, 2, -14 * size), (0, 12 * size, -36 * size), (0, 24 * size, -66 * size), (0, 30 * size, -170)],
            [11 * size, 13 * size, 7, 5.5],
        ),
        "white matter",
    )
    body.paint(space.blob((0, 26 * size, -36 * size), (8, 5 * big, 9)), "cerebrospinal fluid")


def _face_bones(body: Body, size: float) -> None:
    space, rng = body.space, body.space.rng
    for s in (-1, 1):
        orbit = space.tube(
            [(s * 31 * size, -80 * size, -22 * size), (s * 14 * size, -36 * size, -16 * size)], [19 * size, 5]
        )
        body.paint(intersection(orbit - 2.6, space.slab((0, -1, 0), 78 * size)), "compact bone", only=("muscle", "fat"))
        body.paint(orbit, "fat")
        for angle in np.arange(4) * np.pi / 2 + 0.4:
            off = np.array([np.cos(angle), 0, np.sin(angle)]) * 11 * size
            start = np.array([s * 31 * size, -76 * size, -22 * size]) + off
            body.paint(
                space.tube([start, (s * 15 * size, -38 * size, -16 * size)], [1.8, 1.5]), "muscle", only=("fat",)
            )
        body.paint(
            space.tube([(s * 29 * size, -64 * size, -20 * size), (s * 14 * size, -34 * size, -15 * size)], [2, 2]),
            "white matter",
        )
        eye = space.blob((s * 32 * size, -73 * size, -22 * size), (12.2, 12.2, 12.2))
        body.paint(eye, "connective tissue")
        body.paint(eye + 1.2, "eye")
        cheek = space.blob((s * 30 * size, -62 * size, -48 * size), (17 * size, 19 * size, 17 * size), 0.1)
        body.paint(cheek, "compact bone")
        body.paint(cheek + float(rng.uniform(1.2, 2.2)), "air" if rng.random() > 0.08 else "mucosa")
        body.paint(np.maximum(cheek + 1.5, -(cheek + 3.2)), "mucosa", only=("air",), where=space.noise(18, 1.0) > 0.4)
        body.paint(
            space.tube(
                [
                    (s * 46 * size, -70 * size, -38 * size),
                    (s * 66 * size, -34 * size, -38 * size),
                    (s * 64 * size, 0, -38 * size),
                ],
                [5.5, 3.4, 4.5],
            ),
            "compact bone",
        )
    body.paint(space.blob((0, -66 * size, -46 * size), (15 * size, 26 * size, 22 * size), 0.04), "air")
    body.paint(
        np.maximum(
            space.blob((0, -66 * size, -46 * size), (15 * size, 27 * size, 23 * size)),
            np.abs(space.x + space.noise(30, 1.5)) - 1.2,
        ),
        "connective tissue",
        only=("air",),
    )
    for s in (-1, 1):
        for z in (-38, -50, -60):
            body.paint(space.tube([(s * 8, -84 * size, z * size), (s * 8, -48 * size, z * size)], [3.6, 3.2]), "mucosa")
    ethmoid = space.blob((0, -56 * size, -20 * size), (12 * size, 24 * size, 12 * size), 0.05)
    body.paint(ethmoid, "compact bone")
    body.paint(np.maximum(ethmoid + 1, space.cells(9.0) - 1.0), "air")
    sphenoid = space.blob((rng.uniform(-3, 3), -24 * size, -32 * size), (15 * size, 13 * size, 12 * size), 0.12)
    body.paint(sphenoid, "compact bone")
    body.paint(sphenoid + 1.6, "air" if rng.random() < 0.85 else "red marrow")
    if rng.random() < 0.85:
        frontal = space.blob((rng.uniform(-4, 4), -80 * size, 8 * size), rng.uniform((8, 4, 6), (22, 8, 16)), 0.2)
        body.paint(frontal - 1.8, "compact bone")
        body.paint(frontal, "air")
    _jaws(body, size)


def _jaws(body: Body, size: float) -> None:
    space, rng = body.space, body.space.rng
    angles = np.linspace(-1.15, 1.15, 13)
    for z, radius in ((-68, 6.0), (-96, 7.5)):
        arch = [(32 * size * np.sin(a) * 1.1, (-52 - 38 * np.cos(a)) * size, z * size) for a in angles]
        jaw = space.tube(arch, [radius] * len(arch))
        body.paint(jaw, "compact bone")
        body.paint(jaw + 2.4, "spongy bone" if rng.random() < 0.6 else "yellow marrow")
        if z < -90:
            for s in (-1, 1):
                ramus = space.tube(
                    [
                        (s * 35 * size, -68 * size, -94 * size),
                        (s * 46 * size, -28 * size, -84 * size),
                        (s * 50 * size, -12 * size, -44 * size),
                    ],
                    [7.5, 7.0, 6.0],
                )
                body.paint(ramus, "compact bone")
                body.paint(ramus + 2.6, "spongy bone")
        away = 1 if z < -90 else -1
        for a in np.linspace(-1.15, 1.15, 14):
            if rng.random() < 0.06:
                continue
            root = np.array([32 * size * np.sin(a) * 1.1, (-52 - 38 * np.cos(a)) * size, z * size])
            crown = root + np.array((0, 0, away * 13))
            body.paint(space.tube([root, crown], [2.2, 3.9]), "tooth")
            if rng.random() < body.dental:
                body.paint(space.blob(crown, (3, 3, 3)), "filling")
                body.fillings += 1


def _spine(body: Body, size: float) -> None:
    space, rng = body.space, body.space.rng
    lean = rng.normal(0, 4)
    for number in range(4):
        z = (-72 - 19 * number) * size
        y = (14 + 1.2 * number) * size + lean * number / 3
        centre = space.blob((0, y, z), (13 * size, 9.5 * size, 7.6 * size), 0.05)
        ring = space.tube(
            [
                (s * 11 * size * np.sin(a), y + 17 * size - 15 * size * np.cos(a), z)
                for s in (1,)
                for a in np.linspace(0.5, 2 * np.pi - 0.5, 10)
            ],
            [4.2] * 10,
        )
        spur = space.tube([(0, y + 32 * size, z), (0, y + 50 * size, z - 8)], [4, 3])
        sides = [space.tube([(s * 11 * size, y + 6, z), (s * 27 * size, y + 8, z)], [5, 4]) for s in (-1, 1)]
        for part in (centre, ring, spur, *sides):
            body.paint(part, "compact bone")
            body.paint(part + 1.5, "red marrow" if rng.random() < 0.5 else "spongy bone")
        body.paint(space.blob((0, y, z - 9.5 * size), (12 * size, 9 * size, 2.4), 0.03), "cartilage")
    canal = space.tube([(0, 30 * size + lean * 0.2, -60 * size), (0, 33 * size + lean, -170)], [8.5, 8.2])
    body.paint(canal, "cerebrospinal fluid")
    body.paint(canal + 3, "white matter")


def _airways(body: Body, size: float) -> None:
    space, rng = body.space, body.space.rng
    wide = rng.uniform(5, 9)
    throat = space.tube(
        [(0, -44 * size, -56 * size), (0, -14 * size, -68 * size), (0, -10 * size, -110 * size), (0, -16 * size, -170)],
        [wide, wide * 0.9, wide, wide * 1.1],
    )
    body.paint(throat - 2.4, "mucosa", only=("muscle", "fat"))
    body.paint(throat, "air")
    if rng.random() < 0.5:
        body.paint(
            space.blob((0, -58 * size, -66 * size), (24 * size, 22 * size, rng.uniform(1.5, 4)), 0.1),
            "air",
            only=("muscle", "mucosa", "fat"),
        )
    ring = space.blob((0, -16 * size, -140 * size), (20, 20, 14))
    body.paint(np.maximum(ring, -(throat - 4)), "cartilage", only=("muscle", "fat"))
