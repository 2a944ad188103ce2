"""What `torch.compile` brings to a step of the paper's brain preset, and what it costs before the first one."""

from __future__ import annotations

import torch
from benchmarks.gpu.job import Job
from benchmarks.gpu.limits import Stepper
from benchmarks.gpu.peak import wall_seconds
from benchmarks.gpu.settings import paper_settings

__all__ = ["measure_compiled"]


def measure_compiled(job: Job) -> None:
    """Time the step as it is, then with generator, discriminator and perceptual network compiled."""
    rounds = job.sizes.step_rounds
    stepper = Stepper(paper_settings(job.sizes, "brain"))
    plain = stepper.seconds(rounds)
    job.note(backend=job.sizes.compile_backend, seconds_per_step=plain, state="compiling")
    networks, style = stepper.step.networks, stepper.step.style
    modules = [networks.generator, networks.discriminator, *([style.backbone] if style else [])]
    for module in modules:
        module.compile(backend=job.sizes.compile_backend)
    first = [wall_seconds(stepper) for _ in range(2)]
    job.note(first_steps_seconds=[round(one, 2) for one in first], state="compiled")
    compiled = stepper.seconds(rounds)
    job.note(
        compile_seconds=round(sum(first) - 2 * compiled, 2),
        seconds_per_step_compiled=compiled,
        times_as_fast=round(plain / compiled, 3),
        graphs=torch._dynamo.utils.counters["stats"].get("unique_graphs", 0),
        graph_breaks=sum(torch._dynamo.utils.counters["graph_break"].values()),
        state="done",
    )
