"""The intake profile of a model that phantoms taught: what they look like as whole MRs of any sequence.

A site's model knows the MRs of its site. A shipped model has none: it accepts what its training pairs looked like. So
phantoms of wide proportions are imaged like those pairs, prepared like a user's MR, and measured.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from creps.intake.features import Features, features_of
from creps.intake.image_checks import CUT_BOTH_REFUSAL, cut_slices
from creps.intake.profile import IntakeProfile, profile_from
from creps.phantom import REGIONS
from creps.phantom.tissue_map import grow_tissue_map
from creps.preprocessing.preparation import prepare_mr
from creps.regions import part_of_body
from creps.settings import PreparationSettings
from creps.training.simulation.people import Person
from creps.training.simulation.phantoms import imaged
from creps.training.simulation.postures import draw_places
from creps.training.simulation.scanner import scanned
from creps.volume import Volume

__all__ = ["phantom_profile"]

PEOPLE, VIEWS = 48, 2
"""Each person is imaged twice, with another sequence and field of view."""

SEED = 777003
"""Keeps these people apart from those that models are trained and scored on."""

ENDS_AT = {"head": (0.0, 0.45), "pelvis": (0.0, 0.3)}
"""Share of the height that the field of view may leave out below: heads are scanned with and without a neck."""

HIP_WIDTH = (0.4, 0.65)
"""Share of the width in the second view of a pelvis: one hip, cut through the middle of the body."""

SCANNER_UNITS = 1000.0

FOUND = (0.9, 1.1)
"""Volume of the body that was found over the true one; an image in which it was not found is left out."""


@dataclass(frozen=True)
class _Job:
    number: int
    region: str
    preparation: PreparationSettings


def phantom_profile(preparation: PreparationSettings, *, people: int = PEOPLE, jobs: int = 2) -> IntakeProfile:
    """Grow, image and measure phantoms.

    Args:
        preparation: Of the model.
        people: How many.
        jobs: Processes.
    """
    region = part_of_body(preparation.region)
    work = [_Job(number, region, preparation) for number in range(people)]
    with ProcessPoolExecutor(jobs) as pool:
        rows = [row for rows in pool.map(_measured, work) for row in rows]
    return profile_from([row[:2] for row in rows], cut_share=float(np.mean([row[2] for row in rows])))


def _measured(job: _Job) -> list[tuple[Features, str, bool]]:
    """For each image of a person: features, who it is, and whether the field of view cuts the body badly."""
    kind, spacing = REGIONS[job.region], job.preparation.spacing_mm
    tissues = grow_tissue_map(kind, [SEED, job.number], spacing, wide=job.number % 2 == 1)
    person, rows = Person.of(tissues), []
    for view in range(VIEWS):
        rng = np.random.default_rng([SEED, job.number, view])
        size = tissues.shape
        middle = (np.array(size) - 1) / 2
        places = draw_places(size, middle, spacing, rng, range_of_scale=(1.0, 1.0))
        signal, _, body = imaged(person, places, rng)
        mr = scanned(signal, body, spacing, rng, outside=True)
        low = int(size[0] * rng.uniform(*ENDS_AT[job.region]))
        width = int(size[2] * rng.uniform(*HIP_WIDTH)) if job.region == "pelvis" and view == 1 else size[2]
        seen = slice(0, width) if rng.random() < 0.5 else slice(size[2] - width, None)
        shown = Volume(SCANNER_UNITS * mr[low:, :, seen], spacing)
        prepared = prepare_mr(shown, job.preparation, f"phantom {job.number}")
        found = float(prepared.body.mean() / max(body[low:, :, seen].mean(), 1e-6))
        if not FOUND[0] <= found <= FOUND[1]:
            continue
        features = features_of(prepared.array, prepared.body, prepared.grid.spacing_mm)
        cuts = cut_slices(prepared.body, prepared.grid.spacing_mm)
        cut = max(cuts.share(cuts.both), cuts.share(cuts.half)) >= CUT_BOTH_REFUSAL
        rows.append((features, str(job.number), cut))
    return rows
