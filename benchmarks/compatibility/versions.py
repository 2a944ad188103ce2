"""Run the suite on other Pythons and with the lowest versions that pyproject.toml allows.

    python -m benchmarks.compatibility.versions 3.12=python3.12 3.13=python3.13 lowest=python3.11

One environment at a time is made, used and deleted. ``lowest`` takes every dependency of the package and of its users'
extras at the lowest version that pyproject.toml allows; the tools of ``dev`` stay free. What an environment could not
be made of is kept as the result too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
NOTED = ("torch", "numpy", "scipy", "pydantic", "pydicom", "SimpleITK", "scikit-image", "matplotlib", "click")


OF_THE_TIME = ["pyparsing<3.3"]
"""What matplotlib's lowest version was made for: today's warns of it, and warnings are errors in tests."""


USERS_EXTRAS = ("cluster", "dose", "export", "paper", "service", "tensorboard")
"""Those of users; the tools of ``dev``, ``docs`` and ``release`` stay free."""


def lowest_versions(pyproject: Path, extras: tuple[str, ...] = USERS_EXTRAS) -> list[str]:
    """Direct requirements of the package and these extras, each at the lowest version that goes with the others.

    A lower bound of ours can be out of reach with an extra: pyRadPlan 0.5 asks for matplotlib 3.9.2. uv resolves that.
    """
    named = tomllib.loads(pyproject.read_text())["project"]
    listed = [*named["dependencies"], *(item for name in extras for item in named["optional-dependencies"][name])]
    direct = {canonicalize_name(Requirement(item).name) for item in listed}
    chosen = [part for extra in extras for part in ("--extra", extra)]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-annotate", "--no-header",
               "--resolution", "lowest-direct", *chosen, str(pyproject)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    pins = (line.split(" ")[0] for line in done.stdout.splitlines() if "==" in line)
    return [pin for pin in pins if canonicalize_name(Requirement(pin).name) in direct]


def tried(name: str, python: str, folder: Path, processes: int, pytest_arguments: list[str]) -> dict[str, object]:
    """Make an environment, run the suite in it, delete it.

    Args:
        name: ``lowest``, or what the row is called.
        python: Its interpreter.
        folder: For the environment.
        processes: That share the tests.
        pytest_arguments: Further ones, as names of files of tests.
    """
    venv, start = folder / "venv", time.monotonic()
    constraints = folder / "constraints.txt"
    pins = [*lowest_versions(PROJECT / "pyproject.toml"), *OF_THE_TIME] if name == "lowest" else []
    constraints.write_text("".join(f"{pin}\n" for pin in pins))
    bin_folder = venv / ("Scripts" if os.name == "nt" else "bin")
    own = str(bin_folder / "python")
    try:
        for command in (
            [python, "-m", "venv", str(venv)],
            [own, "-m", "pip", "install", "-q", "-c", str(constraints), "--editable", f"{PROJECT}[dev]"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return {"result": "could not be installed", "reason": _said(done.stderr)}
        row: dict[str, object] = {"python": _output(own, "import platform; print(platform.python_version())")}
        code = f"from importlib.metadata import version; print(*(n + '=' + version(n) for n in {NOTED}))"
        row["versions"] = dict(pair.split("=") for pair in _output(own, code).split())
        row["installed_s"] = round(time.monotonic() - start)
        return row | _suite(own, folder / "report.xml", processes, pytest_arguments)
    finally:
        shutil.rmtree(venv, ignore_errors=True)


def _suite(python: str, report: Path, processes: int, further: list[str]) -> dict[str, object]:
    start = time.monotonic()
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *further]
    if processes > 1:
        command += ["-n", str(processes), "--dist", "worksteal"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    if not report.exists():
        return {"result": "the suite could not be started", "reason": _said(done.stdout + done.stderr)}
    failed, count = [], {"passed": 0, "failed": 0, "skipped": 0}
    for case in ET.parse(report).getroot().iter("testcase"):
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        kind = "failed" if bad is not None else "skipped" if case.find("skipped") is not None else "passed"
        count[kind] += 1
        if bad is not None:
            failed.append(f"{case.get('classname')}::{case.get('name')}: {str(bad.get('message'))[:200]}")
    result = "passed" if done.returncode == 0 else "failed"
    return {"result": result, **count, "failures": failed, "suite_s": round(time.monotonic() - start)}


def _output(python: str, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _said(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "error" in line]
    return " ".join((errors or lines)[-2:])[:400]


def main() -> int:
    """Run all that are named; 1 if a suite failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs="+", metavar="NAME=PYTHON")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--pytest", nargs="*", default=[], help="further arguments of pytest, as files of tests")
    parser.add_argument("--folder", type=Path, help="for the environments; the system's folder for temporary files")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "versions.json")
    options = parser.parse_args()
    rows = json.loads(options.output.read_text()) if options.output.exists() else {}
    for environment in options.environments:
        name, _, python = environment.partition("=")
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            if shutil.which(python):
                rows[name] = tried(name, python, Path(folder), options.processes, options.pytest)
            else:
                rows[name] = {"result": "could not be had", "reason": f"there is no {python or 'interpreter'}"}
        rows[name]["tests"] = " ".join(options.pytest) or "all"
        options.output.write_text(json.dumps(rows, indent=1) + "\n")
        print(name, rows[name]["result"], rows[name].get("reason", ""), flush=True)
    return int(any(row["result"] != "passed" for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
