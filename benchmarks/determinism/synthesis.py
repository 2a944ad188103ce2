"""The same sCT again, and by other threads, cores, batches, tiles, precisions, processes and orders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.determinism.commands import AVX2, ONE_CORE, PLAIN, TWO_THREADS
from benchmarks.determinism.compare import documents_apart, hu_apart
from benchmarks.determinism.session import run_session
from creps.parallel import Work, run_all

__all__ = ["InProcesses", "syntheses"]

SINGLE = "head"
"""A shipped model: one pass, a spread, a calibration."""

PATCHES = "patches"
"""A small model whose overlapping patches are fused."""

SETTINGS = {
    SINGLE: {
        "fp32": "--uncertainty",
        "bf16": "--uncertainty --inference.precision bf16",
        "fp32, tiles of 0.3 GB": "--inference.memory_gb 0.3",
        "fp32, tiles of 0.1 GB": "--inference.memory_gb 0.1",
        "bf16, tiles of 0.1 GB": "--inference.precision bf16 --inference.memory_gb 0.1",
    },
    PATCHES: {
        "fp32": "--inference.batch_size 1",
        "fp32, batches of 3": "--inference.batch_size 3",
        "fp32, batches of 8": "--inference.batch_size 8",
        "bf16": "--inference.batch_size 1 --inference.precision bf16",
        "bf16, batches of 3": "--inference.batch_size 3 --inference.precision bf16",
        "bf16, batches of 8": "--inference.batch_size 8 --inference.precision bf16",
    },
}
"""Model → name → words."""

AGAINST = {"fp32": "fp32", "bf16": "bf16"}


class InProcesses:
    """A runner: two processes of this machine, each with half of its cores."""

    def __call__(self, work: Work[Any, Any], tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield (index, result)."""
        return run_all(work.do, tasks, 2)

    def knows(self, work: Work[Any, Any], task: Any) -> bool:  # noqa: ARG002
        """Nothing was written before."""
        return False


def syntheses(folder: Path) -> dict[str, Any]:
    """Synthesize one MR in every way; compare with the first sCT.

    Args:
        folder: With the originals.
    """
    _small_model(folder / PATCHES)
    mr = sorted((folder / "mr").iterdir())[0].name
    told: dict[str, Any] = {"same settings": {}, "other settings": {}}
    for way in (replace(PLAIN, name="first"), PLAIN, TWO_THREADS, ONE_CORE, AVX2):
        name = "".join(letter for letter in way.name if letter.isalnum())
        first = way.name == "first"
        chosen = {model: words if first else _two(words) for model, words in SETTINGS.items()}
        run_session(folder, [_words(model, mr, name, each) for model in chosen for each in chosen[model].items()], way)
        if not first:
            told["same settings"][way.name] = {
                f"{model}, {one}": _apart(folder, f"first_{model}", f"{name}_{model}", one, one)
                for model, words in chosen.items()
                for one in words
            }
            print(way.name, json.dumps(told["same settings"][way.name]), flush=True)
    for model, words in SETTINGS.items():
        for one in words:
            against = "fp32" if one == "bf16" else one[:4]
            if one != against:
                found = _apart(folder, f"first_{model}", f"first_{model}", against, one)
                told["other settings"][f"{model}, {one}, against {against}"] = found
    print(json.dumps(told["other settings"]), flush=True)
    told["many"] = _many(folder)
    told["tiles in the opposite order"] = _tile_order(folder / "mr" / mr)
    return told


def _two(words: dict[str, str]) -> dict[str, str]:
    return {name: words[name] for name in AGAINST}


def _words(model: str, mr: str, name: str, each: tuple[str, str]) -> str:
    precision = "" if "precision" in each[1] else "--inference.precision fp32"
    return f"synthesize {model} mr/{mr} -o {name}_{model}_{_stem(each[0])}.nii.gz --force {each[1]} {precision}"


def _stem(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum())


def _apart(folder: Path, a: str, b: str, one: str, other: str) -> dict[str, Any]:
    """HU, uncertainty and checks of two sCTs."""
    first, second = folder / f"{a}_{_stem(one)}", folder / f"{b}_{_stem(other)}"
    found = hu_apart(*(path.with_name(f"{path.name}.nii.gz") for path in (first, second)))
    maps = [path.with_name(f"{path.name}_uncertainty.nii.gz") for path in (first, second)]
    if all(path.is_file() for path in maps):
        found["uncertainty"] = hu_apart(*maps)
    checks = [json.loads(path.with_name(f"{path.name}_qa.json").read_text()) for path in (first, second)]
    found["qa_results_equal"] = _results(checks[0]) == _results(checks[1])
    found["qa_equal"] = documents_apart(*(path.with_name(f"{path.name}_qa.json") for path in (first, second)))
    return found


def _results(document: dict[str, Any]) -> Any:
    return document["result"], {one["name"]: one["result"] for one in document["checks"]}


def _many(folder: Path) -> dict[str, Any]:
    """All MRs in one command against each by itself, and in two processes."""
    from creps import load

    mrs = sorted((folder / "mr").iterdir())
    model = load(str(folder / PATCHES))
    from creps.synthesis.batch import synthesize_batch
    from creps.synthesis.options import SynthesisOptions

    options = SynthesisOptions(force=True)
    synthesize_batch(model, mrs, folder / "many_here", options=options)
    synthesize_batch(model, mrs[::-1], folder / "many_reversed", options=options)
    synthesize_batch(model, mrs, folder / "many_there", options=options, runner=InProcesses())
    for one in mrs:
        model.synthesize(one, force=True).save(folder / "many_alone" / f"{one.name.removesuffix('.nii.gz')}_sct.nii.gz")
    return {
        name: [
            hu_apart(file, folder / f"many_{name}" / file.name) for file in (folder / "many_here").glob("*_sct.nii.gz")
        ]
        for name in ("reversed", "there", "alone")
    }


def _tile_order(mr: Path) -> dict[str, Any]:
    """Two predictions of one layout, whose tiles are taken in opposite orders."""
    from creps import load
    from creps.inference import prediction

    model = load(SINGLE)
    taken = prediction.lay_out
    scts = []
    for step in (1, -1):
        with _laid_out(lambda layout, step=step: replace(layout, tiles=layout.tiles[::step]), taken):
            scts.append(model.synthesize(mr, force=True, precision="fp32", memory_gb=0.1).sct.array)
    return {"equal": bool((scts[0] == scts[1]).all()), "most": float(np.abs(scts[0] - scts[1]).max())}


class _laid_out:  # noqa: N801 - a context manager
    """Change every layout of a synthesis inside."""

    def __init__(self, change: Callable[[Any], Any], taken: Callable[..., Any]) -> None:
        self.change, self.taken = change, taken

    def __enter__(self) -> None:
        from creps.synthesis import synthesize

        self.module = synthesize
        self.module.lay_out = lambda *given, **named: self.change(self.taken(*given, **named))  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        self.module.lay_out = self.taken


def _small_model(folder: Path) -> None:
    from tests.service.running import tiny_model

    if not folder.is_dir():
        tiny_model(folder)
