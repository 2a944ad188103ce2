"""Score one synthetic CT against the true CT."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from creps import hu
from creps.errors import InputError
from creps.evaluation.alignment import Aligned, align
from creps.evaluation.definitions import definitions
from creps.evaluation.images import check_image, image_of, label_names_of
from creps.evaluation.options import EvaluationOptions, Image
from creps.evaluation.results import Evaluation
from creps.evaluation.scores import Scores, score_image, score_structures, score_tissues
from creps.preprocessing.mask import body_mask_ct
from creps.preprocessing.padding import Padding, ct_without_padding
from creps.preprocessing.plausibility import check_below_air
from creps.provenance import provenance
from creps.volume import Array, Mask, Volume

__all__ = ["evaluate"]

log = logging.getLogger(__name__)

OTHER_UNITS_HU = 300.0
"""Medians of an sCT and its CT that lie further apart than this belong to different units."""

REGISTERED = "The CT was registered to the sCT: position errors are hidden and the metrics are better than without."

ROLES = {"ct": "CT", "mask": "mask", "labels": "label volume"}
"""What messages call an image."""


def evaluate(sct: Image, ct: Image, options: EvaluationOptions | None = None, *, name: str | None = None) -> Evaluation:
    """Score a synthetic CT against the true CT, inside a mask.

    Args:
        sct: Synthetic CT in HU: a volume, a file, or the folder of a DICOM series.
        ct: The true CT in HU, on the same grid unless it is resampled or registered.
        options: Mask, labels and alignment; default: `EvaluationOptions()`.
        name: What messages call the pair.

    Returns:
        The metrics, why some are missing, and the record.

    Raises:
        InputError: an image cannot be read, is not in HU or not finite, grids differ, or the mask is empty or not a
            mask.
        SettingsError: options that only folders have.
    """
    started = time.perf_counter()
    options = options or EvaluationOptions()
    options.check_pair()
    names = None if options.label_names is None else label_names_of(options.label_names)
    pair = name or (str(sct) if isinstance(sct, (Path, str)) else "the sCT")
    given = {"sct": sct, "ct": ct, "mask": options.mask, "labels": options.labels}
    images, inputs, paddings = _read(given, pair, named=name is not None)
    predicted = images["sct"].reoriented()
    surrounded, paddings["sct"] = ct_without_padding(predicted)
    aligned = align(
        surrounded,
        images["ct"],
        images.get("mask"),
        images.get("labels"),
        options,
        name=pair,
        padding=_mask_of(paddings["ct"]),
    )
    body = body_mask_ct(aligned.ct)
    inside = _inside(aligned, body, pair)
    aligned, paddings["sct"] = _as_predicted(aligned, predicted, paddings["sct"], inside)
    scores, classes_and_structures = _scores(aligned, inside, body, names, pair)
    values = scores.ordered()
    not_covered = _not_covered(aligned)
    source = "the body found in the CT" if options.mask is None else "given"
    record = {
        **provenance(),
        "inputs": inputs,
        "grid": {"shape": list(aligned.sct.shape), "spacing_mm": list(aligned.sct.spacing_mm)},
        "alignment": aligned.record,
        "not_covered": not_covered,
        "mask": {"source": source, "voxels": int(inside.sum())},
        **classes_and_structures,
        "notes": _padding_notes(paddings, pair) + _notes(aligned, not_covered, inside),
        "definitions": definitions(list(values)),
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Evaluation(values, scores.missing, record)


def _read(
    given: Mapping[str, Image | None], pair: str, *, named: bool
) -> tuple[dict[str, Volume], dict[str, dict[str, Any]], dict[str, Padding | None]]:
    """Role → checked image, role → what the record holds of it, and role → padding that was replaced by air."""
    images, records, paddings = {}, {}, {}
    for role, image in given.items():
        if image is None and role in ("mask", "labels"):
            continue
        images[role], records[role] = image_of(image, role)
        in_pair = f"the {ROLES[role]} of {pair}" if role in ROLES else pair
        called = in_pair if named or isinstance(image, Volume) else str(image)
        whole = images[role]
        if role == "ct":
            images[role], paddings[role] = ct_without_padding(whole)
        check_image(images[role], role, called, paddings.get(role))
        if role == "ct":
            check_below_air(whole, called, paddings[role])
    return images, records, paddings


def _as_predicted(
    aligned: Aligned, predicted: Volume, padding: Padding | None, inside: Mask
) -> tuple[Aligned, Padding | None]:
    """The sCT as it is in the scored region, where a constant is a prediction, and the padding outside that region."""
    if padding is None:
        return aligned, None
    array = np.where(inside, predicted.array, aligned.sct.array)
    outside = padding.mask & ~inside
    return (
        replace(aligned, sct=predicted.with_array(array)),
        replace(padding, mask=outside) if outside.any() else None,
    )


def _mask_of(padding: Padding | None) -> Mask | None:
    return None if padding is None else padding.mask


def _padding_notes(paddings: Mapping[str, Padding | None], pair: str) -> list[str]:
    """Which image had padding; it is logged as well."""
    names = {"sct": "The sCT", "ct": "The CT"}
    notes = [f"{names[role]}: {padding.note('ct')}" for role, padding in paddings.items() if padding is not None]
    for note in notes:
        log.warning("%s: %s", pair, note)
    return notes


def _scores(
    aligned: Aligned, inside: Mask, body: Mask, names: Mapping[int, str] | None, pair: str
) -> tuple[Scores, dict[str, Any]]:
    """All metrics, and the voxel counts of classes and structures."""
    scores, ct, sct = Scores(), aligned.ct, aligned.sct
    score_image(scores, ct, sct, inside)
    try:
        tissues = score_tissues(scores, ct, sct, inside, aligned.labels, names)
    except ValueError as error:
        raise InputError(f"{pair}: the labels cannot be used: {error}.", "Give a volume of class numbers.") from error
    structures = score_structures(scores, ct, sct, inside, (body, _body_of(sct, aligned.reached)))
    return scores, {"tissues": tissues, "structures": structures}


def _inside(aligned: Aligned, body: Mask, pair: str) -> Mask:
    """The scored region: the given mask or the CT's body, where the CT has values."""
    region = body if aligned.mask is None else aligned.mask
    inside = region & aligned.reached
    if inside.any():
        return inside
    if aligned.mask is None:
        raise InputError(f"{pair}: no body was found in the CT.", "Check the CT, or give a mask.")
    what = "is empty" if not region.any() else "lies entirely outside the CT"
    raise InputError(f"{pair}: the mask {what}.", "Give a mask of this patient, above 0 in the region to score.")


def _body_of(sct: Volume, reached: Mask) -> Mask:
    """The sCT's body, where the CT has values."""
    tissue: Array = np.where(reached, sct.array, np.float32(hu.OUTSIDE_SCAN))
    return body_mask_ct(sct.with_array(tissue))


def _not_covered(aligned: Aligned) -> dict[str, Any]:
    """How much of the sCT's body lies where the CT only holds padding, as plain JSON values."""
    if not aligned.padded.any():
        return {"body_ml": 0.0, "slices": 0}
    body = body_mask_ct(aligned.sct)
    lost = aligned.padded & (body if aligned.mask is None else body | aligned.mask)
    ml = float(lost.sum() * np.prod(aligned.sct.spacing_mm) / 1000)
    return {"body_ml": round(ml, 3), "slices": int(lost.any(axis=(1, 2)).sum())}


def _notes(aligned: Aligned, not_covered: Mapping[str, Any], inside: Mask) -> list[str]:
    notes = []
    if not_covered["slices"]:
        notes.append(
            f"The CT does not cover {not_covered['body_ml']:.1f} ml of the body in {not_covered['slices']} slices: it"
            " holds one constant value there. This part is left out of all metrics."
        )
    if aligned.alignment == "rigidly registered":
        notes.append(REGISTERED)
    if float(aligned.sct.array.min()) > hu.AIR_BELOW:
        notes.append(f"The sCT has no voxel below {hu.AIR_BELOW:g} HU: is it a CT in HU?")
    sct, ct = (float(np.median(image.array[inside])) for image in (aligned.sct, aligned.ct))
    if abs(sct - ct) > OTHER_UNITS_HU:
        notes.append(
            f"The sCT's median in the scored region is {sct:.0f}, the CT's {ct:.0f} HU: is the sCT in HU? Raw values"
            " usually need 1024 subtracted."
        )
    return notes
