"""Command-line options that the benchmark's commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.accuracy.plan import ARMS, Plan


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows where the cohort and the work folder are."""
    arguments = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("cohort", type=Path, help="cohort folder, see cohort.py")
    arguments.add_argument("work", type=Path, help="folder for prepared cohorts, runs and scores")
    arguments.add_argument("--region", choices=sorted(ARMS["regions"]), default="head")
    arguments.add_argument("--size", choices=sorted(ARMS["sizes"]), default="small")
    arguments.add_argument("--weights", type=Path, help="folder with the files of perceptual weights")
    arguments.add_argument("--arms", nargs="+", choices=list(ARMS["arms"]), help="default: all")
    return arguments


def plan_of(chosen: argparse.Namespace) -> Plan:
    """The plan that the options describe."""
    return Plan(chosen.cohort, chosen.work.resolve(), chosen.region, chosen.size, chosen.weights)
