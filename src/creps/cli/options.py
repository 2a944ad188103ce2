"""Options that the verbs share; those for settings are made from the settings tree."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import yaml

from creps.errors import SettingsError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = [
    "PARTLY",
    "PATH",
    "SettingsCommand",
    "chosen_overrides",
    "preset",
    "progress_bar",
    "recipe",
    "set_up_logging",
    "settings_file",
    "terminated_as_interrupted",
]

PATH = click.Path(path_type=Path)

PARTLY = 3
"""Exit code: something was written, but some of several images could not be used."""

settings_file = click.option(
    "-s", "--settings", "settings_path", type=PATH, help="Settings file (YAML); never rewritten."
)
preset = click.option("-p", "--preset", help="Preset that the settings start from: brain, pelvis, demo or demo-pelvis.")


class SettingsCommand(click.Command):
    """A command with an option for every field of some sections of the settings tree.

    The options are made when the command is asked for them, so that listing the verbs needs neither
    pydantic nor the tree. ``--training.batch-size`` and ``--training.batch_size`` are the same.

    Args:
        sections: Sections of the tree whose fields become options; default: all.
        without: Sections that are left out.
    """

    def __init__(
        self, *args: Any, sections: Sequence[str] | None = None, without: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings["token_normalize_func"] = lambda token: token.replace("-", "_")
        self.sections, self.without = sections, without
        self._setting_options: dict[str, list[click.Option]] | None = None

    def setting_options(self) -> dict[str, list[click.Option]]:
        """The options by section, made once."""
        if self._setting_options is None:
            from creps.settings import leaf_fields, sections

            wanted = [name for name, _ in sections()] if self.sections is None else self.sections
            made: dict[str, list[click.Option]] = {name: [] for name in wanted if name not in self.without}
            for section, name, field in leaf_fields():
                if section in made:
                    made[section].append(_option(section, name, field))
            self._setting_options = made
        return self._setting_options

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters and those of the settings."""
        params: list[click.Parameter] = [*super().get_params(ctx)]
        return params + [option for options in self.setting_options().values() for option in options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help: own options first, then a group for each section."""
        own = [p.get_help_record(ctx) for p in super().get_params(ctx)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in own if record is not None])
        for section, options in self.setting_options().items():
            with formatter.section(f"Settings: {section}"):
                records = [option.get_help_record(ctx) for option in options]
                formatter.write_dl([record for record in records if record is not None])


def _option(section: str, name: str, field: FieldInfo) -> click.Option:
    from creps.settings.recipes import RECIPES, USUAL_RECIPE

    paper = _written(field.default)
    usual = _written(RECIPES[USUAL_RECIPE].get(section, {}).get(name, field.default))
    shown = f"default: {paper}" if usual == paper else f"recipe {USUAL_RECIPE}: {usual}, paper: {paper}"
    return click.Option(
        [f"{section}__{name}", f"--{section}.{name}"],
        metavar="VALUE",
        default=None,
        help=f"{field.description} [{shown}]",
        expose_value=False,
        callback=_remember,
    )


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value).lower()


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is None or param.name is None:
        return
    key = param.name.replace("__", ".", 1)
    ctx.ensure_object(dict).setdefault("overrides", {})[key] = _parsed(key, value)


def _parsed(key: str, value: str) -> Any:
    """A value as YAML reads it (`null` is none); commas make a list."""
    if not value.strip():
        raise SettingsError(f"--{key} was given without a value.", "Write a value, or null for none.")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(
            f"The value of --{key} cannot be read: {value!r}.", "Write a number, a word or 1,2,3."
        ) from error
    if isinstance(parsed, str) and "," in parsed:
        return [yaml.safe_load(part) for part in parsed.split(",")]
    return parsed


def _refuse_objective(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        from creps.settings import of_this_version

        name = of_this_version({"objective": value})["recipe"]
        raise click.UsageError(f"--objective is --recipe now: write --recipe {name}.")


def recipe(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option for the recipe, and the one that it was before."""
    command = click.option(
        "--recipe",
        metavar="NAME",
        expose_value=False,
        callback=_remember,
        help="What the training is made of: anatomy (default), paper, cyclegan, cut, or supervised (registered pairs).",
    )(command)
    return click.option("--objective", hidden=True, expose_value=False, callback=_refuse_objective)(command)


def chosen_overrides(ctx: click.Context) -> dict[str, Any]:
    """Settings given as options: ``{"training.steps": 100}``."""
    overrides: dict[str, Any] = ctx.ensure_object(dict).get("overrides", {})
    return overrides


def set_up_logging(quiet: bool, verbose: bool) -> None:
    """Messages of creps go to standard error, a line each."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING if quiet else logging.DEBUG)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("creps")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM (a container or a queue that stops the job) ends as Ctrl-C does: nothing half-written is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def progress_bar(quiet: bool, label: str) -> Callable[[int, int, str], None] | None:
    """A progress callback: a bar on a terminal, nothing when quiet or when piped."""
    stream = sys.stderr
    return None if quiet or not stream.isatty() else _Bar(stream, label)


class _Bar:
    """Draws (done, total, name) on a terminal; starts anew after the last of a series."""

    def __init__(self, stream: TextIO, label: str) -> None:
        self.stream, self.label = stream, label

    def __call__(self, done: int, total: int, name: str = "") -> None:
        """Redraw the bar."""
        width = 30
        filled = width * done // max(1, total)
        line = f"{self.label} [{'#' * filled}{'-' * (width - filled)}] {done}/{total} {name[:30]:<30}"
        self.stream.write(f"\r{line}" + ("\n" if done >= total else ""))
        self.stream.flush()
