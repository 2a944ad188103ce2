"""Synthesis from file to files: the sCT, its record and its picture."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from creps.checkpoint import Plan
from creps.errors import InputError, OutputExistsError
from creps.figures import synthesis_figure
from creps.io.atomic import atomic_file, write_json
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
        OutputExistsError: a target, its record or its picture is there already, or is an input.
    """
    for path in inputs:
        _check_input(path)
    if suffix(output):
        if len(inputs) != 1:
            raise InputError(f"{output} is one file, but there are {len(inputs)} inputs.", "Name a folder with -o.")
        targets = [output]
    else:
        if output.is_file() or (output.suffix and not output.is_dir() and len(inputs) == 1):
            raise InputError(f"{output} has no known ending.", f"Use {', '.join(SUFFIXES)}, or a folder.")
        targets = [output / f"{stem(path)}_sct{suffix(path)}" for path in inputs]
    written = [path for target in targets for path in _beside(target)]
    twice = next((path for path in written if written.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"Two inputs would both be written to {twice}.", "Synthesize them into different folders.")
    for path in written:
        if any(path.resolve() == source.resolve() for source in inputs):
            raise OutputExistsError(f"{path} is an MR that was given.", "Name another place with -o.")
        if path.exists() and not overwrite:
            raise OutputExistsError(f"{path} is already there.", "Add --overwrite, or name another place with -o.")
    return targets


def _beside(target: Path) -> list[Path]:
    """The sCT, its record and its picture; for a header also its data file."""
    endings = [".json", ".png", *{".mhd": [".zraw"], ".nhdr": [".raw.gz"]}.get(suffix(target), [])]
    return [target, *(target.with_name(f"{stem(target)}{ending}") for ending in endings)]


def synthesize_file(
    plan: Plan,
    generator: nn.Module,
    source: Path,
    target: Path,
    settings: InferenceSettings,
    *,
    mask: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Read an MR, synthesize, and write the sCT with ``.json`` and ``.png`` beside it: all three or none.

    Raises:
        InputError: the MR or the mask cannot be used.
    """
    mr = read_volume(source)
    advance = None if progress is None else lambda done, total: progress(done, total, "")
    body = read_volume(mask) if mask is not None else None
    result = synthesize(plan, generator, mr, settings, name=str(source), mask=body, progress=advance)
    record = {**result.record, "input": {"file": source.name, "sha256": sha256_file(source)}}
    with atomic_file(target) as temporary:
        sct, json_file, picture, *_ = _beside(temporary)
        write_volume(result.sct, sct, integer=True)
        write_json(json_file, record)
        synthesis_figure(picture, mr, result.sct, f"{target.name}, {plan.preparation.region}")
    log.info("%s: %d patches, %.1f s", target, record["patches"]["count"], record["seconds"])


def _check_input(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} does not exist or is a folder.", "Give MR volume files.")
    if suffix(path) == "":
        raise InputError(f"{path} has no known ending.", f"creps reads {', '.join(SUFFIXES)}.")
