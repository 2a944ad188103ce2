"""``creps doctor``."""

from __future__ import annotations

import json
import sys

import click

__all__ = ["doctor"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def doctor(as_json: bool) -> None:
    """Report what this machine has, and what to install or set.

    One line each: ok, note (works, but something is slow or missing) or broken. If anything is broken, the exit code
    is 1.
    """
    from creps.doctor import as_json as written
    from creps.doctor import examine_machine, report

    findings = examine_machine()
    click.echo(json.dumps(written(findings), indent=2) if as_json else report(findings))
    if any(finding.state == "broken" for finding in findings):
        sys.exit(1)
