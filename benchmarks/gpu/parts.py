"""The parts of each job: in which order, how long each may take, what each needs."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.gpu.sizes import Sizes

__all__ = ["JOBS", "PHANTOMS", "Part", "parts_of", "wave_of"]


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Its name in the results.
        seconds: After which it is stopped; None: whatever is not reserved for later parts.
        reserved: Seconds that no earlier part may take.
        needs: Groups of phantoms that must have been grown before it starts.
        later: Groups that it waits for itself.
        after: A part whose results it works on.
        least: With fewer seconds it is left out.
    """

    name: str
    seconds: float | None
    reserved: float = 0.0
    needs: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    after: str | None = None
    least: float = 1.0


PHANTOMS = Part("phantoms", 400)
"""Runs beside the others, on the CPU, from the first second."""

JOBS = ("models", "tables")


def parts_of(job: str, sizes: Sizes) -> tuple[Part, ...]:
    """The parts of a job, the most valuable first; those before them take the seconds in which phantoms grow."""
    return model_parts(sizes) if job == "models" else table_parts(sizes)


def model_parts(sizes: Sizes) -> tuple[Part, ...]:
    """Train the models that are worth shipping, score them, then measure what time is left for."""
    regions = sizes.model_regions
    taught = tuple(f"{kind}-{region}" for kind in ("teachers", "site") for region in regions)
    scored = tuple(f"{kind}-{region}" for kind in ("held", "unseen") for region in regions)
    return (
        Part("peak", 30, 10),
        Part("limits", 35, 0),
        Part("models", None, 0, taught),
        Part("score", 60, 45, scored, after="models"),
        Part("paper-brain", 60, 30, ("paper-brain",)),
        Part("paper-pelvis", 50, 20, ("paper-pelvis",)),
        Part("sct", 30, 15, ("sct",)),
        Part("compile", 60, 0, least=20),
        Part("monai", 25, 0, ("sct",), least=10),
    )


def table_parts(sizes: Sizes) -> tuple[Part, ...]:
    """All arms of a region and a seed at the same time, region after region, then the next seed."""
    waves = [(region, seed) for seed in sizes.table_seeds for region in sizes.table_regions]
    seconds = sizes.table_seconds
    return (
        Part("peak", 30, 10),
        *(
            Part(
                f"table-{region}-{seed}",
                seconds,
                0,
                (f"family-{region}", f"teachers-{region}-{seed}"),
                (f"unseen-{region}",),
                least=0.8 * seconds,
            )
            for region, seed in waves
        ),
    )


def wave_of(name: str) -> tuple[str, int]:
    """Region and seed of ``head-0``."""
    region, seed = name.rsplit("-", 1)
    return region, int(seed)
