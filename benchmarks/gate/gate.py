"""What the gate lets pass, warns of and refuses: phantoms and real MRs, as they are and spoilt on purpose.

    python -m benchmarks.gate.gate [REAL]

REAL is a folder with {head,pelvis}/mr/*.nii.gz and dicom/*.tar.gz (default: shared/data beside the project; without it
only phantoms are looked at). Everything is done on a grid of 4 mm. Takes some minutes on one core. Writes
results.json and the table in README.md, both beside this file.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gate.limits import leave_one_out
from benchmarks.gate.mistakes import HARMLESS, MISTAKES, Change, of_units
from creps.errors import CrepsError
from creps.intake.features import Features, features_of
from creps.intake.gate import examine
from creps.intake.profile import IntakeProfile, profile_from
from creps.io.atomic import write_json
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.dicom.read.series import find_series
from creps.io.dicom.read.volume import read_series
from creps.io.itk import read_volume
from creps.phantom import REGIONS
from creps.phantom.patient import grow_patient
from creps.preprocessing.plausibility import check_mr_scale
from creps.preprocessing.preparation import Prepared, prepare_mr
from creps.provenance import provenance
from creps.settings import PreparationSettings
from creps.volume import Volume

SPACING_MM = (4.0, 4.0, 4.0)
TRAINING, HELD_OUT, SPOILT = 24, 24, 9
"""Phantoms of each region: trained on, held out, and of these spoilt on purpose."""

TRAINING_SEED, HELD_OUT_SEED = 81, 82
"""Thresholds were chosen on phantoms of other seeds: 21, 31, 51, 61; 71 and 72 were looked at while checks changed."""

ON_REAL = (
    "a limb beside the body", "coil shells beside the body", "one empty slice more", "40 mm of 0 on all sides",
    "values in [0, 1]", "values from 0 to 65,000",
    "inverted contrast", "inverted contrast, air too", "z-score", "head and feet exchanged", "lower half missing",
    "left half missing", "cut on both sides by a fifth, edges dark",
    "dark left and right edges, a quarter of the signal",
    "spacing 0.75 times as long", "void, ball of 20 mm radius", "void, ball of 30 mm radius",
)  # fmt: skip
PARTS = ("contrast", "pattern", "shape", "size", "noise", "void")
SCORED = PARTS[:4]
"""The parts that can refuse."""

HERE = Path(__file__).parent

KEPT: dict[tuple[int, str, float | str], tuple[Volume, Prepared]] = {}
MOST_KEPT = 120

Known = list[tuple[Features, str]]
Judged = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    beside = HERE.parents[1].parent / "shared" / "data"
    arguments.add_argument("real", type=Path, nargs="?", default=beside if beside.is_dir() else None)
    real = arguments.parse_args().real
    started = time.perf_counter()
    rows: list[dict[str, Any]] = []
    heads, pelves = Phantoms("head"), Phantoms("pelvis")
    for own, other in ((heads, pelves), (pelves, heads)):
        rows += on_phantoms(own, other)
    if real is not None:
        rows += on_real(real, {"head": heads, "pelvis": pelves})
    seconds = round(time.perf_counter() - started)
    refitted = leave_one_out(rows)
    write_json(HERE / "results.json", {**provenance(), "seconds": seconds, "rows": rows, "refitted": refitted})
    write_tables(rows, refitted)


class Phantoms:
    """Phantoms of a region, in turn of each of its centres; training ones are prepared with their true masks."""

    def __init__(self, region: str) -> None:
        self.region, self.settings = region, settings(region)
        self.training: Known = []
        for i in range(TRAINING):
            phantom = grow_patient(REGIONS[region], [TRAINING_SEED, 0, i], 4.0, ct=False, centre=i % 3)
            if phantom.mr is not None:
                self.training.append((measured(phantom.mr, self.settings, phantom.mask), f"t{i}"))
        grown = (
            grow_patient(REGIONS[region], [HELD_OUT_SEED, 0, i], 4.0, ct=False, centre=i % 3) for i in range(HELD_OUT)
        )
        self.held_out = [phantom.mr for phantom in grown if phantom.mr is not None]

    def profile(self, count: int = TRAINING, without_centre: int | None = None) -> IntakeProfile:
        """Of the first training phantoms, or of those of the other centres."""
        return profile_from([one for i, one in enumerate(self.training[:count]) if i % 3 != without_centre])


def settings(region: str, scale: float | str = "auto") -> PreparationSettings:
    return PreparationSettings.model_validate(
        {"region": region, "spacing_mm": SPACING_MM, "mr_scale": scale, "remove_outside": True}
    )


def measured(mr: Volume, chosen: PreparationSettings, mask: Volume | None = None) -> Features:
    prepared = prepare_mr(mr, chosen, "an MR", mask)
    return features_of(prepared.array, prepared.body, prepared.grid.spacing_mm)


def judge(
    mr: Volume, chosen: PreparationSettings, profile: IntakeProfile, acquisition: Acquisition | None = None
) -> Judged:
    """What happens to an MR on its way to the network."""
    try:
        prepared = prepared_once(mr, chosen)
    except CrepsError as error:
        return {"verdict": "refused", "checks": [f"{type(error).__name__} (preparation)"], "scores": None}
    gate = examine(mr, prepared, chosen, profile, acquisition, "anatomy")
    checks = [f"{finding.check} ({finding.level})" for finding in gate.findings if finding.level != "note"]
    return {"verdict": gate.verdict, "checks": checks, "scores": gate.scores.parts if gate.scores else None}


def prepared_once(mr: Volume, chosen: PreparationSettings) -> Prepared:
    """The MRs that are looked at again and again are kept."""
    key = (id(mr), chosen.region, chosen.mr_scale)
    if key not in KEPT:
        prepared = prepare_mr(mr, chosen, "an MR")
        check_mr_scale(prepared.intensity, prepared.mr_divisor or 1.0, "an MR", fixed=chosen.mr_scale != "auto")
        KEPT[key] = (mr, prepared)
        while len(KEPT) > MOST_KEPT:
            KEPT.pop(next(iter(KEPT)))
    return KEPT[key][1]


def row(model: str, what: str, judged: Iterable[Judged], *, wanted: str) -> dict[str, Any]:
    """Summary of what happened to several MRs."""
    cases = list(judged)
    verdicts = [case["verdict"] for case in cases]
    scores = [case["scores"] for case in cases if case["scores"]]
    found = {
        "model": model,
        "what": what,
        "wanted": wanted,
        "count": len(cases),
        **{verdict: verdicts.count(verdict) for verdict in ("passed", "warned", "refused")},
        "scores": {
            part: [round(float(v), 2) for v in np.quantile([one[part] for one in scores], (0, 0.5, 1))]
            for part in (PARTS if scores else ())
        },
        "largest": [
            None if case["scores"] is None else round(float(max(case["scores"][part] for part in SCORED)), 2)
            for case in cases
        ],
        "cut": [any(check.startswith("field of view") for check in case["checks"]) for case in cases],
        "checks": count(check for case in cases for check in case["checks"]),
    }
    print(f"{model:28s} {what:46s}", *(f"{v} {found[v]}" for v in ("passed", "warned", "refused")), flush=True)
    return found


def count(checks: Iterable[str]) -> dict[str, int]:
    all_of_them = sorted(checks)
    return {check: all_of_them.count(check) for check in dict.fromkeys(all_of_them)}


def on_phantoms(own: Phantoms, other: Phantoms) -> list[dict[str, Any]]:
    """Phantoms of a region given to models of that region."""
    rows, chosen = [], own.settings
    for trained in (1, 2, 3, 6, 12, TRAINING):
        model, profile = f"{own.region}, {trained} MR{'s' if trained > 1 else ''}", own.profile(trained)
        held_out = (judge(mr, chosen, profile) for mr in own.held_out)
        rows.append(row(model, "held out, as trained on", held_out, wanted="pass" if trained >= 3 else "-"))
        wrong = (judge(mr, chosen, profile) for mr in other.held_out)
        rows.append(row(model, f"{other.region} instead", wrong, wanted="refuse"))
    for centre in range(3):
        profile = own.profile(without_centre=centre)
        unseen = (judge(mr, chosen, profile) for mr in own.held_out[centre::3])
        sequence = REGIONS[own.region].mr_centres[centre].sequence
        rows.append(row(f"{own.region}, without centre", f"that centre ({sequence})", unseen, wanted="-"))
    profile, model = own.profile(), f"{own.region}, {TRAINING} MRs"
    for wanted, changes in (("pass", HARMLESS), ("refuse", MISTAKES)):
        for what, change in changes.items():
            spoilt = (judge(change(mr), chosen, profile) for mr in own.held_out[:SPOILT])
            rows.append(row(model, what, spoilt, wanted=wanted))
    return rows + with_fixed_divisor(own)


def with_fixed_divisor(own: Phantoms) -> list[dict[str, Any]]:
    """A model with a fixed divisor, trained at one centre: other units are another contrast then."""
    first = own.held_out[::3]
    divisor = float(np.mean([np.percentile(mr.array, 99) for mr in first])) / 2
    chosen = settings(own.region, divisor)
    profile = profile_from([(measured(mr, chosen), str(i)) for i, mr in enumerate(first[:-2])])
    rows = []
    units = {
        "held out": of_units(1),
        "a tenth": of_units(0.1),
        "10 times": of_units(10),
        "[0, 1]": HARMLESS["values in [0, 1]"],
        "0 to 65,000": HARMLESS["values from 0 to 65,000"],
    }
    for what, change in units.items():
        wanted = "pass" if what == "held out" else "refuse"
        judged = [judge(change(mr), chosen, profile) for mr in first[-2:]]
        rows.append(row(f"{own.region}, fixed divisor", f"units: {what}", judged, wanted=wanted))
    return rows


def on_real(folder: Path, phantoms: dict[str, Phantoms]) -> list[dict[str, Any]]:
    """Real MRs: each against the others of its region, against the other region and against phantoms."""
    rows = []
    files = {region: sorted((folder / region / "mr").glob("*.nii.gz")) for region in phantoms}
    volumes = {region: [read_volume(path) for path in paths] for region, paths in files.items()}
    for region, other in (("head", "pelvis"), ("pelvis", "head")):
        chosen, own = settings(region), volumes[region]
        known = [(measured(mr, chosen), str(i)) for i, mr in enumerate(own)]
        rest = [profile_from(known[:i] + known[i + 1 :]) for i in range(len(own))]
        model = f"real {region}, {len(own) - 1} MRs"
        rows.append(row(model, "the one left out", map_judge(own, chosen, rest), wanted="-"))
        for what in ON_REAL:
            spoilt = map_judge(own, chosen, rest, (HARMLESS | MISTAKES)[what])
            rows.append(row(model, what, spoilt, wanted="pass" if what in HARMLESS else "refuse"))
        whole = profile_from(known)
        wrong = (judge(mr, chosen, whole) for mr in volumes[other])
        rows.append(row(f"real {region}, {len(own)} MRs", f"real {other} instead", wrong, wanted="refuse"))
        ours = phantoms[region]
        for what, mrs in ((f"real {region}", own), (f"real {other}", volumes[other])):
            strangers = (judge(mr, chosen, ours.profile()) for mr in mrs)
            rows.append(row(f"{region}, {TRAINING} MRs", what, strangers, wanted="-" if mrs is own else "refuse"))
    return rows + on_dicom(folder / "dicom", phantoms)


def map_judge(
    mrs: Sequence[Volume], chosen: PreparationSettings, profiles: Sequence[IntakeProfile], change: Change | None = None
) -> Iterable[Judged]:
    for mr, profile in zip(mrs, profiles, strict=True):
        yield judge(change(mr) if change else mr, chosen, profile)


def on_dicom(folder: Path, phantoms: dict[str, Phantoms]) -> list[dict[str, Any]]:
    """Real MR series with their headers."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for archive in sorted(folder.glob("*.tar.gz")):
            with tarfile.open(archive) as packed:
                packed.extractall(Path(place) / archive.stem, filter="data")
            for series in find_series(Path(place) / archive.stem):
                if series.modality == "mr":
                    mr, said = read_series(series), Acquisition.of(series)
                    for region, ours in phantoms.items():
                        judged = judge(mr, ours.settings, ours.profile(), said)
                        name = archive.name.split("_dicom")[0].split("_0000")[0]
                        rows.append(row(f"{region}, {TRAINING} MRs", f"DICOM: {name}", [judged], wanted="-"))
    return rows


def write_tables(rows: Sequence[dict[str, Any]], refitted: Sequence[dict[str, Any]]) -> None:
    """Put the tables where the README has them."""
    lines = ["| Model | Given | n | Passed | Warned | Refused | Largest score | Why, mostly |", "|" + "---|" * 8]
    for one in rows:
        largest = max(one["scores"], key=lambda part: one["scores"][part][1], default=None)
        median = "–" if largest is None else f"{largest} {one['scores'][largest][1]:.1f}"
        why = sorted(one["checks"].items(), key=lambda item: -item[1])[:2]
        reasons = "; ".join(f"{check} {number}" for check, number in why)
        verdicts = " | ".join(str(one[v]) for v in ("passed", "warned", "refused"))
        lines.append(f"| {one['model']} | {one['what']} | {one['count']} | {verdicts} | {median} | {reasons} |")
    put("table", lines)
    lines = ["| Left out | n | Score, median and largest | Limit from the others | Refused with it | With 2.5 |"]
    lines.append("|" + "---|" * 6)
    for one in refitted:
        scores = f"{one['median']:.2f}, {one['largest']:.2f}"
        lines.append(
            f"| {one['left_out']} | {one['count']} | {scores} | {one['limit']:.2f} | {one['refused']} |"
            f" {one['refused_as_shipped']} |"
        )
    put("refitted", lines)


def put(name: str, lines: Sequence[str]) -> None:
    """Replace what lies between two marks."""
    path, mark = HERE / "README.md", f"<!-- {name} -->"
    before, _, after = path.read_text(encoding="utf-8").split(mark)
    path.write_text(mark.join((before, "\n" + "\n".join(lines) + "\n", after)), encoding="utf-8")


if __name__ == "__main__":
    main()
