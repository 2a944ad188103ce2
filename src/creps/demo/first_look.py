"""``creps demo``: shipped models on held-out phantoms, and one of them adapted to a scanner that it has not seen."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from creps.api import load
from creps.demo.adaptation import SAME_HU, AdaptationOptions, Adapted, adapt
from creps.demo.baselines import constant_water
from creps.demo.patients import (
    Order,
    Row,
    grow_all,
    mean_scores,
    phantom_spacing_mm,
    read_patients,
    score_table,
    synthesize_all,
    write_scores,
)
from creps.demo.pictures import draw, panels_of
from creps.demo.scanners import UnseenScanner
from creps.errors import SettingsError
from creps.figures import Panel
from creps.io.outputs import check_new
from creps.regions import part_of_body
from creps.shipped.catalogue import ShippedModel, models

__all__ = ["FirstLook", "first_look", "models_of"]

log = logging.getLogger(__name__)

SEED = 777001
"""Keeps these people apart from those that shipped models were trained and scored on."""

ADAPTED = "head"
"""The region whose model is adapted."""


@dataclass(frozen=True)
class FirstLook:
    """Results of the first look.

    Attributes:
        scores: Method → mean scores over the held-out phantoms of its region.
        adapted: The adaptation; None if it was left out.
        pictures: MR, sCT and true CT; with an adaptation, the same before and after it.
        seconds: Duration of each part.
    """

    scores: dict[str, Row]
    adapted: Adapted | None
    pictures: list[Path]
    seconds: dict[str, float]

    def text(self) -> str:
        """Scores as tables."""
        tables = [score_table(self.scores)] + ([_adaptation_text(self.adapted)] if self.adapted is not None else [])
        return "\n\n".join(tables)


def models_of(region: str) -> list[ShippedModel]:
    """The shipped models of a region, or all.

    Args:
        region: ``head``, ``pelvis`` or ``both``.

    Raises:
        SettingsError: there is none.
    """
    found = [model for model in models() if region in ("both", part_of_body(model.region))]
    if not found:
        raise SettingsError(f"No model of the {region} ships with creps.", "Train one with creps demo --full.")
    return found


def first_look(
    folder: Path,
    shipped: Sequence[ShippedModel],
    scanner: UnseenScanner | None,
    *,
    seed: int = 0,
    patients: int = 2,
    options: AdaptationOptions | None = None,
    jobs: int | None = None,
) -> FirstLook:
    """Synthesize held-out phantoms with shipped models, score and draw them; adapt the model of heads to a scanner.

    Args:
        folder: Where everything goes; must not exist.
        shipped: Which models, see `models_of`.
        scanner: What to adapt to; None: leave the adaptation out. So does a `shipped` without a model of heads.
        seed: Of the phantoms.
        patients: Phantoms for each model.
        options: How to adapt.
        jobs: Processes that grow phantoms; None: one for each core.

    Returns:
        Scores, pictures and times, which are in `folder` too.

    Raises:
        OutputExistsError: `folder` is there already.
    """
    check_new(folder, "Name another folder, or delete this one first.")
    started = time.perf_counter()
    log.info("growing %d digital patients that no model has seen", patients * len(shipped))
    grow_all(
        [(folder / "patients" / model.name, one) for model in shipped for one in _orders(model, seed, patients)],
        jobs=jobs,
    )
    scores: dict[str, Row] = {}
    rows: list[list[Panel]] = []
    for model in shipped:
        people = read_patients(sorted((folder / "patients" / model.name).iterdir()))
        log.info("synthesizing %d MRs of the %s with the shipped model %s", len(people), model.region, model.name)
        results = synthesize_all(load(model.name), people, folder / "sct" / model.name, force=True)
        scts = [result.sct.array for result in results]
        water = [constant_water(person.mr, person.body).array for person in people]
        scores |= {
            f"{model.region}: constant water": mean_scores(people, water),
            f"{model.region}: shipped model {model.name}": mean_scores(people, scts),
        }
        rows += [panels_of(person, {"sCT": sct}) for person, sct in zip(people, scts, strict=True)]
    pictures = [draw(folder / "first-look.png", rows, "Held-out digital phantoms and shipped models")]
    seconds = {"first look": time.perf_counter() - started}
    log.info("first look: %.0f s", seconds["first look"])
    adapted = None
    heads = [model for model in shipped if part_of_body(model.region) == ADAPTED]
    if heads and scanner is not None:
        started = time.perf_counter()
        adapted = adapt(heads[0].name, scanner, folder / "adaptation", options, jobs=jobs)
        pictures.append(draw(folder / "adaptation.png", _before_and_after(adapted), f"Scanner {scanner.name}"))
        seconds["adaptation"] = time.perf_counter() - started
        log.info("adaptation: %.0f s", seconds["adaptation"])
    look = FirstLook(scores, adapted, pictures, seconds)
    _write(folder, look)
    return look


def _orders(model: ShippedModel, seed: int, patients: int) -> list[Order]:
    spacing_mm = phantom_spacing_mm(model.spacing_mm)
    names = (f"{model.name}{index + 1}" for index in range(patients))
    return [
        Order(name, model.region, (SEED, seed, index), spacing_mm, centre=index) for index, name in enumerate(names)
    ]


def _adaptation_text(adapted: Adapted) -> str:
    record = adapted.record()
    table = score_table({"before": record["before"], "after": record["after"]})
    refused = sum(verdict == "refused" for verdict in adapted.intake)
    text = f"scanner {adapted.scanner}, not seen before; adapted without pairs in {adapted.seconds:.0f} s\n{table}"
    if refused:
        text += f"\nthe intake checks refuse {refused} of its {len(adapted.intake)} MRs before"
    if record["after"]["mae_hu"] > record["before"]["mae_hu"] - SAME_HU:
        text += "\nnothing gained: the model knows scanners like this one. Adapt it where people or CTs differ more."
    return text


def _before_and_after(adapted: Adapted) -> list[list[Panel]]:
    before, after = adapted.scts_hu
    return [
        panels_of(person, {"sCT before": one, "sCT after": other})
        for person, one, other in zip(adapted.patients, before, after, strict=True)
    ]


def _write(folder: Path, look: FirstLook) -> None:
    adapted = None if look.adapted is None else look.adapted.record()
    document = {"scores": look.scores, "adaptation": adapted, "seconds": look.seconds}
    write_scores(folder, document, look.text())
