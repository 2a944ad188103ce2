"""What ships with creps: which models, what they are for, and whether their files are undamaged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from creps.errors import ModelError
from creps.provenance import sha256_file

__all__ = [
    "CARD",
    "SCORES",
    "SHIPPED",
    "SUMS",
    "ShippedModel",
    "models",
    "shipped_names",
    "table",
    "verify",
    "write_sums",
]

SHIPPED = Path(__file__).parent
"""Holds a folder for each shipped model, of the model's name."""

SUMS = "SHA256SUMS"
"""Hash of every file of every shipped model, as ``sha256sum`` writes them."""

PLAN, CARD, SCORES = "plan.json", "MODEL_CARD.md", "scores.json"

REINSTALL = "Install creps again."


@dataclass(frozen=True)
class ShippedModel:
    """A model that comes with creps.

    Attributes:
        name: To be given wherever a model folder can be given.
        region: Part of the body.
        spacing_mm: Voxel size of its sCTs before they are resampled (D, H, W).
        recipe: How it was trained.
        network: Kind of its generator.
        trained_on: What its card says, in a phrase.
        licence: Of the weights, as an SPDX identifier.
        scores: Means over held-out phantoms: ``mae_hu``, ``bias_hu``, ``bone_dice``.
        tests: Whom it was scored on → ``mae_hu``, ``bone_dice``, and ``water_mae_hu`` of an sCT of water alone.
        size: Bytes of its folder.
        folder: Where it is.
    """

    name: str
    region: str
    spacing_mm: tuple[float, float, float]
    recipe: str
    network: str
    trained_on: str
    licence: str
    scores: dict[str, float]
    tests: dict[str, dict[str, float]]
    size: int
    folder: Path

    def as_json(self) -> dict[str, Any]:
        """The attributes as plain JSON values."""
        return {**asdict(self), "spacing_mm": list(self.spacing_mm), "folder": str(self.folder)}


def shipped_names() -> list[str]:
    """Names of the shipped models, in alphabetical order."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{PLAN}"))


def models() -> list[ShippedModel]:
    """List the models that come with creps.

    Returns:
        One entry for each, by name. `creps.load` takes the name.

    Raises:
        ModelError: a file of a shipped model is missing or damaged.

    Examples:
        >>> [model.region for model in creps.models() if model.name == "head"]
        ['head']
    """
    return [_described(SHIPPED / name) for name in shipped_names()]


def table(found: Sequence[ShippedModel]) -> str:
    """Models as text: a line for each, a line for each group that they were scored on, and where their cards are.

    Examples:
        >>> from creps.shipped.catalogue import table
        >>> table(creps.models()).splitlines()[0].split()[:3]
        ['model', 'region', 'voxel']
    """
    form, scores = "{:<10}{:<9}{:<13}{:<12}{:<10}{:>6}  {}", "{:<52}{:>7}{:>7}{:>11}"
    lines = [form.format("model", "region", "voxel (mm)", "recipe", "network", "MB", "licence")]
    for model in found:
        spacing, size = "x".join(f"{part:g}" for part in model.spacing_mm), f"{model.size / 1e6:.1f}"
        lines.append(form.format(model.name, model.region, spacing, model.recipe, model.network, size, model.licence))
    lines += ["", scores.format("MAE in HU, in the body", "water", "model", "bone Dice")]
    for model in found:
        for people, row in model.tests.items():
            errors = (f"{row[key]:.0f}" for key in ("water_mae_hu", "mae_hu"))
            lines.append(scores.format(f"{model.name}, {people}", *errors, f"{row['bone_dice']:.2f}"))
    return "\n".join([*lines, f"trained and scored on digital phantoms only; cards: {SHIPPED}"])


def verify(folder: Path = SHIPPED) -> list[str]:
    """Compare every file of the shipped models with its recorded SHA-256.

    Args:
        folder: Holds the models and `SUMS`.

    Returns:
        Names of the files that were compared, relative to `folder`.

    Raises:
        ModelError: a file is missing, damaged, or not in the list.

    Examples:
        >>> from creps.shipped.catalogue import verify
        >>> "head/generator.safetensors" in verify()
        True
    """
    expected = _read_sums(folder / SUMS)
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path} is missing.", REINSTALL)
        if sha256_file(path) != digest:
            raise ModelError(f"{path} is damaged: its SHA-256 is not the one in {SUMS}.", REINSTALL)
    extra = next((name for name in _files(folder) if name not in expected), None)
    if extra is not None:
        raise ModelError(f"{folder / extra} is not part of creps.", f"Delete it, or {REINSTALL.lower()}")
    return list(expected)


def write_sums(folder: Path = SHIPPED) -> Path:
    """Write the hashes of all files of the models in a folder; for whoever ships them.

    Returns:
        The list.
    """
    path = folder / SUMS
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in _files(folder)]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return path


def _files(folder: Path) -> list[str]:
    """Files of every model, relative to the folder, with forward slashes."""
    found = [path for plan in folder.glob(f"*/{PLAN}") for path in plan.parent.rglob("*") if path.is_file()]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _read_sums(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is missing or damaged.", REINSTALL) from error


def _described(folder: Path) -> ShippedModel:
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        scored = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        d, h, w = plan["preparation"]["spacing_mm"]
        card = _front_matter(folder / CARD)
        return ShippedModel(
            name=folder.name,
            region=plan["preparation"]["region"],
            spacing_mm=(d, h, w),
            recipe=plan["training"]["settings"]["recipe"],
            network=plan["generator"].get("kind", "residual"),
            trained_on=card["trained_on"],
            licence=card["license"],
            scores=scored["scores"][folder.name],
            tests=_tests(folder.name, scored),
            size=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
            folder=folder,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ModelError(f"The shipped model in {folder} is damaged ({error}).", REINSTALL) from error


def _tests(name: str, scored: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Whom a model was scored on → its scores, from the document beside its weights."""
    own, water = scored["scores"][name], scored["scores"]["constant water"]
    kept = ("mae_hu", "bone_dice", "water_mae_hu")
    tests = {f"{scored['phantoms']['patients']} held-out phantoms": own | {"water_mae_hu": water["mae_hu"]}}
    if family := scored.get("unseen_family"):
        tests[f"{family['people']} phantoms of another family"] = family
    return {people: {key: float(row[key]) for key in kept} for people, row in tests.items()}


def _front_matter(path: Path) -> dict[str, Any]:
    """The YAML between two lines of dashes at the start of a model card."""
    _, front, _ = path.read_text(encoding="utf-8").split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(front)
    return found
