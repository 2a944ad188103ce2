"""How long a step of each arm takes, so that equal wall time can be counted in steps.

    python -m benchmarks.accuracy.pace COHORT WORK

The arms take turns (a few steps each, several rounds, medians), one core, real patches of the prepared cohort. On a
machine with other work the ratios between arms still hold: all of them are slowed alike. CPU seconds are recorded,
not seconds of the clock. With `--arms` the others keep what was measured before.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.data import default_collate

from benchmarks.accuracy.options import parser, plan_of
from benchmarks.accuracy.plan import Plan
from benchmarks.common.machine import processor
from creps.io.atomic import write_json
from creps.provenance import provenance
from creps.training.build import build_networks, build_style
from creps.training.processes import start_processes
from creps.training.sampling import PatchPairs, PatchSampler
from creps.training.simulation import simulated_pairs
from creps.training.step import TrainingStep


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--steps", type=int, default=3, help="of a round")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    plan = plan_of(chosen)
    arms = plan.arms(chosen.arms)
    steppers = {arm: stepper(plan, arm) for arm in arms}
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    for arm, take_steps in steppers.items():
        settings = plan.settings(arm)
        take_steps(2 + (settings.creps.balance_steps if settings.creps.weight > 0 else 0))  # balancing costs extra
    for _ in range(chosen.rounds):
        for arm, take_steps in steppers.items():
            started = time.process_time()
            take_steps(chosen.steps)
            seconds[arm].append((time.process_time() - started) / chosen.steps)
    pace = {arm: statistics.median(values) for arm, values in seconds.items()}
    machine = {"machine": processor(), "threads": 1}
    file = plan.work / "pace.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    known = {key: {**before.get(key, {}), **new} for key, new in (("core_seconds_per_step", pace), ("rounds", seconds))}
    write_json(file, {**provenance(), **machine, **known})
    for arm, value in pace.items():
        print(f"{arm:<16}{value:8.3f} s of one core a step")


def stepper(plan: Plan, arm: str) -> Callable[[int], None]:
    """Takes a number of steps of an arm, reading included."""
    settings, cohort = plan.settings(arm), plan.prepared(arm)
    processes = start_processes(settings.training)
    style = build_style(settings)
    networks = build_networks(processes, settings, style)
    step = TrainingStep(processes, networks, style, settings)
    size = settings.training.batch_size
    sampler = PatchSampler(
        cohort.cases("mr", "train"), cohort.cases("ct", "train"), settings.sampling, settings.training.seed, size
    )
    patches = PatchPairs(cohort, sampler, 1_000_000, simulated_pairs(settings))
    done = 0

    def take_steps(count: int) -> None:
        nonlocal done
        for _ in range(count):
            batch = default_collate([patches[done * size + place] for place in range(size)])
            mr, ct = (batch[name].contiguous(memory_format=torch.channels_last_3d) for name in ("mr", "ct"))
            done += 1
            simulated = (batch["simulated_mr"], batch["simulated_ct"]) if "simulated_mr" in batch else None
            step(mr, ct, done, simulated)

    return take_steps


if __name__ == "__main__":
    main()
