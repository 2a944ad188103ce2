"""Tissue levels with which phantoms look like the site's MRs (not in the paper).

A sequence drawn at random is rarely the site's. Which ones are is told by unpaired statistics alone: the quantiles of
the signal at several depths below the skin, which the intake profile knows of every training MR. Sequences are drawn
and drawn anew around the best of them, and those with the nearest quantiles are kept (approximate Bayesian
computation by population Monte Carlo: Beaumont et al. 2009, Biometrika 96:983).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from creps.intake.features import QUANTILES, Coarse
from creps.intake.profile import IntakeProfile, distances, level_aside
from creps.phantom import TISSUES
from creps.phantom.painting.tissues import TISSUE_ID
from creps.preprocessing.intensity import MR_RANGE_NETWORK
from creps.training.simulation.people import Person
from creps.training.simulation.sequences import draw_levels

__all__ = ["Levels", "fit_levels", "relative_levels", "shaken"]

log = logging.getLogger(__name__)

Levels = dict[str, float]
"""Tissue → signal."""

Rows = npt.NDArray[np.float64]

PEOPLE = 4
"""Phantoms that sequences are tried on."""

POINTS = 1200
"""Blocks of about 4 mm in each layer of a phantom."""

DRAWN, REDRAWN, ROUNDS = 1500, 600, 2
"""Sequences at first, and in each further round."""

KEPT, AT_LEAST = 24, 3
"""Sequences that are kept, divided among the MRs, and for each MR at least."""

LEVEL_SD = 0.06
"""Standard deviation of the log of a tissue's level in a further round, and each time that it is used."""

BRIGHT_SHARE = 0.005
"""Of a body this share is brighter than the top of the range, as with `preparation.mr_scale` auto."""

TOP = 0.85 * MR_RANGE_NETWORK[1]
"""What that brightness becomes, in network units."""


def relative_levels(levels: Levels, volumes: dict[str, float]) -> Levels:
    """Levels in network units: `BRIGHT_SHARE` of a body is brighter than `TOP`.

    Args:
        levels: Tissue → signal in any unit.
        volumes: Voxels of each tissue in the body.
    """
    top = _bright(levels, volumes)
    return {name: level / top * TOP for name, level in levels.items()}


def fit_levels(profile: IntakeProfile, people: Sequence[Person], rng: np.random.Generator) -> tuple[Levels, ...]:
    """Levels that make phantoms like the training MRs; the same for the same arguments.

    Args:
        profile: Of the training MRs.
        people: Phantoms; the first `PEOPLE` are used.
        rng: Source of all draws.

    Returns:
        About `KEPT` sets of levels, in any unit.
    """
    views = [_View(person) for person in people[:PEOPLE]]
    wanted = level_aside(np.array([case.contrast for case in profile.cases]))
    each = max(AT_LEAST, KEPT // len(wanted))
    tried: list[Levels] = [draw_levels(rng) for _ in range(DRAWN)]
    off = _off(tried, views, wanted)
    usual = float(np.median(off))
    for number in range(ROUNDS + 1):
        best = _best(off, each)
        if number == ROUNDS:
            break
        parents = [tried[place] for place in best]
        redrawn = [shaken(parents[int(rng.integers(len(parents)))], rng) for _ in range(REDRAWN)]
        tried, off = [*parents, *redrawn], np.concatenate([off[best], _off(redrawn, views, wanted)])
    log.info(
        "tissue levels fitted to %d training MRs: %d sets, %.2f off in network units (any sequence: %.2f)",
        *(len(wanted), len(best), float(np.sort(off, axis=0)[:each].mean()), usual),
    )
    return tuple(tried[place] for place in best)


def shaken(levels: Levels, rng: np.random.Generator) -> Levels:
    """The same sequence in another patient: every tissue a little off."""
    return {name: level * float(np.exp(LEVEL_SD * rng.standard_normal())) for name, level in levels.items()}


class _View:
    """What a phantom is made of in blocks of each layer, so that any sequence can be tried quickly.

    Args:
        person: The phantom.
    """

    def __init__(self, person: Person) -> None:
        tissues = person.tissues
        coarse = Coarse.of(tissues.body.astype(np.float32), tissues.body, tissues.spacing_mm)
        factors = [round(step / own) for step, own in zip(coarse.spacing_mm, tissues.spacing_mm, strict=True)]
        rng = np.random.default_rng(0)
        self.volumes = person.volumes
        self.layers: list[Rows] = []
        for layer in coarse.layers():
            blocks = np.argwhere(layer)
            chosen = rng.permutation(len(blocks))[:POINTS]
            self.layers.append(_fractions(person, blocks[chosen], factors))

    def contrast(self, levels: Rows) -> Rows:
        """(candidates, layers × quantiles) signal in network units, of (candidates, tissues) levels."""
        rows: list[Rows] = []
        for fractions in self.layers:
            rows.append(np.percentile(fractions @ levels.T, QUANTILES, axis=0).T if len(fractions) else rows[-1])
        return np.concatenate(rows, axis=1)


def _fractions(person: Person, blocks: npt.NDArray[np.int64], factors: Sequence[int]) -> Rows:
    """(blocks, tissues) mean tissue fractions of the body's voxels in each block."""
    tissues = person.tissues
    found = np.zeros((len(blocks), len(TISSUES)))
    rows = np.arange(len(blocks))
    for offset in np.ndindex(*factors):
        place = blocks * factors + offset
        within = (place < tissues.shape).all(axis=1)
        d, h, w = np.minimum(place, np.array(tissues.shape) - 1).T
        counts = within & tissues.body[d, h, w]
        shares = tissues.shares[:, d, h, w] / 255.0
        for ids, share in zip(tissues.tissues[:, d, h, w], (1 - shares.sum(axis=0), *shares), strict=True):
            np.add.at(found, (rows, ids), share * counts)
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9))


def _off(tried: Sequence[Levels], views: Sequence[_View], wanted: Rows) -> Rows:
    """(candidates, MRs) distance of each candidate, over all phantoms, from each MR."""
    off = np.zeros((len(tried), len(wanted)))
    for view in views:
        table = np.zeros((len(tried), len(TISSUES)))
        for row, levels in enumerate(tried):
            for name, level in relative_levels(levels, view.volumes).items():
                table[row, TISSUE_ID[name]] = level
        table[:, TISSUE_ID["air"]] = 0.0
        rows = level_aside(view.contrast(table))
        off += np.stack([distances(rows, one[None]) for one in wanted], axis=1) ** 2
    return np.asarray(np.sqrt(off / len(views)))


def _best(off: Rows, each: int) -> npt.NDArray[np.int64]:
    """Candidates that are nearest to some MR."""
    return np.asarray(np.unique(np.argsort(off, axis=0, kind="stable")[:each]))


def _bright(levels: Levels, volumes: dict[str, float]) -> float:
    """The level that `BRIGHT_SHARE` of the body exceeds."""
    order = sorted(((levels[name], n) for name, n in volumes.items()), reverse=True)
    left = BRIGHT_SHARE * sum(volumes.values())
    for level, n in order:
        left -= n
        if left < 0:
            return max(level, 1e-6)
    return max(order[0][0], 1e-6)
