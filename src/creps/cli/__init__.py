"""The command line: parse, call, exit code. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import logging
import os
import sys
import traceback

import click

from creps.cli.console import INTERNAL, message
from creps.cli.verbs import creps
from creps.errors import CrepsError, RunInterruptedError, file_error, is_out_of_memory
from creps.telemetry import COMMAND_LINE, switch_off

__all__ = ["main"]

HUGE_PAGES = ("THP_MEM_ALLOC_ENABLE", "1")
"""PyTorch then asks the kernel for large pages: maps of hundreds of megabytes cost a fraction of the page faults."""


def main() -> None:
    """Run the command line; user errors become one line and exit code 1."""
    os.environ.setdefault(*HUGE_PAGES)
    switch_off(COMMAND_LINE)
    try:
        creps.main(standalone_mode=False, prog_name="creps")
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - no user sees a traceback unasked
        text, code = _explain(error)
        if code == INTERNAL and logging.getLogger("creps").isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        click.echo(f"{_process_name()}{text}", err=True)
        sys.exit(code)


def _process_name() -> str:
    """Return a prefix that names the training process, or nothing for the first one."""
    if "creps.training.processes" not in sys.modules:
        return ""
    from creps.training.processes import process_number

    return f"Process {process_number()}: " if process_number() else ""


def _explain(error: BaseException) -> tuple[str, int]:
    """One sentence and an exit code."""
    reason = " ".join(str(error).split())[:300]
    if isinstance(error, RunInterruptedError):
        return str(error), error.exit_code
    if isinstance(error, CrepsError):
        return message(error), 1
    if isinstance(error, (KeyboardInterrupt, click.exceptions.Abort)):
        return "Interrupted.", 130
    if is_out_of_memory(error):
        return "Error: Out of memory. Close other programs, or lower --jobs or inference.batch_size.", 1
    if isinstance(error, OSError):
        return message(file_error(error)), 1
    return f"Internal error: {type(error).__name__}: {reason}. Run 'creps -v ...' for details.", INTERNAL
