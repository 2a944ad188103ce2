"""The same cohort by other numbers of processes, threads and cores, and from folders listed in another order."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.determinism.commands import AVX2, ONE_CORE, TWO_THREADS, Way
from benchmarks.determinism.compare import arrays_apart
from benchmarks.determinism.originals import PREPARATION
from benchmarks.determinism.session import run_session
from creps.io.itk import write_volume

__all__ = ["phantoms", "preparations"]

WORDS = f"{PREPARATION} --preparation.mr_bias_correction true --preparation.crop_margin_mm 10"
"""With everything that is computed of a volume."""

BY_WORDS = tuple(Way(name, words=f"--jobs {jobs}") for name, jobs in (("again", 1), ("2 jobs", 2), ("3 jobs", 3)))
OTHERS = (TWO_THREADS, ONE_CORE, AVX2)

MEMORY = Path("/dev/shm")
"""A folder in memory: it lists what came last first."""


def preparations(folder: Path) -> dict[str, Any]:
    """Prepare the originals in every way; compare with the first cohort.

    Args:
        folder: With the originals.
    """
    _write_heads(folder)
    words = f"prepare heads/mr heads/ct -o OUT {WORDS}"
    shared = [words.replace("OUT", "prepared") + " --jobs 1"]
    shared += [words.replace("OUT", _output(way)) + f" {way.words}" for way in BY_WORDS]
    run_session(folder, shared)
    for way in OTHERS:
        run_session(folder, [words.replace("OUT", _output(way)) + " --jobs 1"], way)
    told: dict[str, Any] = {
        way.name: arrays_apart(folder / "prepared", folder / _output(way)) for way in (*BY_WORDS, *OTHERS)
    }
    told["files listed in another order"] = _reordered(folder)
    return told


def _output(way: Way) -> str:
    return f"prepared_{''.join(letter for letter in way.name if letter.isalnum())}"


def _write_heads(folder: Path) -> None:
    """Small heads, for which N4 takes a second."""
    from tests.conftest import ball_head

    for i in range(3):
        write_volume(ball_head(i)[0], folder / "heads" / "mr" / f"m{i}.nii.gz")
        write_volume(ball_head(10 + i)[1], folder / "heads" / "ct" / f"c{i}.nii.gz", integer=True)


def _reordered(folder: Path) -> dict[str, Any]:
    """The same from copies of the files that were made in the opposite order."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        listed = {}
        for kind in ("mr", "ct"):
            (Path(name) / kind).mkdir()
            for file in sorted((folder / "heads" / kind).iterdir(), reverse=True):
                shutil.copy(file, Path(name) / kind)
            listed[kind] = [
                [file.name for file in (parent / kind).iterdir()] for parent in (folder / "heads", Path(name))
            ]
        run_session(folder, [f"prepare {name}/mr {name}/ct -o prepared_reordered --jobs 1 {WORDS}"])
    other_order = any(first != second for first, second in listed.values())
    return {"listed_otherwise": other_order, **arrays_apart(folder / "prepared", folder / "prepared_reordered")}


def phantoms(folder: Path) -> dict[str, Any]:
    """Phantoms of either region in every way; whether all files have the same voxels.

    Args:
        folder: Where they go.
    """
    told: dict[str, Any] = {}
    first: dict[str, str] = {}
    for way in (Way("first"), TWO_THREADS, AVX2):
        name = f"grown_{''.join(letter for letter in way.name if letter.isalnum())}"
        sizes, regions = "--mr 1 --ct 1 --test 1 --spacing 4 --seed 7", ("head", "pelvis")
        run_session(
            folder, [f"phantom {name}_{region} --region {region} {sizes}" for region in ("head", "pelvis")], way
        )
        found = {
            f"{region}/{file.relative_to(folder / f'{name}_{region}')}": hashlib.sha256(file.read_bytes()).hexdigest()
            for region in regions
            for file in (folder / f"{name}_{region}").rglob("*.nii.gz")
        }
        first = first or found
        if way.name != "first":
            different = sorted(key for key in first if first[key] != found.get(key))
            told[way.name] = {"equal": not different, "files": len(found), "different": different}
    return told
