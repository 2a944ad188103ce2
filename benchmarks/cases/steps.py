"""What is run for a case, and whether its result is right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.cases.headers import DAMAGES, PLACES, nifti
from benchmarks.cases.inputs import Change, head, save, write_labels, write_names, write_padded
from benchmarks.dicom.campaign import command_line

__all__ = [
    "Result",
    "cohort_of",
    "covered",
    "damaged",
    "evaluated",
    "labelled",
    "one_more",
    "placed",
    "prepared",
    "read",
    "scored",
    "spelled",
    "told",
    "with_hand",
]

Result = tuple[int, str, bool]
"""Exit code, figure, and whether it is right."""

PREPARATION = ("--preparation.spacing_mm", "[4,4,4]", "--jobs", "1")


def prepared(folder: Path, words: str, *options: str, output: Path | None = None) -> Result:
    """Prepare; with `words` it has to be refused in these, else to succeed with a plausible median in the body."""
    output = output or folder / "cohort"
    code, said = command_line("prepare", folder / "MR", folder / "CT", "-o", output, *PREPARATION, *options)
    if words:
        right = code == 1 and words in said and not output.exists()
        return code, figure_in(said), right
    if code:
        return code, figure_in(said), False
    cases = [c for c in json.loads((output / "manifest.json").read_text())["cases"] if c["modality"] == "mr"]
    medians = [
        float(np.median(np.load(output / f"mr/{c['case']}.npy")[np.load(output / f"mr_body/{c['case']}.npy")]))
        for c in cases
    ]
    return code, f"median {np.median(medians):.3g} of 2", len(cases) == 4 and 0.5 < min(medians) < max(medians) < 1.9


def evaluated(folder: Path, value: float, seed: int) -> Result:
    """Score an sCT against a CT with padding of this value."""
    write_padded(folder, value, seed)
    return scored(folder, folder / "sct.nii.gz", folder / "ct.nii.gz")


def scored(folder: Path, sct: Path, ct: Path) -> Result:
    """Score an sCT whose noise alone gives an MAE of 32 HU."""
    code, said = command_line("evaluate", sct, ct, "--json", folder / "scores.json")
    if code:
        return code, figure_in(said), False
    found = re.search(r'"mae(?:_hu)?":\s*([-\d.]+)', (folder / "scores.json").read_text())
    mae = float(found[1]) if found else float("nan")
    return code, f"MAE {mae:.1f} HU", 30 < mae < 34


def told(folder: Path, words: str, change: Change, seed: int) -> Result:
    """Score an sCT in another unit: refused or told in these words."""
    ct = head(seed)[1]
    save(change(ct), folder / "sct.nii.gz")
    save(ct, folder / "ct.nii.gz")
    written = folder / "scores.json"
    code, said = command_line("evaluate", folder / "sct.nii.gz", folder / "ct.nii.gz", "--json", written)
    notes = json.loads(written.read_text())["cases"][0]["notes"] if written.exists() else []
    told_of = [note for note in notes if words in note]
    return code, figure_in(said) or " ".join(told_of), words in said or bool(told_of)


def covered(folder: Path, axis: int, value: float, seed: int) -> Result:
    """Score an sCT against a CT that does not reach one side: the noise alone counts, and the body agrees."""
    ct = head(seed)[1]
    noise = np.random.default_rng(seed).normal(0, 40, ct.shape)
    save(np.clip(ct + noise, -1024, 3000), folder / "sct.nii.gz")
    ends = [slice(None)] * 3
    ends[axis] = slice(-9, None)
    ct[tuple(ends)] = value
    save(ct, folder / "ct.nii.gz")
    code, figure, right = scored(folder, folder / "sct.nii.gz", folder / "ct.nii.gz")
    dice = re.search(r'"body_dice":\s*([\d.]+)', (folder / "scores.json").read_text()) if not code else None
    return (
        code,
        f"{figure}, Dice {float(dice[1]) if dice else 0:.3f}",
        right and dice is not None and float(dice[1]) > 0.99,
    )


def placed(folder: Path, place: str, seed: int) -> Result:
    """Is the sCT where nibabel sees the MR?"""
    nifti(folder / "mr.nii.gz", seed, PLACES[place])
    code, said, sct = synthesized(folder / "mr.nii.gz", folder, ("--inference.device", "cpu"))
    if sct is None:
        return code, figure_in(said), False
    mr, written = (nib.load(folder / name) for name in ("mr.nii.gz", "sct.nii.gz"))
    corners = np.array(np.meshgrid(*([0, n - 1] for n in sct.shape), [1])).reshape(4, -1)
    apart = float(np.abs((mr.affine - written.affine) @ corners).max())  # type: ignore[attr-defined]
    both = float(np.abs((written.get_qform() - written.get_sform()) @ corners).max())  # type: ignore[attr-defined]
    return code, f"{apart:.4f} mm, qform and sform {both:.4f} mm", max(apart, both) < 0.01


def damaged(folder: Path, damage: str, seed: int) -> Result:
    """Is a damaged file refused for the true reason, and nothing written?"""
    name, words, write = DAMAGES[damage]
    write(folder / name, seed)
    code, said, _ = synthesized(folder / name, folder, ("--inference.device", "cpu"))
    return code, figure_in(said), code == 1 and words in said and not (folder / "sct.nii.gz").exists()


def labelled(folder: Path, ending: str, seed: int) -> Result:
    """Prepare a cohort with label maps beside the MRs."""
    write_labels(folder, ending, seed)
    return cohort_of(folder, folder / "cohort", 8)


def spelled(folder: Path, mr: str, ct: str, seed: int) -> Result:
    """Prepare four people under two spellings."""
    write_names(folder, mr, ct, seed)
    return cohort_of(folder, folder / "cohort", 4)


def cohort_of(folder: Path, output: Path, patients: int) -> Result:
    """Prepare; four MRs, so many patients, and nobody in training and validation."""
    code, said = command_line("prepare", folder / "MR", folder / "CT", "-o", output, *PREPARATION)
    if code:
        return code, figure_in(said), False
    cases = json.loads((output / "manifest.json").read_text())["cases"]
    splits: dict[str, set[str]] = {}
    for case in cases:
        splits.setdefault(case["patient"], set()).add(case["split"])
    mrs = sum(case["modality"] == "mr" for case in cases)
    right = mrs == 4 and len(splits) == patients and all(len(own) == 1 for own in splits.values())
    return code, f"{mrs} MRs, {len(splits)} patients", right


def with_hand(case: Path, folder: Path, options: tuple[str, ...]) -> Result:
    """Is a hand beside the head predicted?"""
    code, said, sct = synthesized(case / "mr.nii.gz", folder, options)
    if sct is None:
        return code, figure_in(said), False
    hand = voxels(case / "hand.nii.gz") > 0
    share = float((sct[hand] > -400).mean())
    return code, f"{100 * share:.0f} % of the hand predicted", share > 0.9


def one_more(case: Path, folder: Path, options: tuple[str, ...]) -> Result:
    """How much does an empty slice change the sCT inside the body?"""
    code, said, one = synthesized(case / "mr.nii.gz", folder / "a", options)
    _, _, other = synthesized(case / "mr_one_more.nii.gz", folder / "b", options)
    if one is None or other is None:
        return code, figure_in(said), False
    apart = np.abs(one - other[..., : one.shape[2]])[one > -400]
    mean, high = float(apart.mean()), float(np.percentile(apart, 95))
    return code, f"{mean:.1f} HU, 95th percentile {high:.1f}", mean <= 2 and high <= 10


def read(path: Path, folder: Path, options: tuple[str, ...]) -> Result:
    """Is a file read that libraries read?"""
    code, said, sct = synthesized(path, folder, options)
    return code, figure_in(said) or "read", sct is not None


def synthesized(mr: Path, folder: Path, options: tuple[str, ...]) -> tuple[int, str, Any]:
    """Exit code, messages and the sCT (x, y, z) by the shipped model, whatever it says of such heads."""
    import creps

    model = Path(creps.__file__).parent / "shipped" / "head"
    folder.mkdir(exist_ok=True)
    code, said = command_line("synthesize", model, mr, "-o", folder / "sct.nii.gz", "--force", *options)
    return code, said, None if code else voxels(folder / "sct.nii.gz")


def figure_in(said: str) -> str:
    """The error without folders."""
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    return re.sub(r"\S*/", "", errors[0])[:200] if errors else ""


def voxels(path: Path) -> Any:
    """The values of a NIfTI file, read by nibabel."""
    image: Any = nib.load(path)
    return np.asarray(image.dataobj, np.float32)
