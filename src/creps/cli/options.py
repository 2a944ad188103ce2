"""Options that several verbs share; those for settings are generated from the settings tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from creps.errors import SettingsError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = [
    "MODEL",
    "PATH",
    "SettingsCommand",
    "chosen_overrides",
    "preset",
    "recipe",
    "settings_file",
    "slurm",
]

PATH = click.Path(path_type=Path)

MODEL = click.STRING
"""A shipped model's name or a model's path; as text, since ``./head`` as a `Path` is ``head``. The library finds it."""

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
