"""Bladder, rectum and the organs between them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from creps.phantom.draws import vary
from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.shapes import Point, Shape, both, cut, ellipsoid, grow, tilt, tube, union
from creps.phantom.pelvis.person import PelvisPerson

__all__ = ["PelvisDay", "draw_pelvis_day", "paint_organs"]


@dataclass(frozen=True)
class PelvisDay:
    """How bladder and rectum are filled on one day.

    Attributes:
        bladder_ml: Volume of the bladder, wall included.
        bladder_shift_mm: How far it lies off the middle, to the left.
        rectum_mm: Radius of the rectum's lumen.
        rectum_shift_mm: How far its middle lies to the left.
        rectum_swell: Radius at five places, bottom first, against the mean.
        rectal_gas: Share of the lumen's height that is gas, where there is gas.
        gas_z_mm: Lower and upper end of the gas.
    """

    bladder_ml: float = 180.0
    bladder_shift_mm: float = 0.0
    rectum_mm: float = 13.0
    rectum_shift_mm: float = 0.0
    rectum_swell: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    rectal_gas: float = 0.4
    gas_z_mm: tuple[float, float] = (0.0, 40.0)

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        return asdict(self)


def draw_pelvis_day(rng: np.random.Generator) -> PelvisDay:
    """Random filling: a full bladder and an empty rectum were asked for, and not always achieved."""
    return PelvisDay(
        bladder_ml=float(np.clip(190.0 * np.exp(vary(rng, 0.0, 0.45)), 75.0, 400.0)),
        bladder_shift_mm=vary(rng, 0.0, 2.5),
        rectum_mm=float(np.clip(13.0 * np.exp(vary(rng, 0.0, 0.22)), 9.5, 19.5)),
        rectum_shift_mm=vary(rng, 0.0, 4.0),
        rectum_swell=tuple(float(part) for part in rng.uniform(0.86, 1.14, 5)),
        rectal_gas=float(rng.uniform(0.2, 0.65)),
        gas_z_mm=(float(rng.uniform(-18.0, 14.0)), float(rng.uniform(24.0, 54.0))),
    )


def paint_organs(canvas: Canvas, person: PelvisPerson, day: PelvisDay) -> None:
    """Paint the organs of one day, from back to front."""
    _paint_rectum(canvas, day)
    if person.female:
        womb = _womb(person)
        _paint_bladder(canvas, day, (-20.0, -24.0), womb)
        _paint_female(canvas, person, womb)
    else:
        base = -14.0 + 10.0 * (person.prostate - 1.0)
        _paint_bladder(canvas, day, (-8.0, base), _prostate(person))
        _paint_male(canvas, person)


def _paint_rectum(canvas: Canvas, day: PelvisDay) -> None:
    """Anal canal, rectum with its content, and the gas that rises to the front."""
    swell, r, aside = day.rectum_swell, day.rectum_mm, day.rectum_shift_mm
    places: list[Point] = [
        (0, 46, -44),
        (0.5 * aside, 52 - 0.3 * (r - 13), -22),
        (aside, 60 - 0.35 * (r - 13), 2),
        (aside, 63 - 0.3 * (r - 13), 28),
        (0.6 * aside, 58, 52),
        (10, 44, 68),
    ]
    radii = [0.45 * r, 0.9 * r * swell[0], r * swell[1], r * swell[2], 0.9 * r * swell[3], 0.75 * r * swell[4]]
    lumen = tube(places, radii, (1.12, 1.0, 1.0))
    anus = tube([(0, 58, -92), (0, 50, -66), (0, 46, -44)], [9.0, 9.5, 9.0])
    canvas.paint("muscle", anus)
    canvas.paint("mucosa", tube([(0, 58, -92), (0, 50, -66), (0, 46, -46)], [3.5, 3.5, 4.0], (1.5, 0.8, 1)))
    canvas.paint("bowel wall", grow(lumen, 2.6 + 10.0 / r))
    canvas.paint("stool", lumen)
    heights = np.array([place[2] for place in places])
    middles = np.array([place[1] for place in places])
    level = 1.0 - 2.0 * day.rectal_gas
    low, high = day.gas_z_mm
    front = Shape(
        lambda p: np.asarray(
            p.y - np.interp(p.z, heights, middles) - np.interp(p.z, heights, radii) * -level, dtype=np.float32
        ),
        (-60, 0, low - 5),
        (60, 90, high + 5),
    )
    span = ellipsoid((aside, 58, (low + high) / 2), (40, 46, (high - low) / 2 + 4), power=3.0)
    canvas.paint("air", both(both(lumen, front), span))


def _paint_bladder(canvas: Canvas, day: PelvisDay, base: tuple[float, float], keep: Shape) -> None:
    """The bladder on its base (y, z), dented by what lies behind or below it."""
    r = float(np.cbrt(day.bladder_ml * 1000 / (4 / 3 * np.pi)))
    half = (1.16 * r, 0.96 * r, 0.90 * r)
    centre = (day.bladder_shift_mm, base[0] + 0.04 * r, base[1] + 0.94 * half[2])
    outside = cut(tilt(ellipsoid(centre, half, power=2.25), centre, 0.25), grow(keep, 1.5), 5.0)
    wall = 3.0 + 55.0 / r
    canvas.paint("bladder wall", outside)
    canvas.paint("urine", Shape(lambda p: outside.distance(p) + np.float32(wall - 1.5), outside.low, outside.high))


def _prostate(person: PelvisPerson) -> Shape:
    s = person.prostate
    return ellipsoid((0, 3, -28), (23.0 * s, 15.5 * s, 17.0 * s), power=2.2)


def _paint_male(canvas: Canvas, person: PelvisPerson) -> None:
    """Prostate with its zones, seminal vesicles, urethra and the root of the penis."""
    s = person.prostate
    vesicles = union(
        tube([(3, 20, -10), (14, 25, -5), (26, 27, 1)], [4.0, 5.5, 4.5]), tube([(4, 21, -12), (5, 23, -2)], [3.0, 3.0])
    )
    canvas.paint_pair("seminal vesicle", vesicles)
    gland = _prostate(person)
    canvas.paint("muscle", grow(gland, 1.2))
    canvas.paint("peripheral zone", gland)
    canvas.paint("prostate", ellipsoid((0, -1.5 * s, -24), (16.5 * s, 12.0 * s, 14.5 * s)))
    canvas.paint("mucosa", tube([(0, -2, -12), (0, 2, -28), (0, -1, -48)], [2.2, 2.2, 2.4]))
    canvas.paint("muscle", tube([(0, -1, -46), (0, -2, -56)], [6.0, 7.0]))
    canvas.paint("erectile tissue", tube([(0, 0, -64), (0, -24, -72), (0, -54, -64), (0, -78, -52)], [8, 7.5, 7, 7]))
    canvas.paint_pair(
        "erectile tissue", tube([(36, -2, -60), (20, -28, -54), (7, -52, -52), (6, -80, -50)], [5.0, 6.5, 6.5, 7.0])
    )


def _womb(person: PelvisPerson) -> Shape:
    s, lean = person.uterus, person.uterus_tilt_mm
    return union(
        tube([(0, 25, -4), (0, 25, 12)], [12.0 * s, 12.0 * s]),
        tube(
            [(0, 25, 12), (1, 22 - 0.5 * lean, 34), (2, 18 - lean, 52)], [11.0 * s, 18.0 * s, 22.0 * s], (1.15, 0.9, 1)
        ),
        blend=6.0,
    )


def _paint_female(canvas: Canvas, person: PelvisPerson, womb: Shape) -> None:
    """Vagina, uterus with its lining, ovaries and urethra."""
    lean = person.uterus_tilt_mm
    canvas.paint("bladder wall", tube([(0, 24, -6), (0, 22, -34), (0, 14, -72)], [8.5, 8.0, 7.0], (1.7, 0.75, 1)))
    canvas.paint("mucosa", tube([(0, 24, -8), (0, 22, -34), (0, 14, -72)], [4.0, 3.5, 3.0], (2.4, 0.6, 1)))
    canvas.paint("uterus", womb)
    lining = [(0.0, 25.0, 4.0), (1.0, 22 - 0.5 * lean, 34.0), (2.0, 19 - 0.9 * lean, 54.0)]
    canvas.paint("endometrium", tube(lining, [2.0, 3.0, 5.0], (1.6, 0.8, 1)))
    for side, (x, y, z) in ((1, (38.0, 22.0, 40.0)), (-1, (40.0, 18.0, 44.0))):
        canvas.paint("ovary", ellipsoid((x, y, z), (9, 11, 14)), side)
        canvas.paint("seminal vesicle", ellipsoid((x + 2, y - 3, z + 3), (3.5, 3.5, 3.5)), side)  # a follicle
    canvas.paint("muscle", tube([(0, -10, -22), (0, -12, -36), (0, -6, -66)], [6.0, 6.0, 5.5]))
    canvas.paint("mucosa", tube([(0, -10, -24), (0, -12, -36), (0, -6, -66)], [2.2, 2.2, 2.2]))
