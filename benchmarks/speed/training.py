"""A training step: its parts, creps against plain float32, and what each measure brings.

::

    python -m benchmarks.speed.training [--patch 24 168 168] [--rounds 3] [--float32]

Paper recipe, one patch of the brain preset's slices (24 of its 66 by default; the shares hardly depend on how many),
ConvNeXt-Tiny with random weights, random patches, no data loading. Writes ``results/training.json``, or with
``--float32`` (for a CPU without bfloat16 units, or for one made to pretend so by ``ONEDNN_MAX_CPU_ISA=AVX2``)
``results/training-float32.json`` without the rows in bfloat16.

**Plain** is what one writes first: float32, PyTorch's default memory format, every slice through ConvNeXt in a call of
its own, AdamW as it comes. It is no straw man: its perceptual network is frozen and ends at the last layer used, and
the sCT is computed once for both updates; what it would take without those two is measured beside it. A graph on the
CT's side cannot be saved, since a frozen network on a CT has none. Each rung of the ladder adds one measure to the one
before; ``creps`` is `TrainingStep` itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from benchmarks.common.memory import Peak
from benchmarks.common.timing import timed
from benchmarks.speed.plain_step import Measures, Reference, autocast, settings
from benchmarks.speed.results import save
from creps.losses import creps as creps_loss
from creps.machine import resolve_precision
from creps.settings import Settings
from creps.training.build import build_networks, build_style
from creps.training.processes import start_processes
from creps.training.step import TrainingStep

CPU = torch.device("cpu")


def patches(patch: list[int]) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.rand(1, 1, *patch) * 2, torch.rand(1, 1, *patch) * 4 - 1, torch.rand(1, 1, *patch) * 2]


def shipped(chosen: Settings) -> TrainingStep:
    processes, style = start_processes(chosen.training), build_style(chosen)
    return TrainingStep(processes, build_networks(processes, chosen, style), style, chosen)


def ladder(patch: list[int], low: str, recipe: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Rung → seconds, and how many times as fast as plain and as the rung before."""
    plain = Measures()
    rungs = {"plain": plain}
    if recipe == "paper":
        rungs = {
            "plain, ConvNeXt to its end": replace(plain, whole_network=True),
            "plain, sCT computed twice": replace(plain, twice=True),
        } | rungs
        rungs["+ slices in one call"] = plain = replace(plain, batched=True)
    rungs["+ channels last"] = plain = replace(plain, channels_last=True)
    if low == "bf16":
        rungs["+ bfloat16"] = plain = replace(plain, precision="bf16")
    if recipe == "paper":
        rungs["+ slices in turn, gradient with the value"] = plain = replace(plain, in_turn=True)
    rungs["(+ fused AdamW: not taken)"] = replace(plain, fused=True)
    if recipe == "paper" and low == "bf16":
        rungs["(+ discriminator in bfloat16: not taken)"] = replace(plain, discriminator="bf16")
    given = patches(patch)
    runs: dict[str, Callable[..., object]] = {
        name: Reference(settings(patch, low, recipe), measures) for name, measures in rungs.items()
    }
    for precision in dict.fromkeys((low, "fp32")):
        step = shipped(settings(patch, precision, recipe))
        runs["creps" if precision == low else "creps, float32"] = lambda mr, ct, sim, step=step: step(mr, ct, 1, sim)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):  # the first warms up
        for name, run in runs.items():
            seconds[name].append(timed(lambda run=run: run(*given)))
        print(f"  {recipe}: round {number} of {rounds}", flush=True)
    return summary({name: own[1:] for name, own in seconds.items()}, list(rungs))


def summary(seconds: dict[str, list[float]], rungs: list[str]) -> dict[str, dict[str, Any]]:
    rows, before = {}, "plain"
    for name, own in seconds.items():
        row = {"seconds": round(statistics.median(own), 3), "least": round(min(own), 3), "most": round(max(own), 3)}
        row["times_plain"] = ratio(seconds["plain"], own)
        if name in rungs and name.startswith(("+", "(")):
            row["times_the_rung_before"] = ratio(seconds[before], own)
            before = name if name.startswith("+") else before
        rows[name] = row
        before_it = row.get("times_the_rung_before", "")
        print(f"  {name:45s} {row['seconds']:8.3f} s  {row['times_plain']:5.2f} x plain  {before_it}")
    return rows


def ratio(slow: list[float], fast: list[float]) -> float:
    """Of times within a round, their median: what slows a whole round down cancels."""
    return round(statistics.median(a / b for a, b in zip(slow, fast, strict=True)), 2)


class Clock:
    """Seconds by part; what runs inside another part is taken off that one, so that they add up."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What runs while this is open is called so."""
        self._tick()
        self.open.append(name)
        try:
            yield
        finally:
            self._tick()
            self.open.pop()

    def _tick(self) -> None:
        now = time.perf_counter()
        if self.open:
            self.seconds[self.open[-1]] = self.seconds.get(self.open[-1], 0.0) + now - self.last
        self.last = now

    def wrap(self, owner: object, attribute: str, name: Callable[[], str]) -> None:
        """Put the calls of a function under a name."""
        original = getattr(owner, attribute)

        def measured(*arguments: Any, **options: Any) -> Any:
            with self.part(name()):
                return original(*arguments, **options)

        setattr(owner, attribute, measured)


def split(patch: list[int], precision: str, rounds: int) -> dict[str, Any]:
    """Part of a step → share of it."""
    step, clock, given = shipped(settings(patch, precision)), Clock(), patches(patch)
    backbone, update = step.style.backbone, "discriminator: its update"
    clock.wrap(step.passes, "generate", lambda: "generator: forward")
    clock.wrap(step, "_update_discriminators", lambda: update)
    clock.wrap(
        step.passes, "discriminate", lambda: update if update in clock.open else "discriminator: for the generator"
    )
    clock.wrap(step, "backward", lambda: update if update in clock.open else "backward: generator, discriminator")
    clock.wrap(backbone, "forward", lambda: f"perceptual: {'sCT' if torch.is_grad_enabled() else 'CT'} forward")
    originals = [(name, getattr(creps_loss, name)) for name in ("gram_matrix", "style_distance", "_gradient")]
    for name, _ in originals:
        clock.wrap(creps_loss, name, lambda name=name: f"perceptual: {'gradient' if name == '_gradient' else 'Grams'}")
    for optimizer in (step.networks.generator_optimizer, step.networks.discriminator_optimizer):
        for name in ("step", "zero_grad"):
            clock.wrap(optimizer, name, lambda: "optimizers")
    for number in range(rounds + 2):
        if number == 2:
            clock.seconds.clear()
        with clock.part("the rest"):
            step(given[0], given[1], 1)
    for name, original in originals:
        setattr(creps_loss, name, original)
    total = sum(clock.seconds.values())
    shares = {name: round(value / total, 3) for name, value in sorted(clock.seconds.items(), key=lambda i: -i[1])}
    print(f"  step: {total / rounds:.2f} s")
    for name, share in shares.items():
        print(f"  {name:40s} {share:6.1%}")
    return {"seconds": round(total / rounds, 3), "shares": shares}


def loss_alone(calls: str, patch: list[int], precision: str, rounds: int, results: Any) -> None:
    """Value and gradient of the style loss, in a process of its own, so that peaks do not mix."""
    measures = Measures(
        batched=calls == "in one call", channels_last=True, precision=precision, in_turn=calls == "in turn"
    )
    reference, given = Reference(settings(patch, precision), measures), patches(patch)
    sct = given[0].requires_grad_()

    def run() -> None:
        sct.grad = None
        with autocast(precision):
            value = reference.style(sct, given[1])[0] if measures.in_turn else reference._distance(sct, given[1])
        value.backward()

    with Peak() as peak:
        run()
    seconds = [timed(run) for _ in range(rounds)]
    results.put({"seconds": round(statistics.median(seconds), 3), "peak_gb": round(peak.grown / 1e9, 2)})


def losses_alone(patch: list[int], precision: str, rounds: int) -> dict[str, dict[str, float]]:
    context, rows = multiprocessing.get_context("spawn"), {}
    for calls in ("a call for each slice", "in one call", "in turn"):
        results = context.Queue()
        process = context.Process(target=loss_alone, args=(calls, patch, precision, rounds, results))
        process.start()
        rows[calls] = results.get()
        process.join()
        print(f"  {calls:25s} {rows[calls]['seconds']:7.2f} s  {rows[calls]['peak_gb']:5.2f} GB")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch", nargs=3, type=int, default=[24, 168, 168], metavar=("D", "H", "W"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--float32", action="store_true")
    options = parser.parse_args()
    low = "fp32" if options.float32 else resolve_precision("auto", CPU)
    found: dict[str, Any] = {"patch": options.patch, "batch": 1, "precision": low}
    print(f"Parts of a step as shipped ({low}, patch {options.patch})")
    found["parts"] = split(options.patch, low, options.rounds)
    print("The style loss alone, value and gradient")
    found["style_loss"] = losses_alone(options.patch, low, options.rounds)
    for recipe in ("paper", "anatomy"):
        print(f"Ladder, recipe {recipe}")
        found[recipe] = ladder(options.patch, low, recipe, options.rounds)
    save("training-float32" if options.float32 else "training", **found)


if __name__ == "__main__":
    main()
