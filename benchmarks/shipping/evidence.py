"""What a model does on people who are none of creps' phantoms, for its card: the unseen family, and real scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real import heads, hips
from benchmarks.unseen.score import scored, summary
from creps import read_volume

__all__ = ["lines_of", "on_real_scans", "on_unseen_family"]


def on_unseen_family(model: Path, cohort: Path) -> dict[str, float]:
    """Means over the family's test people, with constant water beside.

    Args:
        model: Folder.
        cohort: What `benchmarks.unseen.cohort` wrote.
    """
    people = sorted((cohort / "test").iterdir())
    water = float(np.mean([_water(person) for person in people]))
    return {"people": len(people), **summary(scored(model, people)), "water_mae_hu": round(water, 1)}


def _water(person: Path) -> float:
    truth, mask = (read_volume(person / f"{name}.nii.gz").array for name in ("ct_noise_free", "mask"))
    return float(np.abs(truth[mask > 0]).mean())


def on_real_scans(model: Path, region: str, data: Path) -> dict[str, float]:
    """Figures of real scans without a CT; see `benchmarks.real`.

    Args:
        model: Folder.
        region: Of the model.
        data: Folder of the real scans, with ``head/`` and ``pelvis/``.
    """
    if region == "pelvis":
        others = [row["bone"] for row in hips.of_cts(data / "pelvis" / "ct").values()]
        own = [row["bone"] for row in hips.of_model(model, data / "pelvis" / "mr", None).values()]
        shares = {"bone_share": own, "bone_share_of_cts": others}
        counts = {"hips": float(len(own)), "cts": float(len(others))}
        return counts | {name: round(float(np.mean(values)), 4) for name, values in shares.items()}
    rows = [head for head, _, _ in heads.score_all(model, data / "head")]
    return {
        "heads": float(len(rows)),
        "fewest_rays": round(min(row.rays for row in rows), 3),
        "most_deep_bone": round(max(row.deep_bone for row in rows), 4),
        "skull_dice": round(max(row.skull_dice or 0.0 for row in rows), 3),
    }


def lines_of(scores: dict[str, Any]) -> list[str]:
    """Sentences for the card, of the parts that there are."""
    lines = []
    if family := scores.get("unseen_family"):
        lines.append(
            f"- **Phantoms of another family** ({family['people']:g} people; other shapes, tissues and signal code):"
            f" MAE {family['mae_hu']:.0f} HU (worst {family['worst_mae_hu']:.0f}; constant water"
            f" {family['water_mae_hu']:.0f}), bone Dice {family['bone_dice']:.2f}."
        )
    real = scores.get("real_scans", {})
    if "skull_dice" in real:
        lines.append(
            f"- **{real['heads']:.0f} real T1 heads**, without a CT: in the worst, {100 * real['fewest_rays']:.0f} % of"
            f" the rays from the brain upwards meet the skull and {100 * real['most_deep_bone']:.1f} % of the vault's"
            f" inside is bone. Bone Dice with the one labelled skull: {real['skull_dice']:.2f}."
        )
    if "bone_share" in real:
        lines.append(
            f"- **{real['hips']:.0f} real T1 hips**, without a CT: {100 * real['bone_share']:.1f} % of the body is"
            f" bone; in {real['cts']:.0f} CTs of other people it is {100 * real['bone_share_of_cts']:.1f} %."
        )
    return lines
