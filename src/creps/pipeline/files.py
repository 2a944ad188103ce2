"""Synthesis from file to files: the sCT, its record and its picture."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from creps.checkpoint import Plan
from creps.errors import InputError, OutputExistsError
from creps.figures import synthesis_figure
from creps.io.atomic import write_json
from creps.io.itk import SUFFIXES, read_volume, stem, suffix, write_volume
from creps.pipeline.synthesize import synthesize
from creps.provenance import sha256_file
from creps.settings import InferenceSettings

__all__ = ["synthesize_file", "target_paths"]

log = logging.getLogger(__name__)


def target_paths(inputs: Sequence[Path], output: Path, overwrite: bool) -> list[Path]:
    """Where the sCT of each input goes.

    Args:
        inputs: MR files.
        output: A file if its ending says so (one input only), otherwise a folder.
        overwrite: Whether existing files may be replaced.

    Raises:
        InputError: several inputs for one file, two inputs with one name, a missing input.
        OutputExistsError: a target is there already.
    """
    for path in inputs:
        _check_input(path)
    if suffix(output):
        if len(inputs) != 1:
            raise InputError(f"{output} is one file, but there are {len(inputs)} inputs.", "Name a folder with -o.")
        targets = [output]
    else:
        if output.is_file():
            raise InputError(f"{output} is a file without a known ending.", f"Use {', '.join(SUFFIXES)}, or a folder.")
        targets = [output / f"{stem(path)}_sct{suffix(path)}" for path in inputs]
    twice = next((path for path in targets if targets.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"Two inputs would both be written to {twice}.", "Synthesize them into different folders.")
    for source, target in zip(inputs, targets, strict=True):
        if target.resolve() == source.resolve():
            raise OutputExistsError(f"{target} is the MR itself.", "Name another file with -o.")
        if target.exists() and not overwrite:
            raise OutputExistsError(f"{target} is already there.", "Add --overwrite, or name another place with -o.")
    return targets


def synthesize_file(
    plan: Plan,
    generator: nn.Module,
    source: Path,
    target: Path,
    settings: InferenceSettings,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Read an MR, synthesize, and write the sCT with ``.json`` and ``.png`` beside it.

    The record and the picture come first: an sCT never lies there without them.

    Raises:
        InputError: the MR cannot be used.
    """
    mr = read_volume(source)
    advance = None if progress is None else lambda done, total: progress(done, total, "")
    result = synthesize(plan, generator, mr, settings, name=str(source), progress=advance)
    record = {**result.record, "input": {"file": source.name, "sha256": sha256_file(source)}}
    beside = target.parent / stem(target)
    write_json(beside.with_name(beside.name + ".json"), record)
    synthesis_figure(
        beside.with_name(beside.name + ".png"), mr, result.sct, f"{target.name}, {plan.preparation.region}"
    )
    write_volume(result.sct, target, integer=True)
    log.info("%s: %d patches, %.1f s", target, record["patches"]["count"], record["seconds"])


def _check_input(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} does not exist or is a folder.", "Give MR volume files.")
    if suffix(path) == "":
        raise InputError(f"{path} has no known ending.", f"creps reads {', '.join(SUFFIXES)}.")
