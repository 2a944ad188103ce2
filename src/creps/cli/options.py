"""Options that several verbs share; those for settings are generated from the settings tree."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import yaml

from creps.errors import CrepsError, SettingsError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from creps.parallel import Runner

__all__ = [
    "MODEL",
    "PARTLY",
    "PATH",
    "QA_FAILED",
    "SettingsCommand",
    "chosen_overrides",
    "message",
    "on_cluster",
    "preset",
    "progress_bar",
    "recipe",
    "set_up_logging",
    "settings_file",
    "slurm",
    "stop_on_signals",
    "terminated_as_interrupted",
]

PATH = click.Path(path_type=Path)

MODEL = click.STRING
"""A shipped model's name or a model's path; as text, since ``./head`` as a `Path` is ``head``. The library finds it."""

PARTLY = 3
"""Exit code: results were written, but some of the images could not be used."""

QA_FAILED = 4
"""Exit code: every sCT was written, but a check of one failed, and --qa fail was given."""

KEYWORDS = {"overwrite=True": "--overwrite", "force=True": "--force", "series=…": "--series"}
"""Arguments that errors of the library name → the options of the command line."""

settings_file = click.option(
    "-s", "--settings", "settings_path", type=PATH, help="Settings file (YAML); never rewritten."
)
preset = click.option(
    "-p", "--preset", help="Preset that the settings start from: brain (default), pelvis, demo or demo-pelvis."
)

slurm = click.option(
    "--slurm",
    metavar="FILE|KEY=VALUE",
    multiple=True,
    help="Spread the cases over jobs of SLURM, as a YAML file or KEY=VALUE says; can be given several times.",
)


class SettingsCommand(click.Command):
    """A command with one option for each field of some sections of the settings tree.

    The options are created when they are needed, so that listing the verbs imports neither pydantic nor the tree.
    ``--training.batch-size`` and ``--training.batch_size`` are the same.

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
        """The options by section, created once."""
        if self._setting_options is None:
            from creps.settings import leaf_fields, sections

            included = [name for name, _ in sections()] if self.sections is None else self.sections
            options: dict[str, list[click.Option]] = {name: [] for name in included if name not in self.without}
            for section, name, field in leaf_fields():
                if section in options:
                    options[section].append(_option(section, name, field))
            self._setting_options = options
        return self._setting_options

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters of the command, then those of the settings."""
        params: list[click.Parameter] = [*super().get_params(ctx)]
        return params + [option for options in self.setting_options().values() for option in options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help: options of the command first, then one group per section."""
        own = [p.get_help_record(ctx) for p in super().get_params(ctx) if isinstance(p, click.Option)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in own if record is not None])
        for section, options in self.setting_options().items():
            with formatter.section(f"Settings: {section}"):
                records = [option.get_help_record(ctx) for option in options]
                formatter.write_dl([record for record in records if record is not None])


def _option(section: str, name: str, field: FieldInfo) -> click.Option:
    from creps.settings.recipes import DEFAULT_RECIPE, RECIPES

    paper = _written(field.default)
    usual = _written(RECIPES[DEFAULT_RECIPE].get(section, {}).get(name, field.default))
    default = f"default: {paper}" if usual == paper else f"recipe {DEFAULT_RECIPE}: {usual}, paper: {paper}"
    return click.Option(
        [f"{section}__{name}", f"--{section}.{name}"],
        metavar="VALUE",
        default=None,
        help=f"{field.description} [{default}]",
        expose_value=False,
        callback=_remember,
    )


def _written(value: Any) -> str:
    return ",".join(map(str, value)) or "[]" if isinstance(value, tuple | list) else str(value).lower()


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is None or param.name is None:
        return
    key = param.name.replace("__", ".", 1)
    ctx.ensure_object(dict).setdefault("overrides", {})[key] = _parsed(key, value)


def _parsed(key: str, value: str) -> Any:
    """A value as YAML reads it (`null` is none); commas make a list."""
    if not value.strip():
        raise SettingsError(
            f"--{key} was given without a value.", "Write a value, null for none, or [] for an empty list."
        )
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(
            f"The value of --{key} cannot be read: {value!r}.", "Write a number, a word or 1,2,3."
        ) from error
    if isinstance(parsed, str) and "," in parsed:
        return [yaml.safe_load(part) for part in parsed.split(",")]
    return parsed


def recipe(default: str = "anatomy") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--recipe``; `default` is what its help says."""
    return click.option(
        "--recipe",
        metavar="NAME",
        expose_value=False,
        callback=_remember,
        help="Training method: anatomy, paper, cyclegan, cut, or supervised (needs registered pairs); "
        f"default: {default}.",
    )


def chosen_overrides(ctx: click.Context) -> dict[str, Any]:
    """Settings given as options: ``{"training.steps": 100}``."""
    overrides: dict[str, Any] = ctx.ensure_object(dict).get("overrides", {})
    return overrides


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


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM (from a container or a job queue) like Ctrl-C, so that nothing half-written is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set: a service ends its step and leaves nothing half-written.

    Warnings of pydicom are not printed meanwhile: they quote values of headers.
    """
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    stop = threading.Event()
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def on_cluster(given: Sequence[str], verb: str, output: Path) -> Iterator[Runner | None]:
    """The runner that ``--slurm`` asks for, or None without it; SIGTERM cancels its jobs as Ctrl-C does."""
    if not given:
        yield None
        return
    from creps.cluster.runner import slurm_runner

    with terminated_as_interrupted(), slurm_runner(list(given), verb, output) as runner:
        yield runner


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
