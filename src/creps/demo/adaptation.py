"""Adapt a model to a scanner that it has not seen, from unpaired MR and CT, and measure what it gains."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from creps.api import load, prepare, train
from creps.demo.patients import Order, Patient, Row, grow_all, mean_row, read_patients, score, synthesize_all
from creps.demo.scanners import SPACING_MM, UnseenScanner
from creps.io.outputs import check_new
from creps.volume import Array

__all__ = ["AdaptationOptions", "Adapted", "adapt"]

log = logging.getLogger(__name__)

SAME_HU = 1.0
"""A patient whose MAE moves by less is neither better nor worse."""

MR, CT, TEST = 0, 1, 2
"""Kinds of people: each has its own numbers in the seeds."""


@dataclass(frozen=True)
class AdaptationOptions:
    """How a model is adapted, and on whom.

    Attributes:
        steps: Training steps.
        learning_rate: Of them; that of a training from scratch forgets what the model knows.
        recipe: Training method; None: the model's own.
        mr_patients: People with an MR of the new scanner, without a CT.
        ct_patients: Other people, with a CT.
        test_patients: Held-out people with an MR of the new scanner and its true CT.
        phantoms: `simulation.phantoms`: people that the recipe anatomy learns from, a few seconds each to grow.
        overrides: More settings, such as ``{"simulation.phantom_share": 0.2}``.
    """

    steps: int = 60
    learning_rate: float = 2e-5
    recipe: str | None = None
    mr_patients: int = 4
    ct_patients: int = 4
    test_patients: int = 2
    phantoms: int = 6
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """The settings of the training that differ from the model's."""
        return {
            "training.steps": self.steps,
            "training.learning_rate": self.learning_rate,
            "training.validate_every": self.steps,
            "training.checkpoint_every": self.steps,
            "training.keep_checkpoints": 1,
            "training.log_every": max(1, self.steps // 4),
            "training.model": "last",
            "simulation.phantoms": self.phantoms,
            **self.overrides,
        }


@dataclass(frozen=True, eq=False)
class Adapted:
    """What adapting a model to a scanner gave.

    Attributes:
        scanner: Its name.
        model: Folder of the adapted model.
        patients: The held-out patients.
        scts_hu: The sCTs before and after, each (D, H, W) in HU on the grid of its MR.
        before: Scores of each held-out patient with the model as it was.
        after: The same with the adapted one.
        intake: Result of the intake checks for each held-out MR with the model as it was.
        seconds: Duration of preparation and training.
    """

    scanner: str
    model: Path
    patients: list[Patient]
    scts_hu: tuple[list[Array], list[Array]]
    before: list[Row]
    after: list[Row]
    intake: list[str]
    seconds: float

    def record(self) -> dict[str, Any]:
        """Means, ratio, and the share of patients that got better or worse, as plain JSON values."""
        errors = np.array([[row["mae_hu"] for row in rows] for rows in (self.before, self.after)])
        gain = errors[0] - errors[1]
        return {
            "scanner": self.scanner,
            "before": mean_row(self.before),
            "after": mean_row(self.after),
            "mae_ratio": float(errors[1].mean() / errors[0].mean()),
            "better": float(np.mean(gain > SAME_HU)),
            "worse": float(np.mean(gain < -SAME_HU)),
            "patients": {
                patient.name: {"before": before, "after": after, "intake": intake}
                for patient, before, after, intake in zip(
                    self.patients, self.before, self.after, self.intake, strict=True
                )
            },
            "seconds": round(self.seconds, 1),
        }


def adapt(
    model: Path | str,
    scanner: UnseenScanner,
    folder: Path,
    options: AdaptationOptions | None = None,
    *,
    jobs: int | None = None,
) -> Adapted:
    """Grow a scanner's patients, adapt a model to it without pairs, and compare before with after.

    Args:
        model: Shipped name or folder of a model of the head.
        scanner: One that it has not seen.
        folder: Where patients, cohort, run and sCTs go; must not exist.
        options: Length, rate, recipe and numbers of people.
        jobs: Processes that grow people; None: one for each core.

    Returns:
        Scores of the held-out patients before and after.

    Raises:
        OutputExistsError: `folder` is there already.
        CrepsError: the model cannot be used or a setting is wrong.
    """
    check_new(folder, "Name another folder, or delete this one first.")
    options = options or AdaptationOptions()
    before = load(model)
    log.info("growing the patients of scanner %s: %s", scanner.name, _protocol(scanner))
    patients = _people(folder, before.plan.preparation.region, scanner, options, jobs)
    started = time.perf_counter()
    cohort = prepare(folder / "patients" / "train", folder / "cohort", model=model)
    adapted = train(cohort, folder / "run", recipe=options.recipe, overrides=options.settings(), model=model)
    seconds = time.perf_counter() - started
    log.info("adapted in %.0f s: %d steps, no pairs", seconds, options.steps)
    # the intake checks may refuse a scanner that the model has not seen: that is recorded, and both models are scored
    syntheses = {
        when: synthesize_all(one, patients, folder / "sct" / when, force=True)
        for when, one in (("before", before), ("after", adapted))
    }
    scts = {when: [one.sct.array for one in results] for when, results in syntheses.items()}
    rows = {when: [score(*pair) for pair in zip(patients, arrays, strict=True)] for when, arrays in scts.items()}
    return Adapted(
        scanner.name,
        folder / "run" / "model",
        patients,
        (scts["before"], scts["after"]),
        rows["before"],
        rows["after"],
        [one.intake.verdict for one in syntheses["before"]],
        seconds,
    )


def _people(
    folder: Path, region: str, scanner: UnseenScanner, options: AdaptationOptions, jobs: int | None
) -> list[Patient]:
    """Grow people to train on, with an MR or a CT each, and held-out ones with both; return the latter."""
    train, test = folder / "patients" / "train", folder / "patients" / "test"
    counts = {MR: options.mr_patients, CT: options.ct_patients, TEST: options.test_patients}
    orders = [
        (train if kind != TEST else test, _order(region, scanner, kind, index))
        for kind, count in counts.items()
        for index in range(count)
    ]
    grown = grow_all(orders, jobs=jobs)
    return read_patients([path for path in grown if path.parent == test])


def _order(region: str, scanner: UnseenScanner, kind: int, index: int) -> Order:
    name = f"{scanner.name}-{('mr', 'ct', 'test')[kind]}{index + 1}"
    seed = (scanner.seed, kind, index)
    return Order(name, region, seed, SPACING_MM, index, scanner.centre, mr=kind != CT, ct=kind != MR)


def _protocol(scanner: UnseenScanner) -> str:
    """A scanner in a line."""
    centre = scanner.centre
    times = f"TR {centre.tr_ms:g}, TE {centre.te_ms:g}" + (f", TI {centre.ti_ms:g}" if centre.ti_ms else "")
    voxels = " x ".join(f"{part:g}" for part in scanner.voxel_mm)
    return f"{centre.sequence} at {centre.tesla:g} T, {times} ms, voxels of {voxels} mm"
