"""Score a model on the real hips beside the project: how much bone their sCTs have, beside the CTs of other people.

::

    python -m benchmarks.real.hips MODEL [MODEL ...] --pictures FOLDER

Nobody has the CT of these people. The CTs show the same place in others: their share of bone is what an sCT should
have, within .7 to 1.3. Pictures go to a folder outside the project: look whether femur, acetabulum and sacrum are
there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.real.options import options_of, write_rows
from creps import Volume, load, read_volume
from creps.figures import synthesis_figure
from creps.io.picture import write_picture
from creps.preprocessing.mask import body_mask_ct
from creps.volume import Array, Mask

MRS, CTS = "STS_*_mr_T1.nii.gz", "STS_*_ct.nii.gz"
"""T1 of hip and thigh, and CTs of the same place in other patients of the same collection."""

BONE_HU, COMPACT_HU = 150.0, 600.0
"""What counts as bone, and as compact bone."""


def shares(values_hu: Array, body: Mask) -> dict[str, float]:
    """Shares of the body that are bone, compact bone, and fat (-150 to -50 HU).

    Examples:
        >>> import numpy as np
        >>> shares(np.array([0.0, 200.0, 700.0, -100.0]), np.ones(4, dtype=bool))
        {'bone': 0.5, 'compact': 0.25, 'fat': 0.25}
    """
    inside = values_hu[body]
    parts = {"bone": inside > BONE_HU, "compact": inside > COMPACT_HU, "fat": (inside > -150) & (inside < -50)}
    return {name: round(float(part.mean()), 4) for name, part in parts.items()}


def of_cts(folder: Path) -> dict[str, dict[str, float]]:
    """Of each CT."""
    rows = {}
    for path in sorted(folder.glob(CTS)):
        ct = read_volume(path).reoriented()
        rows[path.name.split(".")[0]] = shares(ct.array, body_mask_ct(ct))
    return rows


def of_model(folder: Path, mrs: Path, pictures: Path | None) -> dict[str, dict[str, float]]:
    """Of the sCT of each MR."""
    model, rows = load(folder), {}
    for path in sorted(mrs.glob(MRS)):
        case = path.name.split(".")[0]
        mr: Volume = read_volume(path)
        synthesis = model.synthesize(mr, force=True)
        rows[case] = shares(synthesis.sct.array, synthesis.body_mask())
        if pictures is not None:
            figure = synthesis_figure(mr.reoriented(), synthesis.sct.reoriented(), case)
            write_picture(figure, pictures / f"{folder.parent.name}_{case}.png")
    return rows


def main() -> None:
    """Score and print."""
    options = options_of(__doc__, "../shared/data/pelvis")
    rows: dict[str, Any] = {"CT of others": of_cts(options.data / "ct")}
    for model in options.models:
        rows[str(model)] = of_model(model, options.data / "mr", options.pictures)
    for name, of_name in rows.items():
        for case, row in of_name.items():
            print(f"{name}  {case:14s} " + "  ".join(f"{part} {share:.4f}" for part, share in row.items()))
    write_rows(options.output, rows)


if __name__ == "__main__":
    main()
