"""Inputs that hospitals really have, through the command line: is what comes of each of them right?

    python -m benchmarks.cases.cases [CASES] OUT [--seed 0] [--only 3_units] [--dicom 83]

CASES is a folder of inputs written by ``make_cases.py``; without it, creps writes its own, seeded ones only. OUT
receives `results.json` and `results.md`: case, exit code, figure, and whether that is right. Exit code 1 if one is not.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases.headers import DAMAGES, PLACES
from benchmarks.cases.inputs import Change, unchanged, write_units
from benchmarks.cases.steps import (
    Result,
    cohort_of,
    covered,
    damaged,
    evaluated,
    labelled,
    one_more,
    placed,
    prepared,
    read,
    scored,
    spelled,
    told,
    with_hand,
)
from benchmarks.dicom.campaign import campaign
from benchmarks.dicom.mutations import MUTATIONS
from creps.io.atomic import write_json
from creps.provenance import provenance


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
    parser.add_argument("--dicom", type=int, default=len(MUTATIONS), help="spoilt DICOM series (benchmarks/dicom)")
    parser.add_argument("--only", default="", help="start of the names of the cases to run")
    chosen = parser.parse_args()
    *cases, output = chosen.folders
    with tempfile.TemporaryDirectory() as work:
        rows = list(run(Path(work), chosen.seed, chosen.only, cases[0] if cases else None))
    if "dicom".startswith(chosen.only) or chosen.only.startswith("dicom"):
        rows += spoilt_series(chosen.dicom, chosen.seed)
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
    steps = seeded(seed) | seeded_geometry(seed) | (of_folder(given) if given is not None else {})
    for number, (case, step) in enumerate(steps.items()):
        if case.startswith(only):
            folder = work / str(number)
            folder.mkdir()
            yield Row(case, *step(folder))


def spoilt_series(count: int, seed: int) -> list[Row]:
    """The mutations of benchmarks/dicom, in turn: one row for each of its trials."""
    return [
        Row(
            f"dicom: {trial['mutation']}",
            {"accepted": 0, "refused": 1}.get(trial["outcome"], -1),
            trial["fault"] or re.sub(r"\S*/", "", trial["said"])[:200].replace("|", "/").replace("\n", " "),
            not trial["fault"],
        )
        for trial in campaign(count, seed)
    ]


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
        "3_units: MR + 1024": units("has an offset", lambda a: a + 1024),
        "3_units: negative values stored without a sign": units(
            "as bright as all others", lambda a: np.where(a < 3, 65535, a)
        ),
        "4_background: CT - 1024": units("lie below", ct=lambda a: a - 1024),
        "4_background: CT + 100": units("median of its air", ct=lambda a: a + 100),
        "4_background: CT x 2": units("is not a CT in HU", ct=lambda a: 2 * a),
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
    for ending in ("_seg", "-label", "_mask", ".labels", "_GTVp", "_prob"):
        found[f"6_labels: {ending}"] = lambda folder, e=ending: labelled(folder, e, seed)  # type: ignore[misc]
    for one, other in (
        ("Bär{}", "BÄR{}"),
        ("case_{:03d}_0000", "case_{:03d}"),
        ("p{}_mr", "p{}_ct"),
        ("P-0{}", "p {}"),
        ("O'Neil {}", "o'neil-{}_CT"),
        ("CON{}", "con{}"),
        ("sub-{}_ses-1_T1w", "sub-{}_ses-2_ct"),
        ("p{}_brain", "p{}"),
    ):
        found[f"7_names: {one}, {other}"] = lambda folder, m=one, c=other: spelled(folder, m, c, seed)  # type: ignore[misc]
    return found


def seeded_geometry(seed: int) -> dict[str, Callable[[Path], Result]]:
    """Likewise of what a header or a field of view decides."""
    found: dict[str, Callable[[Path], Result]] = {}
    for words, change in (("normalised", lambda a: a / 1000), ("is the sCT in HU", lambda a: a + 1024)):
        found[f"4_background: evaluate, sCT {words}"] = lambda f, w=words, c=change: told(f, w, c, seed)  # type: ignore[misc]
    for axis, side in ((2, "top"), (1, "front")):
        for value in (-1000, -1024, 0, -3024):
            found[f"13_coverage: {side}, {value}"] = lambda f, a=axis, v=value: covered(f, a, v, seed)  # type: ignore[misc]
    for place in PLACES:
        found[f"2_sform: {place}"] = lambda folder, p=place: placed(folder, p, seed)  # type: ignore[misc]
    for damage in DAMAGES:
        found[f"9_reasons: {damage}"] = lambda folder, d=damage: damaged(folder, d, seed)  # type: ignore[misc]
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


def padded(mr: Any, value: float) -> Any:
    """The MR with its first planes along x replaced by a constant."""
    mr = mr.copy()
    mr[:2] = value
    return mr


if __name__ == "__main__":
    main()
