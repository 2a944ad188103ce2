"""Score a model on held-out phantoms of its region, for its card."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from creps.api import load
from creps.demo.baselines import constant_water
from creps.demo.patients import Order, Row, grow_all, mean_row, mean_scores, phantom_spacing_mm, read_patients, score
from creps.provenance import provenance

__all__ = ["SEED", "scored"]

SEED = 777002
"""Keeps these people apart from those of cohorts, of the demo and of the benchmarks."""


def scored(folder: Path, name: str, patients: int) -> dict[str, Any]:
    """The document ``scores.json`` of a model.

    Args:
        folder: The model, as it is stored.
        name: What it ships as.
        patients: How many phantoms; they come from the region's MR centres in turn.
    """
    model = load(folder)
    region, spacing_mm = model.plan.preparation.region, phantom_spacing_mm(model.plan.preparation.spacing_mm)
    orders = [Order(f"phantom{i:02}", region, (SEED, 2, i), spacing_mm, centre=i) for i in range(patients)]
    with tempfile.TemporaryDirectory() as work:
        people = read_patients(grow_all([(Path(work), order) for order in orders]))
    scts = [model.synthesize(person.mr, force=True).sct.array for person in people]
    water = [constant_water(person.mr, person.body).array for person in people]
    rows = [score(person, sct) for person, sct in zip(people, scts, strict=True)]
    means = {name: mean_row(rows), "constant water": mean_scores(people, water)}
    return {
        **provenance(),
        "weights_sha256": model.plan.weights_sha256,
        "phantoms": {"patients": patients, "seed": SEED, "spacing_mm": spacing_mm},
        "scores": {method: _short(row) for method, row in means.items()},
        "worst_mae_hu": round(float(np.max([row["mae_hu"] for row in rows])), 1),
        "cases": {person.name: _short(row) for person, row in zip(people, rows, strict=True)},
    }


def _short(row: Row) -> Row:
    return {name: round(value, 3 if name == "bone_dice" else 1) for name, value in row.items()}
