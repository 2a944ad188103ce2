"""A real MR and CT of one patient, in one frame of reference, as a case that any model can be scored on.

    python -m benchmarks.accuracy.real_pair --data ARCHIVE_OR_FOLDER --work WORK [--register rigid] [--model RUN ...]

DATA is a folder of DICOM (or a .tar.gz of one) with one MR and one CT series. The CT is brought onto the MR's grid, as
it lies or registered to the MR, and WORK gets, with ``registered-no`` or ``registered-rigid`` in every name::

    cases/CASE_registered-no/     mr, ct, mask (the body in both), alignment.json
    sct/MODEL/CASE_registered-no.nii.gz
    check_CASE_registered-no.png  a look at the alignment: a patient's image, not to be published
    scores_CASE_registered-no.json

With ``--keep`` the figures go to results/real-pair.json as well, from which the results page is written.

One pair says whether a model works on real scans at all, not how well it works.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from scipy import ndimage

from creps import CrepsError, Volume, hu, load, read_volume, write_volume
from creps.demo.baselines import constant_water, histogram_matched
from creps.errors import InputError
from creps.evaluation.evaluate import evaluate
from creps.evaluation.options import EvaluationOptions
from creps.figures.planes import SOFT_WINDOW_HU, Panel, comparison_figure, mr_window
from creps.io.atomic import write_json
from creps.io.dicom.read.series import Series, one_series
from creps.io.dicom.read.volume import read_series
from creps.io.picture import write_picture
from creps.metrics.segmentation import dice
from creps.preprocessing.mask import body_mask_ct, body_mask_mr
from creps.preprocessing.registration import RigidRegistration, register_rigid
from creps.preprocessing.resample import resample
from creps.provenance import provenance, sha256_file
from creps.volume import Mask

MAX_UNPACKED_BYTES = 4 * 2**30

LIMIT = "One patient: no figure of this pair says how a model does on others."

LIMITS_OF_THIGH = (
    "A thigh above the knee with a tumour in it: models of heads or pelves were trained on other anatomy.",
    "The field of view cuts through the limb and the femur: most of the MR's edge is no skin.",
    "MR and CT are of two sittings: muscle and fat lie otherwise, which no rigid movement mends.",
    "Low-dose CT of a PET/CT with 3.3 mm slices: its own noise and blur are in every figure.",
)
"""What `alignment.json` says beside the numbers of the case ``thigh`` (STS_042 of the IBSI validation data)."""

WORSE = "Registered, the bodies overlap less than as they lie: look at both pictures before choosing this one."


KEPT = Path(__file__).parent / "results" / "real-pair.json"


@dataclass(frozen=True)
class Pair:
    """A pair on the MR's grid.

    Attributes:
        name: Case, with how it was registered.
        title: The same in words, for tables and pictures.
        mr: In scanner units.
        ct: In HU.
        mask: 1 where both images see the body.
        alignment: What is known of how well they lie on each other, as plain JSON values.
    """

    name: str
    title: str
    mr: Volume
    ct: Volume
    mask: Volume
    alignment: dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="DICOM folder or .tar.gz with one MR and one CT")
    arguments.add_argument("--work", type=Path, required=True, help="folder for the case, the sCTs and the scores")
    arguments.add_argument("--case", default="thigh", help="name of the case")
    arguments.add_argument("--register", choices=["rigid"], help="register the CT to the MR; default: as they lie")
    arguments.add_argument("--model", type=Path, nargs="+", default=[], help="runs or model folders to score")
    arguments.add_argument("--reference-ct", type=Path, nargs="+", default=[], help="CTs of others, for a histogram")
    arguments.add_argument("--limit", nargs="+", default=[], help="sentences on what this pair cannot show")
    arguments.add_argument("--keep", action="store_true", help="put the figures among the benchmark's results")
    chosen = arguments.parse_args()
    try:
        with series_folder(chosen.data, chosen.work) as folder:
            pair = prepare_pair(folder, chosen.case, chosen.register == "rigid")
        pair.alignment["limits"] += chosen.limit or (LIMITS_OF_THIGH if chosen.case == "thigh" else [])
        pair.alignment["data_sha256"] = sha256_file(chosen.data) if chosen.data.is_file() else None  # no patient's name
        write_pair(pair, chosen.work)
        draw(pair, chosen.work / f"check_{pair.name}.png")
        scores = score(pair, chosen.model, chosen.reference_ct, chosen.work)
    except CrepsError as error:
        sys.exit(str(error))
    print_table(pair, scores)
    if chosen.keep:
        keep(pair, scores)


@contextmanager
def series_folder(data: Path, work: Path) -> Iterator[Path]:
    """The folder itself, or the archive unpacked for as long as it is needed.

    Raises:
        InputError: neither, or an archive that is damaged, too large or would write elsewhere.
    """
    if data.is_dir():
        yield data
        return
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as temporary:
        try:
            with tarfile.open(data) as archive:
                size = sum(member.size for member in archive.getmembers())
                if size > MAX_UNPACKED_BYTES:
                    raise InputError(
                        f"{data} unpacks to {size / 2**30:.1f} GB.", "Unpack it yourself, name the folder."
                    )
                archive.extractall(temporary, filter="data")  # nothing outside the folder, no devices, no links out
        except (OSError, tarfile.TarError) as error:
            raise InputError(f"{data} cannot be unpacked ({error}).", "Give a .tar.gz or a folder of DICOM.") from error
        yield Path(temporary)


def prepare_pair(folder: Path, case: str, register: bool) -> Pair:
    """Read MR and CT, bring the CT onto the MR's grid and find the body that both see.

    Raises:
        InputError: not one series of each, other frames of reference without registration, or no overlap.
    """
    series = {modality: one_series(folder, modality, case) for modality in ("mr", "ct")}
    mr, ct = (read_series(one, case) for one in series.values())
    frames = {frame_of_reference(one) for one in series.values()}
    one_frame = len(frames) == 1 and "" not in frames
    if not (one_frame or register):
        raise InputError(f"MR and CT of {case} have different frames of reference.", "Register them: --register rigid.")
    still = RigidRegistration(np.eye(3), (0, 0, 0), (0, 0, 0), 0, 0)
    mr_body = body_mask_mr(mr)
    found = still
    if register:
        found = register_rigid(mr, ct, fixed_mask=mr.with_array(mr_body), start="frame" if one_frame else "centres")
    ct_body = ct.with_array(body_mask_ct(ct))  # on its own, larger field of view, where less skin is cut off

    def on_mr(how: RigidRegistration) -> Mask:
        return np.asarray(how.moved(ct_body, mr, 0.0, "nearest").array > 0)

    seen = found.moved(ct.with_array(np.ones(ct.shape)), mr, 0.0, "nearest").array > 0
    mask = mr_body & on_mr(found) & seen
    if not mask.any():
        raise InputError(f"MR and CT of {case} do not overlap.", "Check that they are of one patient and region.")
    points = mr.to_patient_mm(np.argwhere(mask))
    moves_mm = np.linalg.norm(found.to_moving_mm(points) - points, axis=1)
    ct_on_mr = found.moved(ct, mr, hu.AIR)
    before, after = (round(dice(mr_body, on_mr(way)), 4) for way in (still, found))
    alignment = {
        "registered": "rigid" if register else "no",
        "registration": found.record() if register else None,
        "same_frame_of_reference": one_frame,
        "movement_in_body_mm": {"mean": round(float(moves_mm.mean()), 2), "max": round(float(moves_mm.max()), 2)},
        "body_dice_as_they_lie": before,
        "body_dice": after,
        "mr_voxels_in_ct_view": round(float(seen.mean()), 4),
        "mask_voxels": int(mask.sum()),
        "mask_share_of_mr": round(float(mask.mean()), 4),
        "air_share_of_mask": round(float((ct_on_mr.array[mask] < hu.SKIN).mean()), 4),
        "limits": [LIMIT, WORSE] if after < before else [LIMIT],
    }
    how = alignment["registered"]
    name, title = f"{case}_registered-{how}", f"{case} (registered: {how})"
    return Pair(name, title, mr, ct_on_mr, mr.with_array(mask), alignment)


def frame_of_reference(series: Series) -> str:
    return str(pydicom.dcmread(series.files[0], stop_before_pixels=True).get("FrameOfReferenceUID", ""))


def write_pair(pair: Pair, work: Path) -> None:
    """Write the case as SynthRAD lays cases out."""
    folder = work / "cases" / pair.name
    write_volume(pair.mr, folder / "mr.nii.gz")
    write_volume(pair.ct, folder / "ct.nii.gz", integer=True)
    write_volume(pair.mask, folder / "mask.nii.gz", integer=True)
    write_json(folder / "alignment.json", {**provenance(), "case": pair.name, **pair.alignment})


def score(pair: Pair, models: Sequence[Path], reference_cts: Sequence[Path], work: Path) -> dict[str, dict[str, Any]]:
    """Figures of what needs no network and of each model, written to WORK too."""
    scts = {name: sct.array for name, sct in baselines(pair, reference_cts).items()}
    for path in models:
        model = load(path)
        sct = model.synthesize(pair.mr).sct
        label = path.parent.name if path.name == "model" else path.name
        name = f"{label} (trained on: {model.plan.preparation.region})"
        if name in scts:
            raise InputError(f"Two models are called {label}.", "Rename the folder of one.")
        write_volume(sct, work / "sct" / label / f"{pair.name}.nii.gz", integer=True)
        scts[name] = sct.array
    options = EvaluationOptions(mask=pair.mask)
    scores = {
        name: evaluate(pair.mr.with_array(array), pair.ct, options, name=name).values for name, array in scts.items()
    }
    write_json(
        work / f"scores_{pair.name}.json",
        {**provenance(), "case": pair.name, "alignment": pair.alignment, "scores": scores},
    )
    return scores


def baselines(pair: Pair, reference_cts: Sequence[Path]) -> dict[str, Volume]:
    """Constant water, and the MR with the histogram of a CT's body."""
    mask = pair.mask.array > 0
    if reference_cts:
        references = [read_volume(path) for path in reference_cts]
        name = "histogram-matched MR"
    else:
        references, name = [], "histogram-matched MR (to this very CT: flattered)"
    bodies = [ct.array[body_mask_ct(ct)] for ct in references] or [pair.ct.array[mask]]
    matched = histogram_matched(pair.mr, mask, np.concatenate(bodies))
    return {"constant water": constant_water(pair.mr, mask), name: matched}


def draw(pair: Pair, path: Path) -> None:
    """MR, CT, and each with the other's edges: the CT's skin and bone in the MR, the MR's skin in the CT."""
    fine = (1.5, 0.35, 0.35)
    mr, ct = resample(pair.mr.reoriented(), fine), resample(pair.ct.reoriented(), fine)
    window = mr_window(mr)
    edges = outline(ct.array > hu.SKIN) | outline(ct.array > hu.BONE_ABOVE)
    mr_edges = outline(body_mask_mr(mr))
    rows = [
        [
            Panel(mr, "MR", window),
            Panel(ct, "CT on its grid", SOFT_WINDOW_HU),
            Panel(mr.with_array(np.where(edges, window[1], 0.7 * mr.array)), "MR, edges of the CT", window),
            Panel(ct.with_array(np.where(mr_edges, 1e4, ct.array)), "CT, outline of the MR", SOFT_WINDOW_HU),
        ]
    ]
    write_picture(comparison_figure(rows, pair.title), path)


def outline(region: Mask) -> Mask:
    """Edges of a region within each axial slice, those of the image left out."""
    within = np.stack([ndimage.binary_erosion(plane, border_value=1) for plane in region])
    return np.asarray(region & ~within)


def print_table(pair: Pair, scores: dict[str, dict[str, Any]]) -> None:
    alignment = pair.alignment
    print(f"{pair.title}: body Dice {alignment['body_dice']:.3f}, {alignment['mask_voxels']} voxels in the mask")
    print(f"{'':54}{'MAE HU':>9}{'bias HU':>9}{'bone Dice':>11}")
    for name, values in scores.items():
        dice = "-" if values["bone_dice"] is None else f"{values['bone_dice']:.3f}"
        print(f"{name:54}{values['mae_hu']:9.1f}{values['bias_hu']:9.1f}{dice:>11}")
    print("Not for diagnosis. " + " ".join(alignment["limits"]))


def keep(pair: Pair, scores: dict[str, dict[str, Any]]) -> None:
    """Put the figures (no image) among the results that the page is written from, in place of earlier ones."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))["pairs"] if KEPT.is_file() else []
    one = {"case": pair.name, "title": pair.title, "alignment": pair.alignment, "scores": scores}
    pairs = [*(other for other in kept if other["case"] != pair.name), one]
    write_json(KEPT, {**provenance(), "pairs": sorted(pairs, key=lambda pair: str(pair["case"]))})


if __name__ == "__main__":
    main()
