"""Score models in terms of texture on the people of the unseen family, and draw one of them.

::

    python -m benchmarks.unseen.texture COHORT --model start=MODEL --model "with the CREPs loss=MODEL" \
        -o texture.json --picture texture.png

COHORT is what `benchmarks.unseen.cohort` wrote. An arm may be given several times, once for each seed. MAE, bone Dice
and HD95, sharpness of edges and histogram distance are inside the body, against the noise-free CT, on the MR's grid.
The picture has one slice: CT, then a model of each arm, with its difference to the CT below.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from creps import evaluate, load, read_volume
from creps.figures.picture import rendered
from creps.volume import Volume

METRICS = ("mae_hu", "bone_dice", "bone_hd95_mm", "edge_sharpness", "histogram_distance_hu")

WINDOW_HU, DIFFERENCE_HU = (-200.0, 1300.0), 400.0


def scored(model: Path, people: list[Path]) -> list[dict[str, Any]]:
    """A row for each person."""
    loaded, rows = load(model), []
    for person in people:
        sct = loaded.synthesize(person / "mr.nii.gz", force=True).sct
        values: Any = evaluate(sct, person / "ct_noise_free.nii.gz", mask=person / "mask.nii.gz").values
        rows.append({"case": person.name} | {name: round(values[name], 4) for name in METRICS})
    return rows


def means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Over the people."""
    return {name: round(float(np.mean([row[name] for row in rows])), 3) for name in METRICS}


def picture(person: Path, models: dict[str, Path], output: Path) -> None:
    """Draw the axial slice with most bone."""
    from matplotlib.figure import Figure

    ct = read_volume(person / "ct_noise_free.nii.gz")
    scts = {name: load(model).synthesize(person / "mr.nii.gz", force=True).sct for name, model in models.items()}
    at = int(np.argmax((ct.array > 300).sum(axis=(1, 2))))
    figure = Figure(figsize=(3.0 * (1 + len(scts)), 6.4), facecolor="white")
    for column, (name, volume) in enumerate({"CT": ct, **scts}.items()):
        upper = figure.add_subplot(2, 1 + len(scts), 1 + column)
        upper.imshow(_slice(volume, at), cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
        upper.set_title(name, size=10)
        upper.set_axis_off()
        if column:
            lower = figure.add_subplot(2, 1 + len(scts), 2 + len(scts) + column)
            difference = _slice(volume, at) - _slice(ct, at)
            lower.imshow(difference, cmap="PuOr_r", vmin=-DIFFERENCE_HU, vmax=DIFFERENCE_HU)
            lower.set_axis_off()
    figure.text(0.01, 0.25, "sCT − CT\n−400 to 400 HU", size=9)
    figure.tight_layout()
    from PIL import Image

    Image.fromarray(rendered(figure, 110)).save(output, optimize=True)


def _slice(volume: Volume, at: int) -> Any:
    return volume.array[at]


def main() -> None:
    """Score, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--model", action="append", required=True, metavar="ARM=MODEL")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    people = sorted((options.cohort / "test").iterdir())
    given = [one.rpartition("=") for one in options.model]
    runs = []
    for arm, _, model in given if options.output is not None else ():
        rows = scored(Path(model), people)
        runs.append({"arm": arm, "mean": means(rows), "people": rows})
        print(arm, runs[-1]["mean"], flush=True)
    if options.output is not None:
        options.output.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    if options.picture is not None:
        first = {arm: Path(model) for arm, _, model in reversed(given)}
        picture(people[0], dict(reversed(first.items())), options.picture)


if __name__ == "__main__":
    main()
