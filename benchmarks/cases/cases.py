"""Inputs that hospitals really have, through the command line: is what comes of each of them right?

    python -m benchmarks.cases.cases [CASES] OUT [--seed 0] [--only 3_units]

CASES is a folder of inputs written by ``make_cases.py``; without it, creps writes its own, seeded ones only. OUT
receives `results.json` and `results.md`: case, exit code, figure, and whether that is right. Exit code 1 if one is not.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.cases.inputs import Change, unchanged, write_labels, write_names, write_padded, write_units
from benchmarks.dicom.campaign import command_line
from creps.io.atomic import write_json
from creps.provenance import provenance

Result = tuple[int, str, bool]
"""Exit code, figure, and whether it is right."""

PREPARATION = ("--preparation.spacing_mm", "[4,4,4]", "--jobs", "1")


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    case: str
    exit_code: int
    figure: str
    right: bool


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="[CASES] OUT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="start of the names of the cases to run")
    chosen = parser.parse_args()
    *cases, output = chosen.folders
    with tempfile.TemporaryDirectory() as work:
        rows = list(run(Path(work), chosen.seed, chosen.only, cases[0] if cases else None))
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "results.json", {**provenance(), "seed": chosen.seed, "rows": [asdict(row) for row in rows]})
    (output / "results.md").write_text(table(rows), encoding="utf-8")
    wrong = [row.case for row in rows if not row.right]
    sys.stdout.write(f"{len(rows)} cases, {len(wrong)} not right: {', '.join(wrong) or 'none'}\n")
    sys.exit(1 if wrong else 0)


def run(work: Path, seed: int, only: str = "", given: Path | None = None) -> Iterator[Row]:
    """Run every case whose name starts with `only`.

    Args:
        work: An empty folder.
        seed: Seed of the inputs.
        only: Start of the names.
        given: Folder of inputs that exist already.
    """
    steps = seeded(seed) | (of_folder(given) if given is not None else {})
    for number, (case, step) in enumerate(steps.items()):
        if case.startswith(only):
            folder = work / str(number)
            folder.mkdir()
            yield Row(case, *step(folder))


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| case | exit code | figure | right |", "|---|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| {r.case} | {r.exit_code} | {r.figure} | {'yes' if r.right else '**no**'} |" for r in rows), ""]
    )


def seeded(seed: int) -> dict[str, Callable[[Path], Result]]:
    """Case → what writes, runs and checks it."""

    def units(words: str, mr: Change = unchanged, ct: Change = unchanged, scale: str = "auto") -> Callable[..., Result]:
        def step(folder: Path) -> Result:
            write_units(folder, mr, ct, seed)
            return prepared(folder, words, "--preparation.mr_scale", scale)

        return step

    def z(a: Any) -> Any:
        return (a - a[a > 100].mean()) / a[a > 100].std()

    found: dict[str, Callable[[Path], Result]] = {
        "3_units: [0, 1], auto": units("", lambda a: a / a.max()),
        "3_units: [0, 1], 1000": units("almost black", lambda a: a / a.max(), scale="1000"),
        "3_units: 0 to 65,000, auto": units("", lambda a: 65000 * a / a.max()),
        "3_units: 0 to 65,000, 1000": units("saturated", lambda a: 65000 * a / a.max(), scale="1000"),
        "3_units: z-score": units("negative signal", z),
        "3_units: inverted": units("inverted", lambda a: a.max() - a),
        "3_units: negative": units("is empty", lambda a: -a - 1),
        "3_units: constant": units("is empty", lambda a: 0 * a + 7),
        "3_units: NaN": units("NaN", lambda a: np.where(a < 20, np.nan, a)),
        "3_units: MR padded with -1000": units("", lambda a: padded(a, -1000)),
        "4_background: CT unshifted": units("looks like raw values", ct=lambda a: np.clip(a + 1024, 0, 4095)),
        "4_background: CT in [-1, 1]": units("looks normalised", ct=lambda a: np.clip(a / 1000, -1, 1)),
        "4_background: CT of 8 bits": units("8-bit", ct=lambda a: np.rint(255 * np.clip((a + 160) / 400, 0, 1))),
        "4_background: CT clipped at 150": units("clipped", ct=lambda a: np.clip(a, -150, 150)),
        "4_background: CT clipped at 400": units("clipped at 400", ct=lambda a: np.clip(a, -1000, 400)),
        "4_background: CT x 0.1": units("is not a CT in HU", ct=lambda a: a / 10),
        "4_background: CT + 1000": units("is not a CT in HU", ct=lambda a: a + 1000),
    }
    for value in (0, 1, -2000, -3024, -32768):
        found[f"4_background: evaluate, {value}"] = lambda folder, v=value: evaluated(folder, v, seed)  # type: ignore[misc]
    for ending in ("_seg", "-label", "_mask", ".labels"):
        found[f"6_labels: {ending}"] = lambda folder, e=ending: labelled(folder, e, seed)  # type: ignore[misc]
    for one, other in (
        ("Bär{}", "BÄR{}"),
        ("case_{:03d}_0000", "case_{:03d}"),
        ("p{}_mr", "p{}_ct"),
        ("P-0{}", "p {}"),
    ):
        found[f"7_names: {one}, {other}"] = lambda folder, m=one, c=other: spelled(folder, m, c, seed)  # type: ignore[misc]
    return found


def of_folder(cases: Path) -> dict[str, Callable[[Path], Result]]:
    """Likewise of the inputs in a folder; what is not there is left out."""
    demo = ("--inference.device", "cpu")
    found: dict[str, Callable[[Path], Result]] = {}
    scale = ("--preparation.mr_scale", "1000")
    for kind, words in (("zero_one", "almost black"), ("uint16", "saturated"), ("zscore", "negative signal")):
        found[f"given 3_units/{kind}"] = lambda folder, k=kind, w=words: prepared(  # type: ignore[misc]
            cases / "3_units" / k, w, *scale, output=folder / "cohort"
        )
    found["given 4_background"] = lambda folder: scored(
        folder, cases / "4_background/sct.nii.gz", cases / "4_background/ct.nii.gz"
    )
    found["given 2_sform, evaluate"] = lambda folder: scored(
        folder, cases / "2_sform/sct.nii.gz", cases / "2_sform/ct_registered.nii.gz"
    )
    found["given 6_labels"] = lambda folder: cohort_of(cases / "6_labels", folder / "cohort", 8)
    for kind in ("unicode", "channel"):
        found[f"given 7_names/{kind}"] = lambda folder, k=kind: cohort_of(  # type: ignore[misc]
            cases / "7_names" / k, folder / "cohort", 4
        )
    found["given 1_hand"] = lambda folder: with_hand(cases / "1_hand", folder, demo)
    found["given 8_slice"] = lambda folder: one_more(cases / "8_slice", folder, demo)
    for name in ("plain_called_gz", "nifti2"):
        found[f"given 9_reasons/{name}"] = lambda folder, n=name: read(  # type: ignore[misc]
            cases / "9_reasons" / f"{n}.nii.gz", folder, demo
        )
    return found


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

    model = Path(creps.__file__).parent / "demo" / "model"
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


def padded(mr: Any, value: float) -> Any:
    """The MR with its first planes along x replaced by a constant."""
    mr = mr.copy()
    mr[:2] = value
    return mr


if __name__ == "__main__":
    main()
