"""Make a trained model one that ships with creps: small weights, scores, an intake profile, a card, hashes.

::

    python -m benchmarks.shipping.ship RUN/model NAME --cohort COHORT --phantoms PHANTOMS [PHANTOMS ...]
        [--unseen COHORT] [--real DATA]
    python -m benchmarks.shipping.ship MODEL NAME --gpu-job OUT/results.json [--unseen COHORT] [--real DATA]

It refuses a model that has seen anything but phantoms. A shipped model of that name is replaced. The scores belong to
the weights as they are stored.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from benchmarks.shipping.card import model_card
from benchmarks.shipping.evidence import on_real_scans, on_unseen_family
from benchmarks.shipping.intake import PEOPLE, phantom_profile
from benchmarks.shipping.origin import check_origin
from benchmarks.shipping.scores import scored
from creps.io.atomic import atomic_folder, write_json
from creps.model import Model, save_model
from creps.shipped.catalogue import CARD, SCORES, SHIPPED, write_sums

__all__ = ["ship"]

OF_THE_RUN = ("record.json", "settings.yaml")
"""Files of the run, beside the model's folder, that go with it."""


def ship(
    model_folder: Path,
    name: str,
    *,
    trained_on: str,
    patients: int,
    profiled: int = PEOPLE,
    unseen: Path | None = None,
    real: Path | None = None,
    into: Path = SHIPPED,
) -> Path:
    """Write the folder of a shipped model and the hashes of all of them.

    Args:
        model_folder: The model of a finished run.
        name: What it ships as.
        trained_on: A phrase for its card, from `check_origin`.
        patients: Held-out phantoms to score it on.
        profiled: Phantoms that its intake profile is measured on.
        unseen: A cohort of the unseen family to score it on.
        real: Folder of real scans to score it on; only figures of them are kept.
        into: Holds the folders of the shipped models.

    Returns:
        The folder.

    Raises:
        ModelError: `model_folder` is not a model.
    """
    model = Model.load(model_folder)
    parameters = sum(parameter.numel() for parameter in model.generator.parameters())
    folder = into / name
    with atomic_folder(folder) as temporary:
        profile = phantom_profile(model.plan.preparation, people=profiled)
        plan = model.plan.model_copy(update={"intake": profile})
        plan = save_model(temporary, dict(model.generator.state_dict()), plan, small=True)
        for file in OF_THE_RUN:
            source = next(
                (place / file for place in (model_folder, model_folder.parent) if (place / file).is_file()), None
            )
            if source is not None:
                shutil.copyfile(source, temporary / file)
        scores = scored(temporary, name, patients)
        if unseen is not None:
            scores["unseen_family"] = on_unseen_family(temporary, unseen)
        if real is not None:
            scores["real_scans"] = on_real_scans(temporary, model.plan.preparation.region, real)
        write_json(temporary / SCORES, scores)
        card = model_card(name, plan, scores, trained_on=trained_on, parameters=parameters)
        (temporary / CARD).write_text(card, encoding="utf-8", newline="\n")
    write_sums(into)
    return folder


def main() -> None:
    """Check, ship, and say what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("name")
    parser.add_argument("--cohort", type=Path, help="what the model was trained on; none if it needed none")
    parser.add_argument("--phantoms", type=Path, nargs="+", default=[], help="folders that 'creps phantom' wrote")
    parser.add_argument("--gpu-job", type=Path, help="results.json of benchmarks.gpu, whose model it is")
    parser.add_argument("--before", type=Path, nargs="*", default=[], help="what it was started from, first one first")
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--unseen", type=Path, help="a cohort of the unseen family")
    parser.add_argument("--real", type=Path, help="folder of real scans with head/ and pelvis/")
    options = parser.parse_args()
    before = [Model.load(folder).plan for folder in options.before]
    trained_on = check_origin(Model.load(options.model).plan, options.cohort, options.phantoms, options.gpu_job, before)
    folder = ship(
        options.model,
        options.name,
        trained_on=trained_on,
        patients=options.patients,
        unseen=options.unseen,
        real=options.real,
    )
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB")
    print((folder / CARD).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
