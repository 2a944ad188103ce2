"""The model card of a shipped model, from its plan and its scores."""

from __future__ import annotations

from typing import Any

from benchmarks.shipping.evidence import lines_of
from creps.model import Plan
from creps.provenance import NOTICE
from creps.regions import part_of_body

__all__ = ["LICENCE", "model_card"]

LICENCE = "Apache-2.0"

CARD = """---
license: {licence}
region: {region}
trained_on: "{trained_on}"
---
# creps model `{name}`

**{notice}**

MR of the {region} to synthetic CT in HU, at {spacing} mm (depth, height, width):
`creps synthesize {name} mr.nii.gz -o sct.nii.gz`. Its phantoms were imaged as T1, T2, proton density, MPRAGE and FLAIR;
of real scans it was tried on T1 alone.

| | |
|---|---|
| Recipe | `{recipe}`, {steps} steps{before} |
| Network | `{kind}`, {parameters:.1f} million parameters, kernels stored as {stored} |
| Trained on | {trained_on} |
| Licence | {licence} |
| SHA-256 of the weights | `{sha256}` |

## Scores

{patients} held-out digital phantoms, inside the body, against the noise-free truth. Phantoms differ from patients:
these numbers say nothing about your scanner.

| Method | MAE (HU) | Bias (HU) | Bone Dice |
|---|---|---|---|
{rows}

Worst phantom: {worst} HU MAE.
{evidence}
## Use it for

- A first sCT, to see what creps writes and how your MR is read.
- A start for training on your own MR and CT: `creps train COHORT --from {name} -o RUN`.

## Do not use it for

- Diagnosis, dose, or any decision about a patient. No dose has been computed with it.
- MRs without dark bone and bright fat (UTE, ZTE, fat suppression), implants, contrast agents, children: untested.
- Other regions. The intake checks refuse what is unlike its training MRs; `--force` overrides them.

Errors seen in real scans: {errors}
"""


ERRORS = {
    "head": "tissue where a stereotactic frame lies within 10 mm of the skin.",
    "pelvis": "a part of a large tumour became fat; gas within some voxels of where the field of view cuts the\nbody;"
    " in one of three hips 1.35 times as much bone as in CTs of that place.",
}
"""By kind of phantom, from looking at them."""

UNSEEN = "none so far; nobody has looked."


def model_card(
    name: str, plan: Plan, scores: dict[str, Any], *, trained_on: str, parameters: int, stored: str = "bfloat16"
) -> str:
    """The card as Markdown, with YAML in front that `creps models` reads.

    Args:
        name: What it ships as.
        plan: Of the stored model.
        scores: The document of `benchmarks.shipping.scores`.
        trained_on: A phrase.
        parameters: Of the generator.
        stored: Type of the stored kernels.
    """
    rows = [
        f"| {method} | {row['mae_hu']:.0f} | {row['bias_hu']:+.0f} | {row['bone_dice']:.2f} |"
        for method, row in scores["scores"].items()
    ]
    origin, lines = plan.training.get("started_from"), lines_of(scores)
    return CARD.format(
        licence=LICENCE,
        name=name,
        notice=NOTICE,
        region=plan.preparation.region,
        trained_on=trained_on,
        spacing=" x ".join(f"{part:g}" for part in plan.preparation.spacing_mm),
        recipe=plan.recipe,
        steps=plan.training.get("steps"),
        kind=plan.generator.kind,
        parameters=parameters / 1e6,
        stored=stored,
        sha256=plan.weights_sha256,
        patients=scores["phantoms"]["patients"],
        rows="\n".join(rows),
        worst=f"{scores['worst_mae_hu']:.0f}",
        before=_steps_before(origin),
        errors=ERRORS.get(part_of_body(plan.preparation.region), UNSEEN),
        evidence="".join(f"\n{line}" for line in lines) + ("\n" if lines else ""),
    )


def _steps_before(origin: dict[str, Any] | None) -> str:
    """Steps of the models that a model was started from, the first one first."""
    steps: list[str] = []
    while origin:
        steps.insert(0, str(origin["steps"]))
        origin = origin.get("started_from")
    return f" after {' + '.join(steps)} of what it started from" if steps else ""
