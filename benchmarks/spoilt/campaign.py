"""Bad input: spoilt files of every kind that creps reads, through the command line.

    python -m benchmarks.spoilt.campaign --count 2000 --seed 0

None may end in a traceback, a hang, a process killed for memory, half a result, or a file left behind. Each trial runs
in a process whose memory is limited and which is ended if a trial takes more than `--seconds`. What became of each
kind is kept in `results.json`; exit code 1 if anything was not as it has to be. Spoilt DICOM has a campaign of its own
(`benchmarks/dicom`).
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dicom.campaign import cleaned, command_line
from benchmarks.spoilt.mutations import MUTATIONS, spoilt
from benchmarks.spoilt.originals import ORIGINALS, Original, write_originals
from creps.io.atomic import write_json
from creps.provenance import provenance

__all__ = ["campaign", "main"]

HERE = Path(__file__).parent
FRESH = 150
MEMORY = 6_000_000_000
"""Bytes of address space beyond what the process has when it begins."""


def main() -> None:
    """Run it and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    chosen = parser.parse_args()
    trials = campaign(chosen.count, chosen.seed, chosen.jobs, chosen.seconds)
    faults = [trial for trial in trials if trial["fault"]]
    write_json(chosen.output, {**provenance(), "seed": chosen.seed, **summary(trials)})
    for trial in faults:
        print(f"{trial['what']}, {trial['how']} (trial {trial['trial']}): {trial['fault']}\n    {trial['said']}")
    print(f"{len(trials)} files, {len(faults)} not as they have to be; {chosen.output}")
    sys.exit(1 if faults else 0)


def campaign(count: int, seed: int, jobs: int = 1, seconds: float = 120.0) -> list[dict[str, Any]]:
    """Run `count` trials: every kind of file in turn, and of each every mutation in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "originals"
        folder.mkdir()
        before = Path.cwd()
        os.chdir(folder)
        try:
            write_originals(folder)
        finally:
            os.chdir(before)
        done: list[dict[str, Any]] = []
        for first in range(0, count, FRESH):  # a fresh process after so many: none grows for the whole campaign
            trials = range(first, min(first + FRESH, count))
            done += _batch(folder, trials, seed, jobs, seconds)
            if done[-1]["outcome"] == "hung":
                break
    return done


def _batch(folder: Path, trials: range, seed: int, jobs: int, seconds: float) -> list[dict[str, Any]]:
    """Run some trials in processes of their own; the last one may have hung."""
    done: list[dict[str, Any]] = []
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _limit_memory)
    running = [pool.submit(tried, folder, trial, seed) for trial in trials]
    for trial, result in zip(trials, running, strict=True):
        try:
            done.append(result.result(seconds))
        except (TimeoutError, BrokenProcessPool):
            original, how = _of(trial)
            fault = f"no answer after {seconds:g} s: it hangs, or its process was killed"
            told = {"trial": trial, "what": original.name, "how": how, "outcome": "hung", "said": ""}
            done.append({**told, "fault": fault})
            for process in multiprocessing.active_children():
                process.kill()
            break
    pool.shutdown(cancel_futures=True)
    return done


def _limit_memory() -> None:
    import creps.api.model  # noqa: F401 - torch reserves address space when it is imported

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def _of(trial: int) -> tuple[Original, str]:
    original = ORIGINALS[trial % len(ORIGINALS)]
    names = list(MUTATIONS[original.kind])
    return original, names[trial // len(ORIGINALS) % len(names)]


def tried(folder: Path, trial: int, seed: int) -> dict[str, Any]:
    """Spoil a copy, give it to its command, and see whether what became of it is as it has to be."""
    original, how = _of(trial)
    rng = np.random.default_rng([seed, trial])
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        work = Path(name) / "work"
        shutil.copytree(folder, work)
        file = work / original.file
        content = file.read_bytes()
        file.write_bytes(_spoilt(content, original, how, rng))
        same = file.read_bytes() == content
        here = set(work.rglob("*"))
        before = Path.cwd()
        os.chdir(work)
        try:
            code, said = command_line(*(word.replace("OUT", "out") for word in original.words))
        finally:
            os.chdir(before)
        left = sorted(str(path.relative_to(work)) for path in set(work.rglob("*")) - here)
        fault = "" if same else broken(original, code, said, left)
    outcome = "accepted" if code == 0 else "partly" if code == 3 else "refused"
    told = {"trial": trial, "what": original.name, "how": how, "outcome": outcome}
    shown = cleaned(said, name).encode("utf-8", "backslashreplace").decode()
    return {**told, "said": shown, "fault": fault}


def _spoilt(content: bytes, original: Original, how: str, rng: np.random.Generator) -> bytes:
    """Of a compressed file, every second time what is within."""
    if original.file.endswith(".gz") and rng.random() < 0.5:
        return gzip.compress(spoilt(gzip.decompress(content), original.kind, how, rng), mtime=0)
    return spoilt(content, original.kind, how, rng)


def broken(original: Original, code: int, said: str, left: list[str]) -> str:
    """What is not as it has to be; empty if all is."""
    if code not in (0, 1, 3) or "Traceback" in said or "Internal error" in said:
        return f"it ends in an internal error (exit code {code})"
    litter = [name for name in left if ".writing-" in name or name.endswith((".part", ".preparing"))]
    if litter:
        return f"it leaves {litter[:3]}"
    if code == 0:
        return "" if original.may_differ else "it is accepted and should not be"
    if code == 1:
        lines = [line for line in said.splitlines() if line.startswith("Error: ")]
        if len(lines) != 1 or not lines[0].rstrip().endswith((".", "?")):  # a remedy may be a question
            return "the reason is not one sentence"
        kept = [name for name in left if name not in KEPT]
        return f"it leaves {kept[:3]}" if kept else ""
    return ""


KEPT = {"out", "out/service.sqlite", "out/audit.jsonl"}
"""A watch that is refused because of a model has its state already."""


def summary(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """By kind of file: how many were refused and accepted; by kind and mutation the first message."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for trial in trials:
        counts[trial["what"]][trial["outcome"]] += 1
        if trial["said"]:
            said[trial["what"]].setdefault(trial["how"], trial["said"][:200])
    kinds = {what: {**count, "said": said[what]} for what, count in counts.items()}
    return {"files": len(trials), "faults": sum(bool(trial["fault"]) for trial in trials), "kinds": kinds}


if __name__ == "__main__":
    main()
