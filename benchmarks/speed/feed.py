"""The patch feed: pairs of patches per second from disk to batches, against what a training step takes and peers give.

::

    python -m benchmarks.speed.feed [--seconds 4] [--rounds 3]

Run it in an environment with MONAI and TorchIO (``requirements.txt``); without one of them its rows say so.
Six MR and six CT of 160 x 192 x 192, patches of 24 x 48 x 48, batches of two pairs, two worker processes for everybody,
files in the page cache. A pair is an MR patch and a CT patch. Peers get what is fastest for them to read:
uncompressed NIfTI on the model's grid (MONAI's caches, whatever they hold), pairs whose MR and CT may come from one
case, no body masks and no reproducible order. creps is also measured as it is shipped, without worker processes.
TorchIO's queue takes 8 (its documentation's order of magnitude) or 64 patches of a volume that it has read; MONAI's
caches hand out one patch of a case, or 8 at once: such patches are that much less mixed.

What a step needs is measured with `TrainingStep` itself (preset demo, width 16, the same patches, precision auto) on
this machine's CPU. Writes ``results/feed.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.speed.results import save
from benchmarks.speed.training import shipped
from creps.cohort.cohort import Case, Cohort, Manifest
from creps.io.itk import write_volume
from creps.settings import load_settings
from creps.training.sampling import PatchPairs, PatchSampler
from creps.training.simulation import simulated_pairs
from creps.volume import Volume

SHAPE, PATCH, BATCH, CASES, WORKERS = (160, 192, 192), (24, 48, 48), 2, 6, 2
STEPS = 1_000_000

SHIPPED = "creps, in the training process"
"""The default: no worker processes."""

Batches = Callable[[], Iterator[Any]]


def write_cohort(folder: Path) -> Cohort:
    """A prepared cohort of noise; the same volumes as NIfTI in ``nifti``."""
    rng, cases = np.random.default_rng(0), []
    for modality in ("mr", "ct"):
        for kind in (modality, f"{modality}_body"):
            (folder / kind).mkdir()
        (folder / "nifti" / modality).mkdir(parents=True)
        for i in range(CASES):
            array = rng.random(SHAPE, dtype=np.float32)
            np.save(folder / modality / f"{i}.npy", array)
            np.save(folder / f"{modality}_body" / f"{i}.npy", np.ones(SHAPE, dtype=bool))
            write_volume(Volume(array), folder / "nifti" / modality / f"{i}.nii")
            cases.append(
                Case(
                    case=str(i), patient=f"{modality}{i}", modality=modality, split="train", shape=SHAPE,
                    spacing_mm=(3, 3, 3), origin_mm=(0, 0, 0), direction=(0, 0, 1, 0, 1, 0, 1, 0, 0),
                    body=((5, 150), (9, 180), (9, 180)), source="x", source_sha256="x", prepared_sha256="x",
                )
            )  # fmt: skip
    preparation = load_settings("demo").preparation
    return Cohort(
        folder, Manifest(preset="demo", recipe="anatomy", preparation=preparation, cases=tuple(cases), provenance={})
    )


def ours(cohort: Cohort, recipe: str, workers: int) -> Batches:
    chosen = load_settings("demo", overrides={"recipe": recipe, "sampling.patch_size": list(PATCH)})
    cases = (cohort.cases("mr", "train"), cohort.cases("ct", "train"))

    def batches() -> Iterator[Any]:
        patches = PatchPairs(cohort, PatchSampler(*cases, chosen.sampling, 0, BATCH), STEPS, simulated_pairs(chosen))
        return iter(DataLoader(patches, BATCH, num_workers=workers))

    return batches


def torchio_queue(folder: Path, each: int) -> Batches:
    import torchio as tio

    def batches() -> Iterator[Any]:
        files = [[folder / modality / f"{i}.nii" for modality in ("mr", "ct")] for i in range(CASES)]
        subjects = tio.SubjectsDataset([tio.Subject(mr=tio.ScalarImage(a), ct=tio.ScalarImage(b)) for a, b in files])
        sampler = tio.data.UniformSampler(PATCH)
        queue = tio.Queue(subjects, max(2 * each, 48), each, sampler, num_workers=WORKERS)
        while True:
            yield from tio.SubjectsLoader(queue, batch_size=BATCH, num_workers=0)

    return batches


def monai_cache(folder: Path, kind: str, each: int) -> Batches:
    from monai import data, transforms

    files = [{m: str(folder / m / f"{i}.nii") for m in ("mr", "ct")} for i in range(CASES)]
    keys = ["mr", "ct"]
    read = [transforms.LoadImaged(keys), transforms.EnsureChannelFirstd(keys)]
    if each == 1:
        crop: Any = transforms.RandSpatialCropd(keys, PATCH, random_size=False)
    else:
        crop = transforms.RandSpatialCropSamplesd(keys, PATCH, each, random_size=False)
    chain = transforms.Compose([*read, crop])

    def batches() -> Iterator[Any]:
        # an epoch is one visit of every file: many of them in one, so that it is not the start that is measured
        visits = files * 2000
        if kind == "cache":
            cached = data.CacheDataset(files, chain, num_workers=0, progress=False)
            dataset: Any = data.Dataset(list(range(len(visits))), lambda k: cached[k % CASES])
        else:
            dataset = data.PersistentDataset(visits, chain, cache_dir=folder / "persistent")
        return iter(data.DataLoader(dataset, num_workers=WORKERS, batch_size=BATCH if each == 1 else 1, shuffle=True))

    return batches


def pairs_of(batch: Any) -> int:
    mr = batch["mr"]
    return len(mr["data"] if isinstance(mr, dict) else mr)


def rate(batches: Batches, seconds: float) -> tuple[float, float]:
    """(pairs per second after the first batches, seconds until the first one)."""
    started = time.perf_counter()
    given = batches()
    next(given)
    first = time.perf_counter() - started
    for _ in range(4 * WORKERS):  # what was made ahead meanwhile
        next(given)
    pairs, started = 0, time.perf_counter()
    for batch in given:
        pairs += pairs_of(batch)
        if time.perf_counter() - started > seconds:
            break
    return pairs / (time.perf_counter() - started), first


def needs(rounds: int) -> dict[str, Any]:
    """Recipe → pairs per second that a training step takes."""
    found = {}
    for recipe in ("paper", "anatomy"):
        fixed = {"recipe": recipe, "sampling.patch_size": list(PATCH), "training.batch_size": BATCH}
        step = shipped(load_settings("demo", overrides=fixed | {"creps.balance": "never", "training.device": "cpu"}))
        mr, ct = (torch.rand(BATCH, 1, *PATCH) for _ in range(2))
        seconds = []
        for _ in range(rounds + 1):
            started = time.perf_counter()
            step(mr, ct, 1, (mr, ct))
            seconds.append(time.perf_counter() - started)
        each = statistics.median(seconds[1:])
        found[recipe] = {"step_seconds": round(each, 3), "pairs_per_second": round(BATCH / each, 2)}
        print(f"A step of recipe {recipe:8s} {each:6.2f} s: {BATCH / each:.2f} pairs per second")
    return found


def bytes_from_disk(cohort: Cohort, pairs: int = 50) -> dict[str, float] | None:
    """Bytes that come from the disk for a pair whose files are not in memory, over those of the pair itself."""
    io = Path("/proc/self/io")
    if not hasattr(os, "posix_fadvise") or not io.is_file():
        return None
    chosen = load_settings("demo", overrides={"sampling.patch_size": list(PATCH)})
    sampler = PatchSampler(cohort.cases("mr", "train"), cohort.cases("ct", "train"), chosen.sampling, 0, BATCH)
    total = 0
    for k in range(pairs):
        for path in [*cohort.folder.glob("mr/*.npy"), *cohort.folder.glob("ct/*.npy")]:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        before = _read_bytes(io)
        PatchPairs(cohort, sampler, STEPS)[k]  # a new one: pages that are mapped stay in memory
        total += _read_bytes(io) - before
    pair, volumes = 2 * 4 * np.prod(PATCH), 2 * 4 * np.prod(SHAPE)
    return {
        "bytes_per_pair": round(total / pairs),
        "times_the_pair": round(total / pairs / int(pair), 2),
        "share_of_the_volumes": round(total / pairs / int(volumes), 4),
    }


def _read_bytes(io: Path) -> int:
    return int(next(line for line in io.read_text().splitlines() if line.startswith("read_bytes")).split()[1])


def alternatives(cohort: Cohort) -> dict[str, Batches | str]:
    """Name → what gives batches, or why it cannot be measured."""
    nifti = cohort.folder / "nifti"
    own: dict[str, Batches | str] = {
        "creps": ours(cohort, "paper", WORKERS),
        "creps, with simulated MR (anatomy)": ours(cohort, "anatomy", WORKERS),
        SHIPPED: ours(cohort, "paper", 0),
        "creps, with simulated MR, in the training process": ours(cohort, "anatomy", 0),
    }
    peers = {
        f"TorchIO Queue, {each} patches of a volume": ("torchio", torchio_queue, (nifti, each)) for each in (8, 64)
    } | {
        f"MONAI {name}, {each} of a case at once": ("monai", monai_cache, (nifti, kind, each))
        for name, kind in (("CacheDataset", "cache"), ("PersistentDataset", "persistent"))
        for each in (1, 8)
    }
    for name, (package, make, arguments) in peers.items():
        there = importlib.util.find_spec(package) is not None
        own[name] = make(*arguments) if there else f"{package} is not installed"
    return own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, Any] = {"shape": SHAPE, "patch": PATCH, "batch": BATCH, "workers": WORKERS, "cases": CASES}
    with tempfile.TemporaryDirectory() as temporary:
        cohort = write_cohort(Path(temporary))
        found["needs"] = needs(options.rounds)
        torch.set_num_threads(1)
        runs = alternatives(cohort)
        rates: dict[str, list[float]] = {name: [] for name in runs}
        firsts = dict.fromkeys(runs, 0.0)
        for _, (name, batches) in itertools.product(range(options.rounds), runs.items()):
            if not isinstance(batches, str):
                pairs, firsts[name] = rate(batches, options.seconds)
                rates[name].append(pairs)
        found["cold"] = bytes_from_disk(cohort)
    found["feeds"] = {}
    for name, batches in runs.items():
        if isinstance(batches, str):
            found["feeds"][name] = batches
            print(f"{name:50s} {batches}")
            continue
        need = found["needs"]["anatomy" if "simulated" in name else "paper"]["pairs_per_second"]
        ratios = {
            key: round(statistics.median(a / b for a, b in zip(rates[ours], rates[name], strict=True)), 2)
            for key, ours in (("with_workers_is_times_this", "creps"), ("as_shipped_is_times_this", SHIPPED))
        }
        row = {
            "pairs_per_second": round(statistics.median(rates[name]), 1),
            "least": round(min(rates[name]), 1), "most": round(max(rates[name]), 1),
            "first_batch_seconds": round(firsts[name], 2),
            **ratios,
            "times_the_need": round(statistics.median(rates[name]) / need, 1),
        }  # fmt: skip
        found["feeds"][name] = row
        print(
            f"{name:50s} {row['pairs_per_second']:8.1f} pairs/s, {row['times_the_need']:7.1f} x the need; creps"
            f" {ratios['with_workers_is_times_this']:6.2f} x, in the training process"
            f" {ratios['as_shipped_is_times_this']:6.2f} x"
        )
    print("Cold:", found["cold"])
    save("feed", **found)


if __name__ == "__main__":
    main()
