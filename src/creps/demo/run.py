"""``creps demo``: train and synthesize on the embedded phantom cohort, with known truth and baselines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from creps.api import load
from creps.cohort.cohort import Cohort
from creps.cohort.prepare import prepare
from creps.demo.baselines import unpaired_baselines
from creps.figures import BONE_WINDOW_HU, Panel, comparison_figure, mr_window
from creps.io.atomic import atomic_file, write_json
from creps.io.itk import read_volume, write_volume
from creps.io.outputs import check_new
from creps.io.picture import write_picture
from creps.metrics.image import mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import bone_dice
from creps.phantom import write_cohort
from creps.provenance import NOTICE, provenance
from creps.settings import load_settings
from creps.training.run.train import train
from creps.volume import Array, Mask, Volume

__all__ = ["DemoResult", "run_demo"]

log = logging.getLogger(__name__)

PRESETS = {"head": "demo", "pelvis": "demo-pelvis"}
SHIPPED_MODELS = {"head": "model"}
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
class Patient:
    """A held-out phantom with its truth."""

    name: str
    mr: Volume
    ct: Volume
    ct_noise_free: Volume
    body: Mask


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo.

    Attributes:
        region: Of the phantoms.
        scores: Method → mean over the test patients of MAE, bias and bone Dice in the body.
        picture: The comparison of MR, sCTs and true CT.
    """

    region: str
    scores: dict[str, dict[str, float]]
    picture: Path


def run_demo(
    folder: Path,
    *,
    cohort: DemoCohort | None = None,
    overrides: dict[str, Any] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> DemoResult:
    """Write the phantom cohort, train, synthesize held-out phantoms, score, draw.

    Args:
        folder: Where everything goes; must not exist.
        cohort: Which region, how many phantoms, how fine, which seed; default: heads.
        overrides: Settings to change, such as ``{"training.steps": 10}``.
        progress: Called with (done, all, name) while phantoms are written and prepared.

    Raises:
        CrepsError: `folder` is there already, or a setting is wrong.
    """
    check_new(folder, "Name another folder, or delete this one first.")
    cohort = cohort or DemoCohort()
    preset, changes = PRESETS[cohort.region], overrides or {}
    settings = load_settings(preset, overrides=changes)
    log.info("writing phantom patients with known truth: %s", cohort.region)
    write_cohort(folder / "phantom", progress=progress, **asdict(cohort))
    training_folder = folder / "phantom" / "train"
    log.info("preparing MR and CT of different patients")
    prepared = prepare(training_folder, folder / "cohort", settings=settings, progress=progress)
    log.info("training recipe %s (preset %s)", settings.recipe, preset)
    started = time.perf_counter()
    models = {f"recipe {settings.recipe}": train(prepared, folder / "runs" / settings.recipe, settings)}
    log.info("trained in %.0f s", time.perf_counter() - started)
    shipped = shipped_model(cohort.region)
    if shipped is not None:
        models["shipped model"] = shipped
    patients = _test_patients(folder / "phantom" / "test")
    scts = {name: _synthesize_all(model, patients, folder / "sct", name) for name, model in models.items()}
    results = {**_baselines(patients, prepared), **scts}
    scores = {name: _mean_scores(patients, arrays) for name, arrays in results.items()}
    _write_results(folder, cohort.region, scores, len(patients))
    return DemoResult(cohort.region, scores, _draw(folder, patients, scts))


def shipped_model(region: str = "head") -> Path | None:
    """The small model of a region that ships with creps: the benchmark's, twenty minutes of the recipe anatomy."""
    path = Path(str(resources.files("creps.demo") / SHIPPED_MODELS.get(region, "no model")))
    return path if path.is_dir() else None


def score_table(scores: dict[str, dict[str, float]]) -> str:
    """The scores as a table of text."""
    lines = [f"{'in the body, against the noise-free truth':<42}{'MAE (HU)':>10}{'bias (HU)':>11}{'bone Dice':>11}"]
    lines += [
        f"{name:<42}{row['mae_hu']:>10.1f}{row['bias_hu']:>11.1f}{row['bone_dice']:>11.3f}"
        for name, row in scores.items()
    ]
    return "\n".join(lines)


def _test_patients(folder: Path) -> list[Patient]:
    patients = []
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        mr, ct, clean, mask = (read_volume(case / f"{name}.nii.gz") for name in ("mr", "ct", "ct_noise_free", "mask"))
        patients.append(Patient(case.name, mr, ct, clean, mask.array > 0))
    return patients


def _synthesize_all(model_folder: Path, patients: list[Patient], folder: Path, method: str) -> list[Array]:
    model = load(model_folder)
    arrays = []
    for patient in patients:
        result = model.synthesize(patient.mr)
        path = folder / method.replace(" ", "_").replace("'", "") / f"{patient.name}_sct.nii.gz"
        write_volume(result.sct, path, integer=True)
        write_json(path.with_name(f"{patient.name}_sct.json"), result.record)
        arrays.append(result.sct.array)
    return arrays


def _baselines(patients: list[Patient], cohort: Cohort) -> dict[str, list[Array]]:
    """Baselines without a network: water, the MR with the CTs' histogram, and the guess by contrast and depth."""
    return {
        name: [baseline(patient.mr, patient.body).array for patient in patients]
        for name, baseline in unpaired_baselines(cohort).items()
    }


def _mean_scores(patients: list[Patient], arrays: list[Array]) -> dict[str, float]:
    rows = [
        {
            "mae_hu": mean_absolute_error_hu(patient.ct_noise_free.array, array, patient.body),
            "mae_noisy_hu": mean_absolute_error_hu(patient.ct.array, array, patient.body),
            "bias_hu": mean_error_hu(patient.ct_noise_free.array, array, patient.body),
            "bone_dice": bone_dice(patient.ct_noise_free.array, array, patient.body),
        }
        for patient, array in zip(patients, arrays, strict=True)
    ]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _write_results(folder: Path, region: str, scores: dict[str, dict[str, float]], patients: int) -> None:
    write_json(folder / "scores.json", {**provenance(), "region": region, "test_patients": patients, "scores": scores})
    with atomic_file(folder / "scores.txt") as path:
        path.write_text(f"{NOTICE}\n\n{score_table(scores)}\n", encoding="utf-8")


def _draw(folder: Path, patients: list[Patient], scts: dict[str, list[Array]]) -> Path:
    rows = []
    for i, patient in enumerate(patients[:PICTURED]):
        panels = [Panel(patient.mr, "MR (input)", mr_window(patient.mr))]
        panels += [Panel(patient.mr.with_array(a[i]), f"sCT, {name}", BONE_WINDOW_HU) for name, a in scts.items()]
        panels.append(Panel(patient.ct, "true CT (never seen)", BONE_WINDOW_HU))
        rows.append(panels)
    path = folder / "demo.png"
    write_picture(comparison_figure(rows, "Held-out digital phantoms, trained without pairs"), path)
    return path
