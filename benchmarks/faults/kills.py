"""Kill commands at random moments, then let them end.

    python -m benchmarks.faults.kills --verb train --kills 50 --seed 0
    python -m benchmarks.faults.kills --verb prepare synthesize evaluate report --kills 20

Each command is run once undisturbed and timed. Then it is started again and again, and killed (SIGKILL, with its
children) after a random part of that time; after each kill, what lies under a final name must be whole. In the end it
may finish: by `--resume` for training and preparing, by the same command otherwise. Its result must equal the
undisturbed one, and nothing hidden may be left. Training writes a checkpoint at every step, so kills fall within writes
as well. `benchmarks/service` does the same to a node.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import creps
from benchmarks.common.machine import machine

__all__ = ["VERBS", "campaign", "main"]

RESULTS = Path(__file__).with_name("results.json")

STEPS = 12
TRAINING = (
    f"--training.steps {STEPS} --training.checkpoint_every 1 --training.validate_every 4 --training.batch_size 1"
    " --training.precision fp32 --training.device cpu --training.workers 0 --simulation.phantoms 2"
    " --sampling.patch_size 24,24,24 --generator.kind residual --generator.width 4 --generator.residual_blocks 1"
)


@dataclass(frozen=True)
class Verb:
    """A command that is killed.

    Attributes:
        words: Its words.
        output: What it writes, a file or a folder.
        again: What is added to go on after a kill.
        digest: What must be equal in the end, and whole after each kill.
    """

    words: str
    output: str
    again: str
    digest: Callable[[Path], str]


def _weights(run: Path) -> str:
    """Hash of the model of a run; every checkpoint under its final name must load."""
    from safetensors.torch import load_file

    for file in run.glob("checkpoints/step_*/*.safetensors"):
        load_file(file)
    model = run / "model" / "generator.safetensors"
    return _sha(model) if model.is_file() else ""


def _arrays(cohort: Path) -> str:
    """Hash of all voxels of a cohort."""
    files = sorted(cohort.rglob("*.npy")) if cohort.is_dir() else []
    return hashlib.sha256("".join(f"{file.relative_to(cohort)} {_sha(file)}" for file in files).encode()).hexdigest()


def _volume(file: Path) -> str:
    """Hash of an sCT's voxels, which has its record and picture beside it."""
    from creps import read_volume

    if not file.is_file():
        return ""
    for ending in (".json", ".png", "_qa.json"):
        if not file.with_name(file.name.removesuffix(".nii.gz") + ending).is_file():
            return "without its record"
    return hashlib.sha256(read_volume(file).array.tobytes()).hexdigest()


def _values(file: Path) -> str:
    """The measured values of an evaluation."""
    if not file.is_file():
        return ""
    return json.dumps([case["values"] for case in json.loads(file.read_text())["cases"]])


def _page(file: Path) -> str:
    """Whether a page and its document are whole."""
    if not file.is_file():
        return ""
    return str(
        file.read_text().rstrip().endswith("</html>") and bool(json.loads(file.with_suffix(".json").read_text()))
    )


VERBS = {
    "train": Verb(f"train cohort -o OUT {TRAINING}", "run", "--resume auto", _weights),
    "prepare": Verb(
        "prepare mr ct -o OUT --jobs 2 --preparation.spacing_mm 4,4,4 --preparation.mr_scale auto",
        "prepared",
        "--resume",
        _arrays,
    ),
    "synthesize": Verb("synthesize model mr/m0.nii.gz -o OUT", "sct.nii.gz", "--overwrite", _volume),
    "evaluate": Verb("evaluate sct0.nii.gz ct0.nii.gz --json OUT", "e.json", "--overwrite", _values),
    "report": Verb("report sct0.nii.gz -o OUT --mr mr/m0.nii.gz", "r.html", "--overwrite", _page),
}


def write_originals(folder: Path) -> None:
    """The images, the cohort and the model that the commands take."""
    from tests.conftest import ball_head
    from tests.service.running import tiny_model

    from creps.io.itk import write_volume

    for i in range(4):
        write_volume(ball_head(i)[0], folder / "mr" / f"m{i}.nii.gz")
        write_volume(ball_head(10 + i)[1], folder / "ct" / f"c{i}.nii.gz", integer=True)
    write_volume(ball_head(0)[1], folder / "ct0.nii.gz", integer=True)
    tiny_model(folder / "model")
    for words in (
        "prepare mr ct -o cohort --jobs 1 --preparation.spacing_mm 4,4,4 --preparation.mr_scale auto",
        "synthesize model mr/m0.nii.gz -o sct0.nii.gz",
    ):
        done = _started(folder, words)
        if done.wait(120):
            raise RuntimeError(f"creps {words} does not work: {(folder / 'log.txt').read_text()}")


def campaign(folder: Path, name: str, *, kills: int, seed: int) -> dict[str, Any]:
    """Kill one command.

    Args:
        folder: With the originals.
        name: Which command.
        kills: How often it is killed.
        seed: Of the moments.

    Returns:
        How often it was killed and ended by itself, what was broken after a kill, and whether the end is the same.
    """
    verb, moments = VERBS[name], random.Random(seed)
    began = time.monotonic()
    code = _started(folder, verb.words.replace("OUT", f"whole_{verb.output}")).wait(600)
    seconds = time.monotonic() - began
    expected = verb.digest(folder / f"whole_{verb.output}")
    if code or not expected:
        raise RuntimeError(f"{name} does not work by itself")
    output, done, broken = folder / verb.output, 0, []
    for number in range(kills):
        process = _started(folder, _again(verb, output))
        time.sleep(moments.uniform(0.3, 1.0) * seconds)
        if process.poll() is None:
            _kill(process)
        else:
            done += 1
        problem = _problem(verb, output, expected, process.returncode)
        broken += [f"kill {number + 1}: {problem}"] * bool(problem)
        if process.returncode == 0:
            _remove(output)
    end = _started(folder, _again(verb, output)).wait(600)
    return {
        "kills": kills - done,
        "ended_before": done,
        "seconds": round(seconds, 1),
        "broken": broken,
        "ends_well": end == 0,
        "same_result": verb.digest(output) == expected,
        "litter": sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if _is_litter(one)),
    }


def _again(verb: Verb, output: Path) -> str:
    goes_on = output.exists() or output.with_name(f"{output.name}.preparing").exists()
    return f"{verb.words.replace('OUT', output.name)} {verb.again if goes_on else ''}"


def _problem(verb: Verb, output: Path, expected: str, code: int) -> str:
    """What is wrong after a kill; empty if nothing is."""
    if code not in (0, -signal.SIGKILL):
        return f"it ended with code {code}"
    try:
        found = verb.digest(output)
    except Exception as error:  # noqa: BLE001 - that is the finding
        return f"{type(error).__name__}: {error}"
    partial = verb.output in ("run", "prepared") and code != 0
    return "" if partial or found in ("", expected) else "what lies there is not whole"


def _is_litter(path: Path) -> bool:
    return path.name.startswith(".writing-") or path.name.endswith((".part", ".preparing"))


def _started(folder: Path, words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "creps", "-q", *words.split()]
    source = str(Path(creps.__file__).parents[1])  # this one, from any folder
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        return
    for one in path.parent.glob(f"{path.name.split('.')[0]}*"):
        if not one.name.startswith(("sct0", "ct0")):
            one.unlink()


def _sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main() -> None:
    """Run it and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verb", nargs="+", choices=list(VERBS), default=list(VERBS))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    told = json.loads(options.out.read_text()) if options.out.is_file() else {}
    with tempfile.TemporaryDirectory() as name:
        write_originals(Path(name))
        for verb in options.verb:
            told[verb] = campaign(Path(name), verb, kills=options.kills, seed=options.seed)
            print(verb, json.dumps(told[verb]), flush=True)
            options.out.write_text(json.dumps({**told, "machine": machine()}, indent=1) + "\n")
    bad = [
        one for one in (told[verb] for verb in options.verb) if one["broken"] or one["litter"] or not one["same_result"]
    ]
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
