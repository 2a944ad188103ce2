"""Which engine: a plain loop, Lightning Fabric or the Lightning Trainer, around the same two updates.

creps uses the plain loop, with torch.distributed for several processes: Lightning was not faster and takes seconds to
import. It is no dependency any more: `pip install lightning` to repeat this.

Runs `STEPS` steps of a small generator and discriminator under each, in turns, `ROUNDS` times, and
writes medians and ratios to ``results.json`` beside this file::

    python benchmarks/engine/engine.py
"""

from __future__ import annotations

import json
import logging
import platform
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import nn

from creps.losses.adversarial import real_or_fake
from creps.networks.discriminator import PatchDiscriminator
from creps.networks.residual import ResidualGenerator
from creps.provenance import provenance

STEPS, ROUNDS, SIZE = 30, 5, 24


def networks():
    torch.manual_seed(0)
    generator, discriminator = ResidualGenerator(4, 1), PatchDiscriminator((4, 4, 4, 4))
    return (
        generator,
        discriminator,
        torch.optim.AdamW(generator.parameters()),
        torch.optim.AdamW(discriminator.parameters()),
    )


def update(generator, discriminator, g_optimizer, d_optimizer, backward, mr, ct):
    sct = generator(mr)
    d_optimizer.zero_grad()
    backward(real_or_fake(discriminator(ct), True, "bce") + real_or_fake(discriminator(sct.detach()), False, "bce"))
    d_optimizer.step()
    g_optimizer.zero_grad()
    backward(real_or_fake(discriminator(sct), True, "bce"))
    g_optimizer.step()


def batches():
    torch.manual_seed(1)
    return [(torch.rand(2, 1, SIZE, SIZE, SIZE), torch.rand(2, 1, SIZE, SIZE, SIZE)) for _ in range(STEPS)]


def plain(data):
    g, d, og, od = networks()
    for mr, ct in data:
        update(g, d, og, od, lambda loss: loss.backward(), mr, ct)


def fabric(data):
    from lightning.fabric import Fabric

    engine = Fabric(accelerator="cpu", devices=1)
    g, d, og, od = networks()
    (g, og), (d, od) = engine.setup(g, og), engine.setup(d, od)
    for mr, ct in data:
        update(g, d, og, od, engine.backward, mr, ct)


def trainer(data):
    import lightning

    class Gan(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.generator, self.discriminator, *self.both = networks()

        def configure_optimizers(self):
            return self.both

        def training_step(self, batch, _):
            update(self.generator, self.discriminator, *self.optimizers(), self.manual_backward, *batch)

    engine = lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    engine.fit(Gan(), torch.utils.data.DataLoader(data, batch_size=None))


def import_seconds(module: str) -> float:
    code = f"import time, torch; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    engines, data = {"plain": plain, "fabric": fabric, "trainer": trainer}, batches()
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(ROUNDS + 1):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine(data)
            if turn:  # the first round warms up
                seconds[name].append((time.perf_counter() - started) / STEPS)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    results = {
        **provenance(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "median_milliseconds_per_step": {name: round(1000 * value, 2) for name, value in medians.items()},
        "ratio_to_plain": {name: round(value / medians["plain"], 3) for name, value in medians.items()},
        "import_seconds_after_torch": {m: round(import_seconds(m), 2) for m in ("lightning.fabric", "lightning")},
        "parameters": sum(p.numel() for p in nn.ModuleList(networks()[:2]).parameters()),
    }
    Path(__file__).with_name("results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
