"""The wheel as a user has it: in an environment of its own, used from another folder, without the repository.

    python -m benchmarks.release.install dist/creps-0.1.0-py3-none-any.whl

Makes an environment, installs the wheel with what it requires (gigabytes) and nothing else, and runs the commands of a
first hour in it, ``creps demo`` included. Every command must succeed and write what it promises. Deletes the
environment at the end. The tests run the same commands but the demo on the wheel's files and the packages that are
there (`first_hour`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["DEMO", "FIRST_HOUR", "first_hour", "run_all"]

CASE = "phantoms/test/1HT001"

FIRST_HOUR: tuple[tuple[list[str], list[str]], ...] = (
    (["--help"], []),
    (["models", "--verify"], []),
    (["doctor"], []),
    (["settings"], []),
    (["phantom", "phantoms", "--mr", "1", "--ct", "1", "--test", "1", "--spacing", "3"], [f"{CASE}/mr.nii.gz"]),
    (["synthesize", "head", f"{CASE}/mr.nii.gz", "-o", "sct.nii.gz"], ["sct.nii.gz", "sct.json", "sct_qa.json"]),
    (["evaluate", "sct.nii.gz", f"{CASE}/ct.nii.gz", "--json", "scores.json"], ["scores.json"]),
    (["report", "sct.nii.gz", "--mr", f"{CASE}/mr.nii.gz", "--ct", f"{CASE}/ct.nii.gz"], ["sct_report.html"]),
)
"""Arguments of ``creps``, and the files that must be there afterwards."""

DEMO = (["demo", "-o", "demo", "--region", "head", "--scanner", "none"], ["demo"])


def first_hour(
    command: list[str], folder: Path, environment: dict[str, str], *, demo: bool = False
) -> list[dict[str, Any]]:
    """Run the commands of a first hour; stop at the first that fails.

    Args:
        command: What starts creps, as ``["creps"]``.
        folder: An empty working folder, outside the repository.
        environment: Of the processes.
        demo: ``creps demo`` too, which takes minutes.

    Returns:
        A row per command: ``command``, ``seconds``, ``failed`` (None, or the reason).
    """
    rows: list[dict[str, Any]] = []
    for arguments, files in (*FIRST_HOUR, *([DEMO] if demo else [])):
        start = time.monotonic()
        done = subprocess.run(
            [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        missing = [name for name in files if not (folder / name).exists()]
        failed = f"exit code {done.returncode}: {done.stderr[-600:]}" if done.returncode else None
        failed = failed or (f"{', '.join(missing)} not written" if missing else None)
        rows.append(
            {"command": f"creps {' '.join(arguments)}", "seconds": round(time.monotonic() - start, 1), "failed": failed}
        )
        if failed:
            break
    return rows


def run_all(wheel: Path, python: str, *, demo: bool) -> list[dict[str, Any]]:
    """Make an environment with the wheel alone, and run the first hour in it.

    Args:
        wheel: The file.
        python: Its interpreter.
        demo: ``creps demo`` too.
    """
    with tempfile.TemporaryDirectory(prefix="creps-release-") as temporary:
        venv, folder = Path(temporary) / "venv", Path(temporary) / "somewhere else"
        folder.mkdir()
        bin_folder = venv / ("Scripts" if os.name == "nt" else "bin")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CREPS"))}
        start = time.monotonic()
        subprocess.run([python, "-m", "venv", str(venv)], check=True)
        install = [str(bin_folder / "python"), "-m", "pip", "install", "-q", str(wheel.resolve())]
        subprocess.run(install, check=True, cwd=folder)
        rows: list[dict[str, Any]] = [
            {"command": "pip install", "seconds": round(time.monotonic() - start, 1), "failed": None}
        ]
        return rows + first_hour([str(bin_folder / "creps")], folder, environment, demo=demo)


def main() -> int:
    """Run; 1 if a command failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment")
    parser.add_argument("--no-demo", action="store_true", help="leave out creps demo")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "install.json")
    options = parser.parse_args()
    rows = run_all(options.wheel, options.python, demo=not options.no_demo)
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(f"{row['seconds']:8.1f} s  {row['command']}  {row['failed'] or ''}")
    return int(any(row["failed"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
