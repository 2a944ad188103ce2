"""Adapt a model to three scanners that it has not seen, without pairs, and score it before and after.

::

    python -m benchmarks.adaptation --work W [--model head] [--steps 60] [--rate 2e-5] [--recipe NAME] [--set KEY=VALUE]
                                    [--data ../shared/data/head] [-o results.json]

Twelve held-out patients, four of each scanner of `creps.demo.scanners`. With ``--data``, the Dice with the label of the
skull of a real T1 head as well, before and after each adaptation. W may be reused: a scanner that is finished is read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.common.machine import machine
from benchmarks.real.heads import score as score_real_head
from creps.demo.adaptation import AdaptationOptions, adapt
from creps.demo.scanners import UNSEEN_SCANNERS, UnseenScanner, unseen_scanner
from creps.io.atomic import write_json
from creps.provenance import provenance
from creps.shipped.names import find_model

HERE = Path(__file__).parent

GAIN, LOSS = 0.05, 0.03
"""A patient gains from this share of its MAE on, and loses from this one on."""


def adapted(model: str, scanner: UnseenScanner, work: Path, options: AdaptationOptions) -> dict[str, Any]:
    """The record of one adaptation, computed or read; its model is in ``work/<scanner>/run/model``."""
    folder = work / scanner.name
    finished = folder / "adaptation.json"
    if not finished.is_file():
        write_json(finished, adapt(model, scanner, folder, options).record())
    record: dict[str, Any] = json.loads(finished.read_text(encoding="utf-8"))
    return record


def skull_dice(model: Path, data: Path) -> dict[str, float]:
    """Dice of bone with the skull's label, for each real head that has one."""
    dice = {}
    for label in sorted((data / "labels").glob("*_skull.nii.gz")):
        name = label.name.removesuffix("_skull.nii.gz")
        head, _, _ = score_real_head(model, data / "mr" / f"{name}.nii.gz", label)
        if head.skull_dice is not None:
            dice[name] = round(head.skull_dice, 4)
    return dice


def summary(records: list[dict[str, Any]]) -> dict[str, float]:
    """Over all patients of all scanners: mean MAE before and after, their ratio, the shares that gained and lost.

    Examples:
        >>> patient = {"before": {"mae_hu": 200.0}, "after": {"mae_hu": 150.0}}
        >>> summary([{"patients": {"a": patient}}])["mae_ratio"]
        0.75
    """
    rows = [patient for record in records for patient in record["patients"].values()]
    before, after = (float(np.mean([row[when]["mae_hu"] for row in rows])) for when in ("before", "after"))
    ratios = np.array([row["after"]["mae_hu"] / row["before"]["mae_hu"] for row in rows])
    return {
        "patients": len(rows),
        "mae_before_hu": before,
        "mae_after_hu": after,
        "mae_ratio": after / before,
        "gained": float(np.mean(ratios <= 1 - GAIN)),
        "lost": float(np.mean(ratios > 1 + LOSS)),
    }


def told(name: str, row: dict[str, float]) -> str:
    """A line of the table."""
    return (
        f"{name:<10}{row['mae_before_hu']:>8.1f}{row['mae_after_hu']:>8.1f}{row['mae_ratio']:>7.3f}"
        f"{row['gained']:>8.0%}{row['lost']:>7.0%}"
    )


def options_of(chosen: argparse.Namespace) -> AdaptationOptions:
    """The options of the adaptation, with values as YAML reads them."""
    overrides = {key: yaml.safe_load(value) for key, value in (pair.split("=", 1) for pair in chosen.set)}
    return AdaptationOptions(
        steps=chosen.steps,
        learning_rate=chosen.rate,
        recipe=chosen.recipe,
        test_patients=chosen.patients,
        overrides=overrides,
    )


def main() -> None:
    """Adapt, score, print, write."""
    usual = AdaptationOptions()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="head")
    parser.add_argument("--work", type=Path, required=True, help="patients, cohorts and runs go here")
    parser.add_argument("--scanners", nargs="+", default=[scanner.name for scanner in UNSEEN_SCANNERS])
    parser.add_argument("--patients", type=int, default=4, help="held-out patients of each scanner")
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--rate", type=float, default=usual.learning_rate)
    parser.add_argument("--recipe", default=usual.recipe)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="more settings of the training")
    parser.add_argument("--data", type=Path, help="real heads: mr/ and labels/")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results.json")
    chosen = parser.parse_args()
    options = options_of(chosen)
    records, real = [], {}
    if chosen.data is not None:
        real["before"] = skull_dice(find_model(chosen.model), chosen.data)
    print(f"{'scanner':<10}{'before':>8}{'after':>8}{'ratio':>7}{'gained':>8}{'lost':>7}  (MAE in HU)")
    for name in chosen.scanners:
        records.append(adapted(chosen.model, unseen_scanner(name), chosen.work, options))
        print(told(name, summary(records[-1:])), flush=True)
        if chosen.data is not None:
            real[name] = skull_dice(chosen.work / name / "run" / "model", chosen.data)
            print(f"real skull Dice: {real['before']} before, {real[name]} after", flush=True)
    print(told("all", summary(records)))
    chosen_options = {**vars(options), "overrides": dict(options.overrides)}
    document = {"model": chosen.model, "options": chosen_options, "summary": summary(records), "scanners": records}
    write_json(chosen.output, {**provenance(), "machine": machine(), **document, "real_skull_dice": real})


if __name__ == "__main__":
    main()
