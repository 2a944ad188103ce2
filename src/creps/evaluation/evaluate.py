"""``creps evaluate``: one synthetic CT against the true CT."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from creps import hu
from creps.errors import InputError
from creps.evaluation.alignment import Aligned, Register, align, check_register
from creps.evaluation.definitions import definitions
from creps.evaluation.images import check_image, image_of, label_names_of
from creps.evaluation.scores import Scores, score_image, score_structures, score_tissues
from creps.preprocessing.mask import body_mask_ct
from creps.provenance import provenance
from creps.volume import Array, Mask, Volume

__all__ = ["Evaluation", "evaluate"]

Image = Volume | Path | str

FLATTERED = "The CT was registered to the sCT itself: errors of position are hidden, figures are better than without."


@dataclass(frozen=True)
class Evaluation:
    """How a synthetic CT agrees with the true one.

    Attributes:
        values: Flat name → figure; None where it cannot be computed.
        missing: Name → why it is None.
        record: Inputs, alignment, mask, voxel counts, definitions, versions, as plain JSON values.
    """

    values: dict[str, float | None]
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
    register: Register | None = None,
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
        register: ``"rigid"``: register the CT to the sCT first, which hides errors of position;
            ``"rigid-centres"``: with their middles brought together before.
        name: What messages call the pair.

    Returns:
        The figures, why some are missing, and the record.

    Raises:
        InputError: an image cannot be read, is not in HU or not finite, grids differ, the mask is empty or no mask,
            labels without names.
        SettingsError: another word for `register`.
    """
    started = time.perf_counter()
    check_register(register)
    if (labels is None) != (label_names is None):
        raise InputError("Labels and their names go together, but one is missing.", "Give both, or neither.")
    names = None if label_names is None else label_names_of(label_names)
    called = name or (str(sct) if isinstance(sct, (Path, str)) else "the sCT")
    images, inputs = _read({"sct": sct, "ct": ct, "mask": mask, "labels": labels}, called, named=name is not None)
    aligned = align(
        images["sct"], images["ct"], images.get("mask"), images.get("labels"), resample=resample, register=register,
        name=called,
    )  # fmt: skip
    body = body_mask_ct(aligned.ct)
    inside = _inside(aligned, body, called)
    scores, about = _scores(aligned, inside, body, names, called)
    values = scores.ordered()
    record = {
        **provenance(),
        "inputs": inputs,
        "grid": {"shape": list(aligned.sct.shape), "spacing_mm": list(aligned.sct.spacing_mm)},
        "alignment": aligned.record,
        "mask": {"source": "the body found in the CT" if mask is None else "given", "voxels": int(inside.sum())},
        **about,
        "notes": _notes(aligned),
        "definitions": definitions(list(values)),
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Evaluation(values, scores.missing, record)


def _read(
    given: Mapping[str, Image | None], called: str, *, named: bool
) -> tuple[dict[str, Volume], dict[str, dict[str, Any]]]:
    """By role the images that were given, fit to be used, and what the record says of them."""
    words = {"ct": "CT", "mask": "mask", "labels": "label volume"}
    images, records = {}, {}
    for role, image in given.items():
        if image is None and role in ("mask", "labels"):
            continue
        images[role], records[role] = image_of(image, role)
        of_pair = f"the {words[role]} of {called}" if role in words else called
        check_image(images[role], role, of_pair if named or isinstance(image, Volume) else str(image))
    return images, records


def _scores(
    aligned: Aligned, inside: Mask, body: Mask, names: Mapping[int, str] | None, name: str
) -> tuple[Scores, dict[str, Any]]:
    """All figures, and what classes and structures were found."""
    scores, ct, sct = Scores(), aligned.ct, aligned.sct
    score_image(scores, ct, sct, inside)
    try:
        tissues = score_tissues(scores, ct, sct, inside, aligned.labels, names)
    except ValueError as error:
        raise InputError(f"{name}: the labels cannot be used: {error}.", "Give a volume of class numbers.") from error
    structures = score_structures(scores, ct, sct, inside, (body, _body_of(sct, aligned.reached)))
    return scores, {"tissues": tissues, "structures": structures}


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


def _body_of(sct: Volume, reached: Mask) -> Mask:
    """The sCT's body, as far as the CT reaches."""
    tissue: Array = np.where(reached, sct.array, np.float32(-1024))
    return body_mask_ct(sct.with_array(tissue))


def _notes(aligned: Aligned) -> list[str]:
    notes = []
    if aligned.alignment == "rigidly registered":
        notes.append(FLATTERED)
    if float(aligned.sct.array.min()) > hu.AIR_BELOW:
        notes.append(f"The sCT has no voxel below {hu.AIR_BELOW:g} HU: is it a CT in HU?")
    return notes
