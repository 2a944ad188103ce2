"""``creps node``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.options import PATH
from creps.cli.signals import stop_on_signals

__all__ = ["node"]


@click.command()
@click.argument("folder", type=PATH)
@click.option("-s", "--settings", type=PATH, required=True, help="YAML file with rules, destinations, port and limits.")
def node(folder: Path, settings: Path) -> None:
    """Receive MRs by DICOM (C-STORE), synthesize, check, report, and send the results on.

    FOLDER holds what was received, the sCTs, the state of the service and its audit log; started again, the node goes
    on where it was. It listens on 127.0.0.1 unless the settings say otherwise. What cannot be synthesized is parked
    with the reason: creps service FOLDER. For research, not for diagnosis.
    """
    from creps.service.run import run_node

    with stop_on_signals() as stop:
        run_node(folder, settings, stop=stop)
