"""``creps demo --full``: train from scratch on the embedded phantom cohort, with known truth and baselines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from creps.api import load
from creps.cohort.cohort import Cohort
from creps.cohort.prepare import prepare
from creps.demo.baselines import unpaired_baselines
from creps.demo.patients import Patient, Row, mean_scores, read_patients, score_table, synthesize_all, write_scores
from creps.demo.pictures import draw, panels_of
from creps.io.outputs import check_new
from creps.phantom import write_cohort
from creps.provenance import installed_version
from creps.settings import load_settings
from creps.settings.recipes import DEFAULT_RECIPE
from creps.shipped.catalogue import shipped_names
from creps.training.run.train import train
from creps.volume import Array

__all__ = ["DemoCohort", "DemoResult", "run_demo", "usable_recipes"]

log = logging.getLogger(__name__)

PRESETS = {"head": "demo", "pelvis": "demo-pelvis"}
PICTURED = 2


@dataclass(frozen=True)
class DemoCohort:
    """The demo's phantom cohort."""

    region: str = "head"
    mr_patients: int = 12
    ct_patients: int = 12
    test_patients: int = 4
    spacing_mm: float = 2.0
    seed: int = 0


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo.

    Attributes:
        region: Of the phantoms.
        scores: Method → mean over the test patients of MAE, bias and bone Dice in the body.
        picture: The comparison of MR, sCTs and true CT.
    """

    region: str
    scores: dict[str, Row]
    picture: Path


def run_demo(
    folder: Path,
    *,
    cohort: DemoCohort | None = None,
    overrides: dict[str, Any] | None = None,
    recipes: Sequence[str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> DemoResult:
    """Write the phantom cohort, train each recipe, synthesize held-out phantoms, score, draw.

    Args:
        folder: Where everything goes; must not exist.
        cohort: Which region, how many phantoms, how fine, which seed; default: heads.
        overrides: Settings to change, such as ``{"training.steps": 10}``.
        recipes: Which to train; None: `usable_recipes`.
        progress: Called with (done, all, name) while phantoms are written and prepared.

    Raises:
        CrepsError: `folder` is there already, or a setting is wrong.
    """
    check_new(folder, "Name another folder, or delete this one first.")
    cohort = cohort or DemoCohort()
    preset, changes, recipes = PRESETS[cohort.region], overrides or {}, recipes or usable_recipes()
    settings = load_settings(preset, overrides=changes)
    log.info("writing phantom patients with known truth: %s", cohort.region)
    write_cohort(folder / "phantom", progress=progress, **asdict(cohort))
    training_folder = folder / "phantom" / "train"
    log.info("preparing MR and CT of different patients")
    prepared = prepare(training_folder, folder / "cohort", settings=settings, progress=progress)
    started = time.perf_counter()
    models: dict[str, Path | str] = {}
    for recipe in recipes:
        log.info("training recipe %s (preset %s)", recipe, preset)
        chosen = load_settings(preset, overrides=changes, prepared=settings, recipe=recipe)
        models[f"recipe {recipe}"] = train(prepared, folder / "runs" / recipe, chosen)
    log.info("trained in %.0f s", time.perf_counter() - started)
    if cohort.region in shipped_names():
        models["shipped model"] = cohort.region
    patients = read_patients(sorted(path for path in (folder / "phantom" / "test").iterdir() if path.is_dir()))
    scts = {name: _synthesized(model, patients, folder / "sct", name) for name, model in models.items()}
    results = {**_baselines(patients, prepared), **scts}
    scores = {name: mean_scores(patients, arrays) for name, arrays in results.items()}
    document = {"region": cohort.region, "test_patients": len(patients), "scores": scores}
    write_scores(folder, document, score_table(scores))
    return DemoResult(cohort.region, scores, _draw(folder, patients, scts))


def usable_recipes() -> tuple[str, ...]:
    """The recipes to compare: the default, and the paper's if its perceptual network can be built."""
    if installed_version("torchvision") is not None:
        return (DEFAULT_RECIPE, "paper")
    log.warning("recipe paper is left out: it needs torchvision, pip install 'creps[paper]'")
    return (DEFAULT_RECIPE,)


def _synthesized(model: Path | str, patients: list[Patient], folder: Path, method: str) -> list[Array]:
    syntheses = synthesize_all(load(model), patients, folder / method.replace(" ", "_"), force=True)
    return [synthesis.sct.array for synthesis in syntheses]


def _baselines(patients: list[Patient], cohort: Cohort) -> dict[str, list[Array]]:
    """Baselines without a network: water, the MR with the CTs' histogram, and the guess by contrast and depth."""
    return {
        name: [baseline(patient.mr, patient.body).array for patient in patients]
        for name, baseline in unpaired_baselines(cohort).items()
    }


def _draw(folder: Path, patients: list[Patient], scts: dict[str, list[Array]]) -> Path:
    rows = [
        panels_of(patient, {f"sCT, {name}": arrays[i] for name, arrays in scts.items()})
        for i, patient in enumerate(patients[:PICTURED])
    ]
    return draw(folder / "demo.png", rows, "Held-out digital phantoms, trained without pairs")
