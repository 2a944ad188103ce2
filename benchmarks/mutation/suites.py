"""A copy of a project whose source can be broken, and which of its tests reach a line."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from coverage import CoverageData

from benchmarks.mutation.sites import Site

COPIED = (
    "src",
    "tests",
    "docs",
    "benchmarks",
    ".ci",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
)
COVERAGE = """[run]
source = creps
parallel = true
concurrency = multiprocessing, thread
data_file = {data}
"""
OF_PROCESSES = (
    COVERAGE
    + """context = ${{PYTEST_CURRENT_TEST-}}
"""
)
PLUGIN = """import os

def pytest_runtest_setup(item):
    os.environ["COVERAGE_PROCESS_START"] = {file!r}
"""
"""Python processes that a test starts measure too, under its name, which pytest hands on in the environment."""


@dataclass(frozen=True)
class Outcome:
    """What a suite made of a mistake.

    Attributes:
        verdict: "killed", "survived", or "unreached": no test runs the line.
        by: The test that failed, or "time" if the tests took several times as long as they should.
        tests: How many were chosen.
        of: How many reach the line.
    """

    verdict: str
    by: str = ""
    tests: int = 0
    of: int = 0


class Suite:
    """One version of the project: its source, its tests, and what they reach."""

    def __init__(self, project: Path, work: Path) -> None:
        """Copy the project to `work`; the folder of real volumes beside it is linked."""
        self.original, self.work = project, work
        self.project = work / "project"
        self.package = self.project / "src" / "creps"
        if not self.project.exists():
            building = work / "building"
            shutil.rmtree(building, ignore_errors=True)
            for name in COPIED:
                source = project / name
                if source.is_dir():
                    shutil.copytree(source, building / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
                elif source.exists():
                    building.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, building / name)
            shared = project.parent / "shared"
            if shared.is_dir() and not (work / "shared").exists():
                (work / "shared").symlink_to(shared.resolve())
            building.rename(self.project)
        self.seconds: dict[str, float] = {}
        self.reaching: dict[str, dict[int, set[str]]] = {}

    def learn(self, processes: int, tests: list[str]) -> None:
        """Run all tests once, unless an earlier call did, and note which pass, how long they take, what they reach.

        Args:
            processes: That share the tests.
            tests: Files or folders; none for all.
        """
        data, report = self.work / "coverage", self.work / "report.xml"
        if not report.exists():
            inner = self.work / "processes.ini"
            inner.write_text(OF_PROCESSES.format(data=data))
            (self.work / "suite.ini").write_text(COVERAGE.format(data=data))
            (self.work / "coverage_of_processes.py").write_text(PLUGIN.format(file=str(inner)))
            command = ["-p", "coverage_of_processes", f"--junitxml={report}", "--cov", "--cov-context=test"]
            command += [f"--cov-config={self.work / 'suite.ini'}", "--cov-report="]
            command += ["-n", str(processes), "--dist", "worksteal"] if processes > 1 else []
            before = os.times()
            _, said = self._pytest([*command, *tests], None)
            after = os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            (self.work / "log.txt").write_text(f"{said}\nCPU seconds: {cpu:.0f}\n")
            combine = ["-m", "coverage", "combine", "--append", f"--rcfile={self.work / 'suite.ini'}"]
            subprocess.run([sys.executable, *combine], cwd=self.work, check=False, capture_output=True)
        self._read_report(report)
        self._read_coverage(data)

    def _read_report(self, report: Path) -> None:
        for case in ET.parse(report).getroot().iter("testcase"):
            if not any(case.find(bad) is not None for bad in ("failure", "error", "skipped")):
                path = str(case.get("classname")).replace(".", "/") + ".py"
                self.seconds[f"{path}::{case.get('name')}"] = float(case.get("time", 0))

    def _read_coverage(self, file: Path) -> None:
        data = CoverageData(str(file))
        data.read()
        for path in data.measured_files():
            lines: dict[int, set[str]] = {}
            for line, contexts in data.contexts_by_lineno(path).items():
                parts = {part for context in contexts for part in (context, *context.split("|"))}
                lines[line] = (parts | {part.rpartition(" (")[0] for part in parts}) & self.seconds.keys()
            self.reaching[Path(path).relative_to(self.package).as_posix()] = lines

    def tests_of(self, site: Site) -> list[str]:
        """Tests that run the line, the quickest first; for a constant, those that run a line which names it."""
        lines = self.reaching.get(site.path, {})
        found = lines.get(site.line, set())
        if site.name:
            found = self._tests_naming(site.name, site.path)
        elif not found and not site.where:  # at import: whatever reaches the file
            found = set().union(*lines.values()) if lines else set()
        return sorted(found, key=lambda test: self.seconds[test])

    def _tests_naming(self, name: str, home: str) -> set[str]:
        users: dict[str, set[int]] = defaultdict(set)
        for path in self.package.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            relative = path.relative_to(self.package).as_posix()
            module = home.removesuffix(".py").rpartition("/")[2]
            if name in text and (relative == home or module in text):
                for node in ast.walk(ast.parse(text)):
                    if name in (getattr(node, "id", None), getattr(node, "attr", None)):
                        users[relative].add(node.lineno)  # type: ignore[attr-defined]
        reached = [self.reaching.get(path, {}).get(line, set()) for path, lines in users.items() for line in lines]
        return set().union(*reached) if reached else set()

    def outcome(self, site: Site, budget_s: float) -> Outcome:
        """Run the tests that reach the mistake until one fails.

        Args:
            site: The mistake.
            budget_s: Tests are taken, the quickest first, until they add up to this; infinity takes all.
        """
        reaching = self.tests_of(site)
        chosen: list[str] = []
        spent = 0.0
        for test in reaching:
            spent += self.seconds[test]
            if chosen and spent > budget_s:
                break
            chosen.append(test)
        if not chosen:
            return Outcome("unreached")
        file = self.package / site.path
        source = file.read_bytes()
        try:
            file.write_bytes(site.applied(source))
            listed = self.work / "chosen.txt"
            listed.write_text("\n".join(chosen) + "\n")
            code, said = self._pytest(["-x", f"@{listed}"], 120 + 5 * min(spent, 1e5))
        finally:
            file.write_bytes(source)
        if code == 0:
            return Outcome("survived", "", len(chosen), len(reaching))
        return Outcome("killed", _first_failure(said) if code is not None else "time", len(chosen), len(reaching))

    def _pytest(self, arguments: list[str], timeout: float | None) -> tuple[int | None, str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", *arguments]
        environment = {
            **os.environ, "PYTHONPATH": f"{self.package.parent}{os.pathsep}{self.work}", "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        with subprocess.Popen(
            command, cwd=self.project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.communicate()
                return None, ""
        return process.returncode, said


def _first_failure(said: str) -> str:
    marks = ("FAILED ", "ERROR ")
    lines = [line for line in said.splitlines() if line.startswith(marks)]
    return lines[0].split(" ", 1)[1].split(" - ")[0] if lines else "pytest could not start: " + said[-300:]
