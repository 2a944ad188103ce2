"""What a user waits for with the default recipe: an sCT, the first step of a training, and a step.

::

    python -m benchmarks.speed.daily [--rounds 5] [--parts synthesize first-step step]

**Synthesize** times whole commands (`creps synthesize head`, `pelvis`, from a file to a file) beside the import of
torch and the network's forward passes alone, all in turn in every round. **First step** starts `creps train` anew and
waits for the line of step 1; the phantoms are grown anew each time. **Step** compares a training step on ready patches
with the same network and loss written plainly in PyTorch, in float32, in both memory formats.

Writes ``results/daily-bf16.json`` on a machine where creps computes in bfloat16, else ``results/daily-fp32.json``. For
the second, set ``ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2`` on a machine with bfloat16 units.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.common.timing import medians
from benchmarks.gpu.convolutions import Recorder, alone_seconds
from benchmarks.speed.results import HERE, save
from creps.inference.executor import Executor
from creps.inference.prediction import lay_out, predict
from creps.io.itk import read_volume, write_volume
from creps.machine import resolve_precision
from creps.model import Model
from creps.networks.unet import UNetGenerator
from creps.phantom import head_patient, pelvis_patient
from creps.preprocessing.preparation import prepare_mr
from creps.settings import load_settings
from creps.shipped.names import find_model
from creps.training.build import build_networks
from creps.training.processes import start_processes
from creps.training.step import TrainingStep

SEED = 777401
"""No phantom of a training, demo or score has it."""

SPACING_MM = {"head": 1.0, "pelvis": 1.5}
PARTS = ("synthesize", "first-step", "step")
CREPS = [sys.executable, "-m", "creps"]
IMPORT = [sys.executable, "-c", "import torch"]


def called(command: list[str]) -> None:
    """Run a command whose words nobody reads."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def synthesize(work: Path, rounds: int) -> dict[str, Any]:
    """Whole commands beside the forward passes and the import of torch."""
    found = {}
    for region, grow in (("head", head_patient), ("pelvis", pelvis_patient)):
        mr, out = work / f"{region}.nii.gz", str(work / "sct.nii.gz")
        write_volume(grow([SEED], SPACING_MM[region]).mr, mr, integer=True)
        runs: dict[str, Callable[[], object]] = {
            "creps synthesize": partial(called, [*CREPS, "synthesize", region, str(mr), "-o", out, "--overwrite"]),
            "import torch": partial(called, IMPORT),
            "forward passes": forwards(region, mr),
        }  # fmt: skip
        rows = medians(runs, rounds, reference="creps synthesize")
        whole, torch_alone, passes = (rows[name]["seconds"] for name in runs)
        shape = list(read_volume(mr).array.shape)
        rows |= {"shape": shape, "ratio": round(whole / (torch_alone + passes), 2), "fixed": round(whole - passes, 2)}
        print(f"{region}: {whole:.1f} s, of them torch {torch_alone:.1f}, forward passes {passes:.1f}")
        found[region] = rows
    return found


def forwards(region: str, file: Path) -> Callable[[], object]:
    """The prediction of a prepared MR."""
    model = Model.load(find_model(region))
    plan = model.plan
    prepared = prepare_mr(read_volume(file), plan.preparation, region)
    executor = Executor(model.generator)
    layout = lay_out(
        prepared.array.shape, prepared.grid.spacing_mm, prepared.body, plan.patch_size, executor, plan.inference,
        lattice_index=prepared.lattice_index, signal=prepared.array,
    )  # fmt: skip
    return lambda: predict(executor, prepared.array, layout, plan.inference)


def first_step(work: Path, rounds: int) -> dict[str, Any]:
    """From the start of `creps train` to its first step, at the preset's full size and small."""
    called([*CREPS, "phantom", str(work / "p"), "--mr", "4", "--ct", "4", "--test", "0", "--spacing", "2"])
    rows = {}
    for name, spacing, patch in (("2 mm", "[2, 2, 2]", "[32, 64, 64]"), ("1 mm", "[1, 1, 1]", "[32, 64, 64]")):
        cohort = work / f"cohort-{name[0]}"
        called(
            [
                *CREPS,
                "prepare",
                str(work / "p" / "train.csv"),
                "-o",
                str(cohort),
                "-p",
                "brain",
                "--preparation.spacing-mm",
                spacing,
            ]
        )
        taken = []
        for number in range(rounds):
            settings = ["--sampling.patch-size", patch, "--training.log-every", "1", "--training.loggers", "[]"]
            command = [*CREPS, "train", str(cohort), "-o", str(work / f"run-{name[0]}-{number}"), *settings]
            taken.append(until(" step 1/", command))
        rows[name] = {
            "seconds": round(statistics.median(taken), 1),
            "least": round(min(taken), 1),
            "most": round(max(taken), 1),
        }
        print(f"first step at {name}: {rows[name]['seconds']} s")
    return rows


def until(words: str, command: list[str]) -> float:
    """Seconds until a command says words; it is then ended."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            if words in line:
                break
        else:
            sys.exit(f"{' '.join(command)} ended without '{words}'.")
        taken = time.perf_counter() - started
        process.kill()
    return taken


def plain_loss(generator: UNetGenerator, mr: torch.Tensor, ct: torch.Tensor) -> torch.Tensor:
    """The loss of the U-Net as one first writes it: every voxel through a convolution, weights instead of indices."""
    logits = generator.head(generator.fine_features(mr))
    centres = generator.classes.centres
    value = ct[:, 0].clamp(float(centres[0]), float(centres[-1]))
    above = torch.bucketize(value, centres).clamp(1, len(centres) - 1)
    share = (value - centres[above - 1]) / (centres[above] - centres[above - 1])
    entropy = (1 - share) * functional.cross_entropy(logits, above - 1, reduction="none")
    entropy = entropy + share * functional.cross_entropy(logits, above, reduction="none")
    mean = (logits.softmax(dim=1) * centres[:, None, None, None]).sum(dim=1)
    near = functional.max_pool3d((ct > -0.5).float(), 7, stride=1, padding=3)[:, 0]
    weight = near * (1 + 5 * (ct[:, 0] > 0.2))
    return (weight * (0.5 * entropy + 0.5 * (mean - ct[:, 0]).abs())).sum() / weight.sum()


def step(rounds: int) -> dict[str, Any]:
    """A training step on ready patches, creps' and plain ones."""
    rng = np.random.default_rng(0)
    chosen = {"recipe": "anatomy", "training.device": "cpu", "sampling.patch_size": [32, 64, 64]}
    smooth = torch.from_numpy(rng.random((2, 2, 8, 16, 16), np.float32))
    mr, ct = functional.interpolate(smooth, size=(32, 64, 64), mode="trilinear").split(1, dim=1)
    mr, ct = 2 * mr, 2.2 * ct - 1
    runs: dict[str, Callable[[], object]] = {}
    for precision in dict.fromkeys((resolve_precision("auto", torch.device("cpu")), "fp32")):
        settings = load_settings("brain", overrides=chosen | {"training.precision": precision})
        processes = start_processes(settings.training)
        ours = TrainingStep(processes, build_networks(processes, settings, None), None, settings)
        runs[f"creps, {precision}"] = partial(ours, mr[:, :, :0], ct[:, :, :0], 1, (mr, ct))
    layouts = {"PyTorch's default": torch.contiguous_format, "channels last": torch.channels_last_3d}
    for name, layout in layouts.items():
        runs[f"plain, fp32, {name}"] = plain_step(settings, mr, ct, layout)
    rows = medians(runs, rounds, reference=next(iter(runs)))
    for name, row in rows.items():
        row |= work_of(runs[name], row["seconds"], rounds)
        print(
            f"step, {name:36s} {row['seconds']:.2f} s, {row['times_reference']:.2f} x, convolutions alone"
            f" {row['convolutions_seconds']:.2f} s ({100 * row['share_of_convolutions']:.0f} %)"
        )
    return rows


def work_of(run: Callable[[], object], seconds: float, rounds: int) -> dict[str, float]:
    """What a step's convolutions take alone on ready tensors, each by itself: no step can be faster than that."""
    with Recorder() as recorder:
        run()
    device = torch.device("cpu")
    alone = sum(count * each for _, count, each in alone_seconds(recorder.calls, device, rounds))
    return {
        "gflop": round(recorder.flop / 1e9, 1),
        "convolutions_seconds": round(alone, 4),
        "share_of_convolutions": round(alone / seconds, 3),
    }


def plain_step(settings: Any, mr: torch.Tensor, ct: torch.Tensor, layout: torch.memory_format) -> Callable[[], object]:
    """The plain step with AdamW."""
    processes = start_processes(settings.training)
    generator: Any = build_networks(processes, settings, None).generator.to(memory_format=layout)
    optimizer = torch.optim.AdamW(generator.parameters(), 1e-4)
    given = mr.contiguous(memory_format=layout)

    def run() -> None:
        optimizer.zero_grad()
        plain_loss(generator, given, ct).backward()
        optimizer.step()

    return run


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    chosen = parser.parse_args()
    precision = resolve_precision("auto", torch.device("cpu"))
    name = f"daily-{precision}"
    file = HERE / "results" / f"{name}.json"
    kept = json.loads(file.read_text()) if file.is_file() else {}
    found = {part: kept[part] for part in PARTS if part in kept}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        measures = {"synthesize": partial(synthesize, work), "first-step": partial(first_step, work), "step": step}
        for part in chosen.parts:
            found[part] = measures[part](chosen.rounds)
            save(name, precision=precision, **found)


if __name__ == "__main__":
    main()
