"""Synthesis beside MONAI's, KonfAI's and TorchIO's: the same weights, patches and overlap, the whole loop.

::

    python -m benchmarks.speed.peers [--preset brain|pelvis] [--scale 2] [--width 16] [--rounds 3]

For the environment of `requirements.txt`. Every loop goes from the prepared MR to the fused volume. **Defaults** are
those of each tool around the network as one first writes it: float32, PyTorch's default layout, norms as layers
(of MONAI's ``sw_batch_size``, which has no default, 1 and 4). **Same** are the precision and the memory format that
creps chooses on this machine. Peers predict the whole volume: creps' rows of the **body** predict less, which is a
gain of cropping and not of the loop. **creps' network** is creps' folded one within MONAI's loop.
``--scale 2`` takes every second voxel and half the patch: the same number of patches, an eighth of the work. Take
``--width 24`` for the pelvis then: narrower, its patches are so small that torch convolves them one at a time in a
loop that is several times slower, which none is at full size.
Writes ``results/peers-PRESET.json``; ratios are medians of those within a round, to each way of creps.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchio as tio
from konfai.data.patching import Accumulator, DatasetPatch
from monai.inferers import sliding_window_inference
from torch import nn

from benchmarks.common.timing import medians
from benchmarks.speed.models import generator, settings
from benchmarks.speed.results import save
from benchmarks.speed.synthesis import bare
from benchmarks.speed.volumes import mr_volume
from creps.inference.executor import Executor
from creps.inference.prediction import lay_out, predict
from creps.preprocessing.preparation import prepare_mr
from creps.settings import load_settings
from creps.volume import Array

Loop = Callable[[], Array]
"""Predicts the volume: (D, H, W) in network units."""

BASE = "creps, upper median, whole volume"
WAYS: dict[str, dict[str, str]] = {
    BASE: {"fusion": "upper_median", "extent": "volume"},
    "creps, mean, whole volume": {"fusion": "mean", "extent": "volume"},
    "creps, single pass, whole volume": {"fusion": "single", "extent": "volume"},
    "creps, median, body": {"fusion": "median", "extent": "body"},
    "creps, single pass, body": {"fusion": "single", "extent": "body"},
}
"""Like for like with the peers are the rows of the whole volume; those of the body predict less."""
FORMATS = {"defaults": torch.contiguous_format, "same": torch.channels_last_3d}


class Counted(nn.Module):
    """A network that counts its forward passes and the voxels in them."""

    def __init__(self, network: nn.Module, *, bf16: bool, layout: torch.memory_format) -> None:
        super().__init__()
        self.network, self.bf16, self.layout = network, bf16, layout
        self.forwards = self.voxels = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) → the same in float32."""
        self.forwards += 1
        self.voxels += x.numel()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            y: torch.Tensor = self.network(x.contiguous(memory_format=self.layout))
        return y.float()


@torch.inference_mode()
def monai(network: nn.Module, mr: Array, patch: list[int], batch: int) -> Array:
    out = sliding_window_inference(torch.from_numpy(mr)[None, None], patch, batch, network, overlap=0.5)
    assert isinstance(out, torch.Tensor)  # noqa: S101
    return out[0, 0].numpy()


@torch.inference_mode()
def konfai(network: nn.Module, mr: Array, patch: list[int], batch: int) -> Array:
    """The pieces that KonfAI's predictor is made of: its grid, its reading of patches, its accumulator."""
    grid = DatasetPatch(patch, [side // 2 for side in patch], pad_value=0.0)
    grid.load(list(mr.shape))
    volume, slices = torch.from_numpy(mr)[None], grid.get_patch_slices()
    fused = Accumulator(slices, patch, sweep_axis=grid.get_sweep_axis())
    for first in range(0, len(slices), batch):
        numbers = range(first, min(first + batch, len(slices)))
        out = network(torch.stack([grid.get_data(volume, number, 0, True) for number in numbers]))
        for number, one in zip(numbers, out, strict=True):
            fused.add_layer(number, one[None])
    return fused.assemble()[0, 0].numpy()


@torch.inference_mode()
def torchio(network: nn.Module, mr: Array, patch: list[int], batch: int) -> Array:
    subject = tio.Subject(mr=tio.ScalarImage(tensor=torch.from_numpy(mr)[None]))
    sampler = tio.GridSampler(subject, patch, tuple(side // 2 for side in patch))
    fused = tio.GridAggregator(sampler, overlap_mode="average")
    for found in tio.SubjectsLoader(sampler, batch_size=batch):
        fused.add_batch(network(found["mr"][tio.DATA]), found[tio.LOCATION])
    return fused.get_output_tensor()[0].numpy()


PEERS = {
    "MONAI, batch 1": (monai, 1),
    "MONAI, batch 4": (monai, 4),
    "KonfAI": (konfai, 1),
    "TorchIO, batch 4": (torchio, 4),
}


def peers(width: int, mr: Array, patch: list[int], executor: Executor) -> tuple[dict[str, Loop], dict[str, Counted]]:
    """Name → loop, and the network each counts with."""
    networks, loops = {}, {}
    for kind, layout in FORMATS.items():
        bf16 = kind == "same" and executor.precision == "bf16"
        network = generator(width).to(memory_format=layout)
        for peer, (run, batch) in PEERS.items():
            name = f"{peer}, {kind}"
            networks[name] = Counted(network, bf16=bf16, layout=layout)
            loops[name] = lambda run=run, own=networks[name], batch=batch: run(own, mr, patch, batch)
    name = "MONAI, batch 1, creps' network"
    networks[name] = Counted(executor.network, bf16=False, layout=torch.channels_last_3d)
    loops[name] = lambda: monai(networks[name], mr, patch, 1)
    return loops, networks


def measured(preset: str, scale: int, width: int, rounds: int) -> dict[str, Any]:
    side = load_settings(preset).sampling.patch_size
    patch = [n // scale for n in side]
    own = {name: settings(preset, width, patch, **way) for name, way in WAYS.items()}
    prepared = prepare_mr(mr_volume(preset), own[BASE].preparation, preset)
    every = slice(None, None, scale)
    mr, body = (np.ascontiguousarray(a[every, every, every]) for a in (prepared.array, prepared.body))
    d, h, w = (scale * step for step in prepared.grid.spacing_mm)
    executor = Executor(generator(width))
    layouts = {
        name: lay_out(mr.shape, (d, h, w), body, one.sampling.patch_size, executor, one.inference)
        for name, one in own.items()
    }
    runs: dict[str, Loop] = {
        name: lambda name=name, one=one: predict(executor, mr, layouts[name], one.inference)[0]
        for name, one in own.items()
    }
    for name, one in own.items():
        chosen = (one.inference.fusion, one.inference.extent)
        assert chosen == (WAYS[name]["fusion"], WAYS[name]["extent"]), name  # noqa: S101 - or a row is not what it says
    others, networks = peers(width, mr, patch, executor)
    check(mr, patch)
    for run in {**runs, **others}.values():  # warms up; the peers' networks count
        run()
    counts = {name: (network.forwards, network.voxels) for name, network in networks.items()}
    counts |= {name: (layout.record()["count"], layout.record()["voxels"]) for name, layout in layouts.items()}
    timed: dict[str, Callable[[], object]] = {**runs, **others, "bare forwards": bare(executor, mr, layouts[BASE])}
    rows = medians(timed, rounds, reference=BASE, warm_up=False, against=tuple(WAYS))
    for name, (forwards, voxels) in counts.items():
        rows[name] |= {"forwards": forwards, "voxels": voxels, "voxels_per_voxel": round(voxels / mr.size, 2)}
    return {"shape": list(mr.shape), "patch": patch, "precision": executor.precision, "rows": rows}


class Pointwise(nn.Module):
    """A network whose output any right loop must give exactly: no voxel sees another, and so no patch's edge."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return 2 * x + 1


def check(mr: Array, patch: list[int]) -> None:
    """That every loop puts every prediction where it belongs; real networks see patches' edges, and grids differ.

    Raises:
        AssertionError: one does not.
    """
    for name, (run, batch) in PEERS.items():
        np.testing.assert_allclose(run(Pointwise(), mr, patch, batch), 2 * mr + 1, atol=1e-5, err_msg=name)
    executor = Executor(Pointwise(), torch.device("cpu"), "fp32")
    for fusion in ("upper_median", "mean"):
        chosen = settings("brain", 8, patch, fusion=fusion, extent="volume")
        body, spacing = np.ones(mr.shape, dtype=bool), (1.0, 1.0, 1.0)
        layout = lay_out(mr.shape, spacing, body, chosen.sampling.patch_size, executor, chosen.inference)
        np.testing.assert_allclose(predict(executor, mr, layout, chosen.inference)[0], 2 * mr + 1, atol=1e-5)


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["brain", "pelvis"], default="brain")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    found = measured(chosen.preset, chosen.scale, chosen.width, chosen.rounds)
    for name, row in found["rows"].items():
        print(
            f"{name:40s}{row['seconds']:8.2f} s{row['times_reference']:8.3f} x {row.get('forwards', ''):>5} forwards"
            f"{row.get('voxels_per_voxel', '')!s:>7} voxels each"
        )
    given = {"preset": chosen.preset, "scale": chosen.scale, "width": chosen.width}
    save(f"peers-{chosen.preset}", **given, **found)


if __name__ == "__main__":
    main()
