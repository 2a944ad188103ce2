"""The job for a GPU: everything that wants one, within minutes, in one command.

    python -m benchmarks.gpu --out OUT                  # the models worth shipping, and what creps takes on a GPU
    python -m benchmarks.gpu --out OUT --job tables     # every recipe on the unseen family, for the same time
    python -m benchmarks.gpu --out OUT --rehearse       # all parts at a tiny size on one core of a CPU

Exit code 0: every part came to its end. 1: one or more did not; OUT/results.json says which and why, with all that was
measured. 2: nothing was started (no GPU, wrong options).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import torch

from benchmarks.gpu.conductor import RESULTS, Conductor
from benchmarks.gpu.parts import JOBS, Part, parts_of
from benchmarks.gpu.sizes import FULL, REHEARSAL, Sizes, changed
from creps.io.atomic import write_json
from creps.provenance import provenance

NOTHING_STARTED = 2
NO_GPU = "No GPU was found: torch sees no CUDA device. Run this on a machine with one, or add --rehearse for the CPU."


def main() -> None:
    chosen = options().parse_args()
    out = chosen.out.resolve()
    if (out / RESULTS).exists():
        refuse(f"{out} holds results already. Name another folder, or move them away.")
    sizes = sizes_of(chosen)
    parts = chosen_parts(chosen, sizes)
    if sizes.device != "cpu" and not torch.cuda.is_available():
        write_json(out / RESULTS, {**provenance(), "exit_code": NOTHING_STARTED, "reason": NO_GPU, "parts": {}})
        refuse(NO_GPU)
    out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, interrupted)
    with tempfile.TemporaryDirectory(prefix="creps-gpu-", ignore_cleanup_errors=True) as work:
        folder = chosen.work.resolve() if chosen.work else Path(work).resolve()
        code = Conductor(sizes, chosen.minutes, out, folder, chosen.job, parts).run()
    print(out / RESULTS)
    sys.exit(code)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for results, models and curves")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything, 9 unless told otherwise")
    parser.add_argument("--rehearse", action="store_true", help="all parts at a tiny size on the CPU")
    parser.add_argument("--job", choices=JOBS, default=JOBS[0])
    parser.add_argument("--parts", nargs="+", metavar="PART", help="of the job; all of them unless told otherwise")
    parser.add_argument("--set", nargs="+", default=[], metavar="SIZE=JSON", help="change sizes, see sizes.py")
    parser.add_argument("--limit", nargs="+", default=[], metavar="PART=SECONDS", help="change the limit of a part")
    parser.add_argument("--work", type=Path, help="keep phantoms, runs and logs in this folder")
    return parser


def sizes_of(chosen: argparse.Namespace) -> Sizes:
    """The sizes that the options ask for."""
    try:
        changes: dict[str, Any] = {name: value_of(text) for name, text in (item.split("=", 1) for item in chosen.set)}
        limits = {name: float(text) for name, text in (item.split("=", 1) for item in chosen.limit)}
        return changed(REHEARSAL if chosen.rehearse else FULL, {**changes, "limits": limits})
    except ValueError as error:
        refuse(f"{error} Give --set NAME=VALUE and --limit PART=SECONDS.")


def chosen_parts(chosen: argparse.Namespace, sizes: Sizes) -> list[Part]:
    """The parts that the options ask for."""
    parts = {part.name: part for part in parts_of(chosen.job, sizes)}
    given = {item.split("=", 1)[0] for item in chosen.limit} - {"phantoms"} | set(chosen.parts or ())
    unknown = sorted(given - parts.keys())
    if unknown:
        refuse(f"There is no part '{unknown[0]}' in the job '{chosen.job}'. There are: {', '.join(parts)}.")
    return [part for name, part in parts.items() if chosen.parts is None or name in chosen.parts]


def value_of(text: str) -> Any:
    """JSON, or a word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def refuse(sentence: str) -> NoReturn:
    """Say why nothing was started."""
    print(sentence, file=sys.stderr)
    sys.exit(NOTHING_STARTED)


def interrupted(_: int, __: object) -> NoReturn:
    """Whatever stops the job from outside ends it as Ctrl-C does: with its results written."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
