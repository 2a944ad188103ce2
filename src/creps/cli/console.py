"""What a verb says on the terminal: messages, the line for an error, a progress bar, exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import click

from creps.errors import CrepsError

__all__ = ["INTERNAL", "PARTLY", "QA_FAILED", "message", "progress_bar", "set_up_logging"]

INTERNAL = 70
"""Exit code of an internal error."""

PARTLY = 3
"""Exit code: results were written, but some of the images could not be used."""

QA_FAILED = 4
"""Exit code: every sCT was written, but a check of one failed, and --qa fail was given."""

KEYWORDS = {"overwrite=True": "--overwrite", "force=True": "--force", "series=…": "--series"}
"""Arguments that errors of the library name → the options of the command line."""


def message(error: CrepsError) -> str:
    """The line for a user error, with options in place of the arguments of a Python call."""
    text = str(error)
    for keyword, option in KEYWORDS.items():
        text = text.replace(keyword, option)
    return f"Error: {text}"


class StandardErrorHandler(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that time: a program that calls a verb may have replaced and closed it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message."""
        self.stream = sys.stderr
        super().emit(record)


def set_up_logging(quiet: bool, verbose: bool) -> None:
    """Send messages of creps to standard error, one line each."""
    handler = StandardErrorHandler()
    handler.setLevel(logging.WARNING if quiet else logging.DEBUG)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("creps")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)


def progress_bar(quiet: bool, label: str) -> Callable[[int, int, str], None] | None:
    """A callback that draws (done, total, name) as a bar on a terminal; None if quiet or redirected."""
    if quiet or not sys.stderr.isatty():
        return None
    bars: list[Any] = []

    def draw(done: int, total: int, name: str = "") -> None:
        if not bars:
            bars.append(
                click.progressbar(
                    length=total, label=label, show_pos=True, file=sys.stderr, item_show_func=lambda item: item
                )
            )
        bars[0].update(done - bars[0].pos, name[:30])
        if done >= total:
            bars.pop().render_finish()

    return draw
