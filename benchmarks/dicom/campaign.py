"""Bad input: spoilt DICOM series through the command line; none may end in a traceback, a hang or half a result.

    python -m benchmarks.dicom.campaign --count 300 --seed 0

Every series is given to the command line as a user would, from processes that are ended if one takes more than
`--seconds`. Every second round spoils a compressed series. Kept in `results.json`: what became of each kind of
mutation, and in which words. Exit code 1 if anything was not as it has to be: see `broken`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dicom.mutations import MUTATIONS, Mutation
from benchmarks.dicom.originals import PATIENT, SECRETS, write_model, write_mr
from creps.io.atomic import write_json
from creps.provenance import provenance

HERE = Path(__file__).parent


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--count", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--seconds", type=float, default=120.0)
    arguments.add_argument("--output", type=Path, default=HERE / "results.json")
    chosen = arguments.parse_args()
    trials = campaign(chosen.count, chosen.seed, chosen.jobs, chosen.seconds)
    faults = [trial for trial in trials if trial["fault"]]
    write_json(chosen.output, {**provenance(), "seed": chosen.seed, **summary(trials)})
    for trial in faults:
        print(f"{trial['mutation']} (trial {trial['trial']}): {trial['fault']}\n    {trial['said']}")
    print(f"{len(trials)} series, {len(faults)} not as they have to be; {chosen.output}")
    sys.exit(1 if faults else 0)


def campaign(count: int, seed: int, jobs: int = 1, seconds: float = 120.0) -> list[dict[str, Any]]:
    """Run `count` trials, every mutation in turn."""
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model")
        write_originals(Path(folder))
        done: list[dict[str, Any]] = []
        with multiprocessing.get_context("spawn" if jobs > 1 else "fork").Pool(jobs, maxtasksperchild=50) as pool:
            running = [pool.apply_async(tried, (Path(folder), trial, seed)) for trial in range(count)]
            for trial, result in enumerate(running):
                try:
                    done.append(result.get(seconds))
                except multiprocessing.TimeoutError:
                    name = MUTATIONS[trial % len(MUTATIONS)].name
                    fault = f"it hangs: no end after {seconds:g} s"
                    done.append({"trial": trial, "mutation": name, "outcome": "hung", "said": "", "fault": fault})
                    break
    return done


def write_originals(folder: Path) -> None:
    """The series that are spoilt, in turn."""
    write_mr(folder / "mr0")
    write_mr(folder / "mr1", compressed=True)


def tried(folder: Path, trial: int, seed: int) -> dict[str, Any]:
    """Spoil a copy of the series, synthesize it, and see whether what became of it is as it has to be."""
    mutation = MUTATIONS[trial % len(MUTATIONS)]
    rng = np.random.default_rng([seed, trial])
    with tempfile.TemporaryDirectory(dir=folder) as work:
        mr, out = Path(work) / "mr", Path(work) / "out"
        shutil.copytree(folder / f"mr{trial // len(MUTATIONS) % 2}", mr)
        mutation.spoil(sorted(path for path in mr.rglob("*") if path.is_file()), rng)
        code, said = command_line("synthesize", folder / "model", mr, "-o", out)
        left = sorted(
            str(path.relative_to(work)) for path in Path(work).rglob("*") if path != mr and mr not in path.parents
        )
        fault = broken(mutation, code, said, out, left)
    outcome = "accepted" if code == 0 else "refused"
    return {"trial": trial, "mutation": mutation.name, "outcome": outcome, "said": cleaned(said, work), "fault": fault}


def command_line(*arguments: Any) -> tuple[int, str]:
    """Exit code and standard error of the command line, run in this process."""
    from creps.cli import main as creps

    sys.argv = ["creps", "-q", *map(str, arguments)]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            creps()
        except SystemExit as done:
            return int(done.code or 0), errors.getvalue()
        except BaseException as error:  # noqa: BLE001 - what gets through is what is looked for
            return 99, f"{errors.getvalue()}\nTraceback: {type(error).__name__}: {error}"
    return 0, errors.getvalue()


def broken(mutation: Mutation, code: int, said: str, out: Path, left: list[str]) -> str:
    """What is not as it has to be; empty if all is."""
    refused = code != 0
    if code not in (0, 1) or "Traceback" in said or "Internal error" in said:
        return f"it ends in an internal error (exit code {code})"
    if any(secret in said for secret in SECRETS):
        return "the message names the patient"
    if (mutation.fate == "refused") != refused and mutation.fate != "either":
        return f"it is {'refused' if refused else 'accepted'} and should not be"
    if refused:
        lines = [line for line in said.splitlines() if line.startswith("Error: ")]
        if len(lines) != 1 or not lines[0].rstrip().endswith("."):
            return "the reason is not one sentence"
        return f"it leaves {left}" if left else ""
    return whole(out)


def whole(out: Path) -> str:
    """Whether a result is complete, and of one patient."""
    from pydicom import dcmread

    slices = sorted(out.glob("CT.*.dcm"))
    if not slices or not all((out / name).is_file() for name in ("RS.dcm", "record.json", "picture.png")):
        return "the result is not whole"
    patients = {(str(d.PatientID), str(d.StudyInstanceUID)) for d in map(dcmread, [*slices, out / "RS.dcm"])}
    if len(patients) != 1 or next(iter(patients))[0] not in (PATIENT, ""):
        return f"the result is of {len(patients)} patients, or of another one"
    return ""


def cleaned(said: str, work: str) -> str:
    """A message without the place and the time it came from."""
    return re.sub(r"\b\d\d:\d\d:\d\d ", "", " ".join(said.replace(f"{work}/", "").split()))[:400]


def summary(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """By mutation: how many were refused and accepted, and the first message."""
    kinds = {}
    for mutation in MUTATIONS:
        own = [trial for trial in trials if trial["mutation"] == mutation.name]
        if own:
            counts = Counter(trial["outcome"] for trial in own)
            said = next((trial["said"] for trial in own if trial["said"]), "")
            kinds[mutation.name] = {"has to be": mutation.fate, **counts, "said": said}
    return {"series": len(trials), "faults": sum(bool(trial["fault"]) for trial in trials), "mutations": kinds}


if __name__ == "__main__":
    main()
