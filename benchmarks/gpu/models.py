"""Train the models that are worth shipping: the default recipe, taught by phantoms alone, one for each region.

They share the GPU and the cores, all the time. The cores are what is short: a pair takes .3 s of one, so fourteen
readers make about 45 pairs a second, whichever run they are for. One run after the other would give each all
readers for half of the time, which is the same number of pairs, but would need twice as many steps a second of one
process, pay for start-up and validation while nothing else runs, and lose everything of the second run if the time is
cut short. Where the GPU has room beyond the new pairs, both runs use pairs again (`benchmarks.gpu.feed`).
"""

from __future__ import annotations

from benchmarks.gpu.job import Job, PartError
from benchmarks.gpu.settings import model_settings
from benchmarks.gpu.together import KILLED_SECONDS, SAVING_SECONDS, Arm, train_together

__all__ = ["train_models"]


def train_models(job: Job) -> None:
    """Train all of them for the time that there is; what comes back is packed on the way and at the end."""
    sizes = job.sizes
    arms = [
        Arm(
            region,
            job.work / "cohorts" / f"site-{region}",
            job.work / "runs" / region,
            model_settings(sizes, region),
            sizes.reuse,
            job.work / "people",
        )
        for region in sizes.model_regions
    ]
    left = job.seconds_left() - SAVING_SECONDS - KILLED_SECONDS - 4
    found = train_together(job, arms, min(left, sizes.model_seconds or left), sizes.model_steps, job.out)
    broken = next((f"{name}: {one['error']}" for name, one in found.items() if "error" in one), None)
    if broken is not None:
        raise PartError(broken)
