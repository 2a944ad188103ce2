"""Synthesis beside MONAI's, KonfAI's and TorchIO's: the same voxels, weights, patches and overlap, the whole loop.

::

    python -m benchmarks.speed.peers [--preset brain|pelvis] [--scale 2] [--width 16] [--rounds 5]

For the environment of `requirements.txt`. Every loop goes from the prepared MR to the fused volume, with the paper's
generator. There are two tables, **whole volume** and **body** (the box around it), and in each of them every loop
predicts every voxel. **Defaults** are those of each tool around the network as one first writes it: float32, PyTorch's
default layout, norms as layers (of MONAI's ``sw_batch_size``, which has no default, 1 and 4). **Same** are the
precision and the memory format that creps chooses on this machine. **creps' network** is creps' folded one within
MONAI's loop. **Bare forwards** are creps' forward passes alone. Beside the tables stand creps' rows that predict less
(patches without any of the body left out): a gain of leaving out and not of the loop.

``--scale 2`` takes every second voxel and half the patch: the same number of patches, an eighth of the work. Take
``--width 24`` for the pelvis then: narrower, its patches are so small that torch convolves them one at a time in a
loop that is several times slower, which none is at full size.
Writes ``results/peers-PRESET.json``; ratios are medians of those within a round.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from creps.inference.prediction import MARGIN_MM, Layout, lay_out, predict
from creps.networks.generator import Generator
from creps.preprocessing.crop import crop_box
from creps.preprocessing.preparation import prepare_mr
from creps.settings import Settings, load_settings
from creps.volume import Array, Mask

Loop = Callable[[], Array]
"""Predicts the volume: (D, H, W) in network units."""

BASE = "creps, upper median"
WAYS = {BASE: "upper_median", "creps, mean": "mean", "creps, single pass": "single"}
"""Row → fusion."""
BARE = "bare forwards"
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
def monai(
    network: nn.Module, mr: Array, patch: list[int], batch: int, *, overlap: float = 0.5, mode: str = "constant"
) -> Array:
    image = torch.from_numpy(mr)[None, None]
    out = sliding_window_inference(image, patch, batch, network, overlap=overlap, mode=mode)
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


@dataclass(frozen=True, eq=False)
class Scene:
    """A volume, and the network and patches that it is predicted with.

    Attributes:
        preset: ``brain`` or ``pelvis``.
        width: Of the generator.
        patch: Its patches.
        executor: creps' network.
        mr: (D, H, W) in network units.
        body: (D, H, W) body mask.
        spacing_mm: Voxel spacing (D, H, W).
    """

    preset: str
    width: int
    patch: list[int]
    executor: Executor
    mr: Array
    body: Mask
    spacing_mm: tuple[float, float, float]

    def of_body(self) -> Scene:
        """The box around the body."""
        box = crop_box(self.body, self.spacing_mm, MARGIN_MM)
        return replace(self, mr=np.ascontiguousarray(self.mr[box]), body=np.ascontiguousarray(self.body[box]))

    def settings(self, fusion: str, extent: str) -> Settings:
        """Of the preset, with this width and these patches."""
        return settings(self.preset, self.width, self.patch, fusion=fusion, extent=extent)

    def loops(self, own: dict[str, Settings]) -> tuple[dict[str, Loop], dict[str, Layout]]:
        """The loops of creps and their layouts, by row."""
        layouts = {
            name: lay_out(
                self.mr.shape, self.spacing_mm, self.body, one.sampling.patch_size, self.executor, one.inference
            )
            for name, one in own.items()
        }
        loops: dict[str, Loop] = {
            name: lambda name=name, one=one: predict(self.executor, self.mr, layouts[name], one.inference)[0]
            for name, one in own.items()
        }
        return loops, layouts


def measured(preset: str, scale: int, width: int, rounds: int) -> dict[str, Any]:
    """Both tables of a preset, and what leaving patches out brings beside them."""
    patch = [n // scale for n in load_settings(preset).sampling.patch_size]
    prepared = prepare_mr(mr_volume(preset), load_settings(preset).preparation, preset)
    every = slice(None, None, scale)
    mr = np.ascontiguousarray(prepared.array[every, every, every])
    body = np.ascontiguousarray(prepared.body[every, every, every])
    d, h, w = (scale * step for step in prepared.grid.spacing_mm)
    whole = Scene(preset, width, patch, Executor(generator(width)), mr, body, (d, h, w))
    check(mr, patch)
    return {
        "patch": patch,
        "precision": whole.executor.precision,
        "tables": {"whole volume": table(whole, rounds), "body": table(whole.of_body(), rounds)},
        "patches_left_out": fewer_patches(whole, rounds),
    }


def table(scene: Scene, rounds: int) -> dict[str, Any]:
    """Rows that all predict every voxel of one volume."""
    runs, layouts = scene.loops({name: scene.settings(fusion, "volume") for name, fusion in WAYS.items()})
    others, networks = peers(scene.width, scene.mr, scene.patch, scene.executor)
    for run in {**runs, **others}.values():  # warms up; the peers' networks count
        run()
    counts = {name: (network.forwards, network.voxels) for name, network in networks.items()}
    counts |= {name: (layout.record()["count"], layout.record()["voxels"]) for name, layout in layouts.items()}
    forwards = {BARE: bare(scene.executor, scene.mr, layouts[BASE])}
    rows = medians({**runs, **others, **forwards}, rounds, reference=BASE, warm_up=False, against=tuple(WAYS))
    for name, (passes, voxels) in counts.items():
        rows[name] |= {"forwards": passes, "voxels": voxels, "voxels_per_voxel": round(voxels / scene.mr.size, 2)}
    return {"shape": list(scene.mr.shape), "rows": rows, "ratios": ratios(rows)}


def ratios(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Seconds of the fastest peer, at its defaults and at creps' precision and layout, over those of creps' ways."""
    found = {}
    for kind in FORMATS:
        for way in WAYS:
            times = [row["times"][way] for name, row in rows.items() if name.endswith(f", {kind}")]
            found[f"fastest peer ({kind}) over {way}"] = min(times)
    found[f"{BASE} over {BARE}"] = round(1 / rows[BARE]["times_reference"], 3)
    return found


def fewer_patches(scene: Scene, rounds: int) -> dict[str, Any]:
    """What `extent: body` brings: creps against itself."""
    extents = ("volume", "body")
    own = {f"{name}, {one}": scene.settings(fusion, one) for name, fusion in WAYS.items() for one in extents}
    runs, layouts = scene.loops(own)
    rows = medians(runs, rounds, reference=f"{BASE}, volume")
    return {name: row | {"forwards": layouts[name].record()["count"]} for name, row in rows.items()}


class Pointwise(Generator):
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
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    found = measured(chosen.preset, chosen.scale, chosen.width, chosen.rounds)
    for title, one in found["tables"].items():
        print(f"{title}, {' x '.join(map(str, one['shape']))}")
        for name, row in one["rows"].items():
            passes = f"{row.get('forwards', ''):>5} forwards{row.get('voxels_per_voxel', '')!s:>7} voxels each"
            print(f"  {name:34s}{row['seconds']:8.2f} s{row['times_reference']:8.3f} x {passes}")
        for name, ratio in one["ratios"].items():
            print(f"  {name:54s}{ratio:8.2f}")
    given = {"preset": chosen.preset, "scale": chosen.scale, "width": chosen.width}
    save(f"peers-{chosen.preset}", **given, **found)


if __name__ == "__main__":
    main()
