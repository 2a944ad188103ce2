"""Score a model on the real heads beside the project.

::

    python -m benchmarks.real.heads MODEL [MODEL ...] --pictures FOLDER

Nobody has the CT of these five people. One has a label of the skull; of the others anatomy says what must hold: a ray
from the brain's centre upwards meets bone under the scalp, and nothing deep inside the vault is bone. Pictures go to a
folder outside the project: real scans do not enter it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.real.options import options_of, write_rows
from creps import Volume, load, read_volume
from creps.figures import synthesis_figure
from creps.io.picture import write_picture

BONE_HU, DEEP_BONE_HU, SHELL_HU = 250.0, 250.0, 150.0
"""Bone for the Dice; bone that must not lie deep in the vault; what a ray has to meet."""

SCALP_MM, DEEP_MM = 15.0, 15.0
"""A ray meets the skull within this depth below the skin; the vault's inside begins this far within the skull."""

SKULL_MM = 15.0
"""Scalp and skull together, where no label tells: the inside of the vault begins `DEEP_MM` below this."""

CENTRE_MM = 75.0
"""The brain's centre lies this far below the top of the head."""

RAYS = 2000
STEP_MM = 0.5


@dataclass(frozen=True)
class Head:
    """What is told of one sCT.

    Attributes:
        case: The MR.
        rays: Share of upward rays that meet more than `SHELL_HU` within `SCALP_MM` of the skin; at least .98 is wanted.
        deep_bone: Share of the vault's inside above `DEEP_BONE_HU`; at most .005 is wanted.
        bone_share: Share of the body above `BONE_HU`.
        skull_dice: With the label of the skull, where there is one.
        bone_in_brain: Share of all bone above the brain's centre that lies inside the vault.
    """

    case: str
    rays: float
    deep_bone: float
    bone_share: float
    skull_dice: float | None
    bone_in_brain: float


def brain_centre(body: Volume) -> np.ndarray:
    """(3,) voxel indices: the middle of the head `CENTRE_MM` below its top. The body's D axis points to the head."""
    inside = body.array > 0
    top = int(np.flatnonzero(inside.any(axis=(1, 2))).max())
    level = max(0, top - round(CENTRE_MM / body.spacing_mm[0]))
    middle = ndimage.center_of_mass(inside[level : level + max(1, round(20 / body.spacing_mm[0]))].any(axis=0))
    return np.array([level, *middle])


def directions(count: int) -> np.ndarray:
    """(count, 3) unit vectors (D, H, W) of the upper half space, evenly spread and at least 20 degrees above level."""
    k = np.arange(count) + 0.5
    up = np.sin(np.radians(20)) + (1 - np.sin(np.radians(20))) * k / count
    angle = np.pi * (1 + 5**0.5) * k
    across = np.sqrt(1 - up**2)
    return np.stack([up, across * np.cos(angle), across * np.sin(angle)], axis=1)


def along_rays(sct: Volume, body: Volume) -> tuple[float, float]:
    """Share of rays that meet the skull, and share of bone deep inside the vault."""
    centre, spacing = brain_centre(body), np.array(sct.spacing_mm)
    distance = np.arange(0, 160, STEP_MM)
    places = centre[:, None, None] + (directions(RAYS).T[:, :, None] * distance) / spacing[:, None, None]
    hu = ndimage.map_coordinates(sct.array, places, order=1, mode="constant", cval=-1000)
    inside = ndimage.map_coordinates((body.array > 0).astype(np.float32), places, order=1, mode="constant") > 0.5
    last = inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    depth = (last[:, None] - np.arange(len(distance))) * STEP_MM
    met = ((hu > SHELL_HU) & (depth >= 0) & (depth <= SCALP_MM)).any(axis=1)
    deep = depth >= SKULL_MM + DEEP_MM
    weight = np.where(deep, distance**2, 0)  # rays diverge
    return float(met.mean()), float((weight * (hu > DEEP_BONE_HU)).sum() / weight.sum())


def score(model_folder: Path, mr_path: Path, label_path: Path | None) -> tuple[Head, Volume, Volume]:
    """Score one head; also its MR and sCT in axial orientation."""
    mr = read_volume(mr_path)
    synthesis = load(model_folder).synthesize(mr, force=True)
    sct = synthesis.sct.reoriented()
    body = synthesis.sct.with_array((synthesis.sct.array > -400).astype(np.float32)).reoriented()
    filled = ndimage.binary_fill_holes(body.array > 0)
    body = body.with_array(filled.astype(np.float32))
    rays, deep = along_rays(sct, body)
    bone = sct.array > BONE_HU
    dice, in_brain = None, float("nan")
    if label_path is not None:
        skull = read_volume(label_path).reoriented().array > 0
        dice = float(2 * (bone & skull).sum() / (bone.sum() + skull.sum()))
        level = int(brain_centre(body)[0])
        inner = np.stack([ndimage.binary_fill_holes(plane) & ~plane for plane in skull])
        inner = ndimage.binary_erosion(inner, iterations=2)
        in_brain = float((bone & inner)[level:].sum() / max(1, bone[level:].sum()))
    share = float(bone.sum() / max(1, filled.sum()))
    return Head(mr_path.name.split(".")[0], rays, deep, share, dice, in_brain), mr.reoriented(), sct


def score_all(model_folder: Path, data: Path) -> Iterator[tuple[Head, Volume, Volume]]:
    """Score every head of a folder with ``mr/``, and ``labels/`` of the skull for some of them."""
    for path in sorted((data / "mr").glob("*.nii.gz")):
        label = data / "labels" / path.name.replace(".nii.gz", "_skull.nii.gz")
        yield score(model_folder, path, label if label.exists() else None)


def told(head: Head) -> str:
    """A line of the table."""
    line = f"{head.case:24s} rays {head.rays:.3f}  deep {head.deep_bone:.4f}  bone {head.bone_share:.3f}"
    if head.skull_dice is None:
        return line
    return f"{line}  skull Dice {head.skull_dice:.3f}, in brain {head.bone_in_brain:.3f}"


def main() -> None:
    """Score and print."""
    options = options_of(__doc__, "../shared/data/head")
    rows: dict[str, list[dict[str, Any]]] = {}
    for model in options.models:
        for head, mr, sct in score_all(model, options.data):
            rows.setdefault(str(model), []).append(asdict(head))
            print(f"{model}  {told(head)}", flush=True)
            if options.pictures is not None:
                figure = synthesis_figure(mr, sct, head.case)
                write_picture(figure, options.pictures / f"{model.parent.name}_{head.case}.png")
    write_rows(options.output, rows)


if __name__ == "__main__":
    main()
