"""The command line: parse, call, exit code. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import logging
import os
import sys

import click

from creps.cli.verbs import creps
from creps.errors import CrepsError

__all__ = ["main"]


def main() -> None:
    """Run the command line; errors a user can cause become one sentence and exit code 1."""
    try:
        creps.main(standalone_mode=False, prog_name="creps")
    except click.exceptions.Abort:
        _fail("Interrupted.", 130)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except CrepsError as error:
        _fail(f"Error: {error}", 1)
    except KeyboardInterrupt:
        _fail("Interrupted.", 130)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError:
        _fail("Error: Out of memory. Use smaller patches or batches.", 1)
    except OSError as error:
        logging.getLogger(__name__).debug("details", exc_info=error)
        _fail(
            f"Error: {error.filename or 'A file'}: {error.strerror or error}. Check the path, its rights and the disk.",
            1,
        )


def _fail(message: str, code: int) -> None:
    click.echo(message, err=True)
    sys.exit(code)
