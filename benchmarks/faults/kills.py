"""Kill commands at random moments, then let them end.

    python -m benchmarks.faults.kills --verb train --kills 50 --seed 0
    python -m benchmarks.faults.kills --verb prepare synthesize dose evaluate report watch --kills 20

Each command is run once undisturbed and timed. Then it is started again and again, and killed (SIGKILL, with its
children) after a random part of that time; after each kill, what lies under a final name must be whole. In the end it
may finish: by `--resume` for training and preparing, by the same command otherwise. Its result must equal the
undisturbed one, and nothing hidden may be left. Training writes a checkpoint at every step, so kills fall within writes
as well. `benchmarks/service` does the same to a node.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common.machine import machine
from benchmarks.faults.commands import VERBS, WATCH, Verb, is_litter, started, write_originals
from creps.service.overview import overview
from creps.service.state import STATE

__all__ = ["campaign", "main"]

RESULTS = Path(__file__).with_name("kills.json")

KILLED = VERBS | {"watch": WATCH}


def campaign(folder: Path, name: str, *, kills: int, seed: int) -> dict[str, Any]:
    """Kill one command.

    Args:
        folder: With the originals.
        name: Which command.
        kills: How often it is killed; attempts that come after its end do not count.
        seed: Of the moments.

    Returns:
        How often it was killed and ended by itself, what was broken after a kill, and whether the end is the same.
    """
    verb, moments = KILLED[name], random.Random(seed)
    began = time.monotonic()
    code = started(folder, verb.words.replace("OUT", f"whole_{verb.output}")).wait(600)
    seconds = time.monotonic() - began
    expected = verb.digest(folder / f"whole_{verb.output}")
    if code or not expected:
        raise RuntimeError(f"{name} does not work by itself")
    output, killed, done, broken = folder / verb.output, 0, 0, []
    while killed < kills and done < kills:
        process = started(folder, _again(verb, output))
        time.sleep(moments.uniform(0.3, 1.0) * seconds)
        if process.poll() is None:
            _kill(process)
            killed += 1
        else:
            done += 1
        problem = _problem(verb, output, expected, process.returncode)
        broken += [f"attempt {killed + done}: {problem}{_jobs(output)}"] * bool(problem)
        if process.returncode == 0:
            _remove(output)
    end = started(folder, _again(verb, output)).wait(600)
    return {
        "kills": killed,
        "ended_before": done,
        "seconds": round(seconds, 1),
        "broken": broken,
        "ends_well": end == 0,
        "same_result": verb.digest(output) == expected,
        "litter": sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if is_litter(one)),
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
    partial = verb.grows and code != 0
    return "" if partial or found in ("", expected) else "what lies there is not whole"


def _jobs(output: Path) -> str:
    """What a watch says of its jobs: why it left one."""
    return f" {overview(output).text()}" if (output / STATE).is_file() else ""


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


def main() -> None:
    """Run it and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verb", nargs="+", choices=list(KILLED), default=list(KILLED))
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
