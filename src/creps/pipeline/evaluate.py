"""``creps evaluate``: one synthetic CT against the true CT."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from creps.errors import InputError
from creps.metrics.image import edge_sharpness, histogram_distance_hu, mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import AIR_HU, BONE_HU, dice, surface_distance
from creps.metrics.synthrad import (
    RANGE_4024_HU,
    synthrad2023_mae_hu,
    synthrad2023_psnr_db,
    synthrad2023_ssim,
    synthrad2025_mae_hu,
    synthrad2025_ms_ssim,
    synthrad2025_psnr_db,
)
from creps.metrics.tissues import TISSUE_WINDOWS_HU, error_by_class, tissue_classes
from creps.pipeline.evaluation_definitions import AIR_DEPTH_MM, METRICS, definitions
from creps.pipeline.evaluation_files import image_of, label_names_of
from creps.pipeline.evaluation_grid import Aligned, align
from creps.preprocessing.mask import Mask, body_mask_ct, depth_mm
from creps.preprocessing.plausibility import check_ct, check_extent
from creps.provenance import provenance
from creps.volume import Array, Volume

__all__ = ["Evaluation", "evaluate"]

Image = Volume | Path | str
Scores = dict[str, float | None]

FLATTERED = "The CT was registered to the sCT itself: errors of position are hidden, figures are better than without."


@dataclass(frozen=True)
class Evaluation:
    """How a synthetic CT agrees with the true one.

    Attributes:
        values: Flat name → figure; None where it cannot be computed.
        missing: Name → why it is None.
        record: Inputs, alignment, mask, voxel counts, definitions, versions, as plain JSON values.
    """

    values: Scores
    missing: dict[str, str]
    record: dict[str, Any]


def evaluate(
    sct: Image,
    ct: Image,
    mask: Image | None = None,
    *,
    labels: Image | None = None,
    label_names: Mapping[int, str] | Path | str | None = None,
    resample: bool = False,
    register: Literal["rigid"] | None = None,
    name: str | None = None,
) -> Evaluation:
    """Score a synthetic CT against the true CT, inside a mask.

    Args:
        sct: Synthetic CT in HU: a volume, a file, or the folder of a DICOM series.
        ct: The true CT in HU, on the same grid unless `resample` or `register`.
        mask: Where figures count, on the grid of either; default: the body found in the true CT.
        labels: Class number of every voxel, on the grid of either, for errors by class; default: HU windows on the CT.
        label_names: Name of every class number, or the JSON file with them; needed with `labels`.
        resample: Bring the CT (and its mask and labels) onto the sCT's grid.
        register: ``"rigid"``: register the CT to the sCT first, which hides errors of position.
        name: What messages call the pair.

    Returns:
        The figures, why some are missing, and the record.

    Raises:
        InputError: an image cannot be read or is not in HU, grids differ, the mask is empty, labels without names.
    """
    started = time.perf_counter()
    if (labels is None) != (label_names is None):
        raise InputError("Labels and their names go together, but one is missing.", "Give both, or neither.")
    names = None if label_names is None else label_names_of(label_names)
    given = {"sct": sct, "ct": ct, "mask": mask, "labels": labels}
    images, inputs = {}, {}
    for role, image in given.items():
        images[role], inputs[role] = (None, None) if image is None else image_of(image)
    if images["sct"] is None or images["ct"] is None:
        raise InputError("There is no sCT or no CT.", "Give both.")
    called = name or (sct.name if isinstance(sct, Path) else str(sct) if isinstance(sct, str) else "the sCT")
    check_extent(images["sct"].shape, images["sct"].extent_mm, called)
    check_ct(images["ct"], f"the CT of {called}" if isinstance(ct, Volume) else str(ct))
    aligned = align(
        images["sct"], images["ct"], images["mask"], images["labels"], resample=resample, register=register, name=called
    )
    body = body_mask_ct(aligned.ct)
    inside = _inside(aligned, body, called)
    scores = _Scores({}, {})
    _score_image(scores, aligned, inside)
    classes = _score_classes(scores, aligned, inside, names, called)
    structures = _score_structures(scores, aligned, inside, body)
    ordered = _in_order(scores.values)
    record = {
        **provenance(),
        "inputs": {role: content for role, content in inputs.items() if content is not None},
        "grid": {"shape": list(aligned.sct.shape), "spacing_mm": list(aligned.sct.spacing_mm)},
        "alignment": aligned.record,
        "mask": {"source": "the body found in the CT" if mask is None else "given", "voxels": int(inside.sum())},
        "classes": classes,
        "structures": structures,
        "notes": _notes(aligned),
        "definitions": definitions(list(ordered)),
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Evaluation(ordered, scores.missing, record)


@dataclass(frozen=True)
class _Scores:
    """Figures as they are found."""

    values: Scores
    missing: dict[str, str]

    def add(self, name: str, compute: Callable[[], float]) -> None:
        """Compute a figure; if it has no value, keep why."""
        try:
            self.values[name] = compute()
        except ValueError as error:
            self.lack(name, str(error))

    def lack(self, name: str, reason: str) -> None:
        """A figure that has no value."""
        self.values[name] = None
        self.missing[name] = reason


def _inside(aligned: Aligned, body: Mask, name: str) -> Mask:
    """Where figures count: the given mask or the CT's body, as far as the CT reaches."""
    wanted = body if aligned.mask is None else aligned.mask
    inside = wanted & aligned.reached
    if inside.any():
        return inside
    if aligned.mask is None:
        raise InputError(f"{name}: no body was found in the CT.", "Check the CT, or give a mask.")
    what = "is empty" if not wanted.any() else "lies where the CT does not reach"
    raise InputError(f"{name}: the mask {what}.", "Give the mask of this patient, above 0 where figures count.")


def _score_image(scores: _Scores, aligned: Aligned, inside: Mask) -> None:
    images = (aligned.ct.array, aligned.sct.array, inside)
    spacing_mm = aligned.sct.spacing_mm
    scores.add("mae_hu", lambda: mean_absolute_error_hu(*images))
    scores.add("bias_hu", lambda: mean_error_hu(*images))
    scores.add("synthrad2023_mae_hu", lambda: synthrad2023_mae_hu(*images))
    scores.add("synthrad2023_psnr_db", lambda: synthrad2023_psnr_db(*images))
    scores.add("synthrad2023_ssim", lambda: synthrad2023_ssim(*images))
    scores.add("synthrad2025_mae_hu", lambda: synthrad2025_mae_hu(*images))
    scores.add("synthrad2025_psnr_db", lambda: synthrad2025_psnr_db(*images))
    scores.add("synthrad2025_psnr_4024_db", lambda: synthrad2025_psnr_db(*images, RANGE_4024_HU))
    scores.add("synthrad2025_ms_ssim", lambda: synthrad2025_ms_ssim(*images))
    scores.add("synthrad2025_ms_ssim_4024", lambda: synthrad2025_ms_ssim(*images, RANGE_4024_HU))
    scores.add("edge_sharpness", lambda: edge_sharpness(*images, spacing_mm))
    scores.add("histogram_distance_hu", lambda: histogram_distance_hu(*images))


def _score_classes(
    scores: _Scores, aligned: Aligned, inside: Mask, names: Mapping[int, str] | None, called: str
) -> dict[str, Any]:
    """Error by tissue; returns what the classes are and how many voxels they have."""
    ct_hu = aligned.ct.array
    if names is None or aligned.labels is None:
        classes, names = tissue_classes(ct_hu)
        finite = {n: [None if np.isinf(end) else end for end in ends] for n, ends in TISSUE_WINDOWS_HU.items()}
        source: dict[str, Any] = {"source": "HU windows on the CT", "windows_hu": finite}
    else:
        classes = np.rint(aligned.labels.array).astype(np.int32)
        source = {"source": "labels", "numbers": {str(number): name for number, name in names.items()}}
    try:
        errors = error_by_class(ct_hu, aligned.sct.array, inside, classes, names)
    except ValueError as error:
        raise InputError(f"{called}: {error}.", "Give a volume of class numbers.") from error
    for name, error in errors.items():
        for kind, value in (("mae", error.mae_hu), ("bias", error.bias_hu)):
            flat = f"{kind}_{name}_hu"
            if value is None:
                scores.lack(flat, f"the CT has no {name.replace('_', ' ')} inside the mask")
            else:
                scores.values[flat] = value
    counted = sum(error.voxels for error in errors.values())
    voxels = {name: error.voxels for name, error in errors.items()}
    return {**source, "voxels": voxels, "voxels_of_no_class": int(inside.sum()) - counted}


def _score_structures(scores: _Scores, aligned: Aligned, inside: Mask, body: Mask) -> dict[str, Any]:
    """Shape of bone, internal air and body; returns their voxel counts."""
    ct_hu, sct_hu = aligned.ct.array, aligned.sct.array
    deep = inside & (depth_mm(body, aligned.ct.spacing_mm) >= AIR_DEPTH_MM)
    pairs: dict[str, tuple[Mask, Mask]] = {
        "bone": ((ct_hu > BONE_HU) & inside, (sct_hu > BONE_HU) & inside),
        "air": ((ct_hu < AIR_HU) & deep, (sct_hu < AIR_HU) & deep),
        "body": (body, _body_of(aligned.sct, aligned.reached)),
    }
    for structure, (in_ct, in_sct) in pairs.items():
        figures = [f"{structure}_dice", f"{structure}_assd_mm", f"{structure}_hd95_mm"]
        absent = [where for where, there in (("CT", in_ct.any()), ("sCT", in_sct.any())) if not there]
        reason = f"the {' and the '.join(absent)} {'have' if len(absent) == 2 else 'has'} no {structure} there"
        if len(absent) == 2:
            scores.lack(figures[0], reason)
        else:
            scores.values[figures[0]] = dice(in_ct, in_sct)
        if absent:
            for name in figures[1:]:
                scores.lack(name, reason)
        else:
            distance = surface_distance(in_ct, in_sct, aligned.ct.spacing_mm)
            scores.values[figures[1]], scores.values[figures[2]] = distance.average_mm, distance.hd95_mm
    return {name: {"ct_voxels": int(a.sum()), "sct_voxels": int(b.sum())} for name, (a, b) in pairs.items()}


def _body_of(sct: Volume, reached: Mask) -> Mask:
    """The sCT's body, as far as the CT reaches."""
    tissue: Array = np.where(reached, sct.array, np.float32(-1024))
    return body_mask_ct(sct.with_array(tissue))


def _notes(aligned: Aligned) -> list[str]:
    notes = []
    if aligned.alignment == "rigidly registered":
        notes.append(FLATTERED)
    if float(aligned.sct.array.min()) > AIR_HU:
        notes.append(f"The sCT has no voxel below {AIR_HU:g} HU: is it a CT in HU?")
    return notes


def _in_order(values: Scores) -> Scores:
    """MAE and bias, then those by tissue, then the others in the order of `METRICS`."""
    known = [metric.name for metric in METRICS]
    by_tissue = [name for name in values if name not in known]
    return {name: values[name] for name in (*known[:2], *by_tissue, *known[2:]) if name in values}
