"""Delete what a service keeps no longer: received images, results that were sent, folders that a crash left."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from creps.service.disk import DAY_SECONDS
from creps.service.node.filing import RECEIVED
from creps.service.results import remove_result
from creps.service.settings import Keep
from creps.service.state import Job, State

__all__ = ["delete_old", "delete_unknown"]

ENDED = ("done", "parked", "held")


def delete_old(state: State, folder: Path, results: Path, keep: Keep, now: float | None = None) -> tuple[int, int]:
    """Delete received series and results whose time is over.

    Args:
        state: What became of them.
        folder: Of the service.
        results: Folder of the sCTs.
        keep: How long they stay.
        now: Wall clock; default: now. A clock that was set back only delays.

    Returns:
        How many received series, and how many results were deleted.
    """
    now = time.time() if now is None else now
    series = _old_series(state, folder, keep.received_days, now)
    for one in series:
        state.forget_images(one)  # first: a file without its row is deleted at the next start, not the other way round
        shutil.rmtree(folder / RECEIVED / one, ignore_errors=True)
    if keep.results_days is None:
        return len(series), 0
    old = [job for job in state.jobs("done") if job.target and _is_old(job, keep.results_days, now)]
    for job in old:
        state.forget_result(job.id)  # not the job: as long as its images are here, they would be done again
        remove_result(results / job.target)
    return len(series), len(old)


def _old_series(state: State, folder: Path, days: float, now: float) -> list[str]:
    """Series of which every job ended that long ago."""
    found = []
    for place in _folders(folder / RECEIVED):
        jobs = state.jobs_of(place.name)
        late = now - state.last_received(place.name) < days * DAY_SECONDS  # images of an old series that arrive now
        if jobs and not late and all(job.state in ENDED and _is_old(job, days, now) for job in jobs):
            found.append(place.name)
    return found


def _is_old(job: Job, days: float, now: float) -> bool:
    return now - job.changed >= days * DAY_SECONDS


def delete_unknown(state: State, folder: Path) -> int:
    """Delete received files that were never acknowledged: their senders send them again.

    Returns:
        How many.
    """
    count = 0
    for place in _folders(folder / RECEIVED):
        known = {f"{image}.dcm" for image in state.images_of(place.name)}
        for file in place.iterdir():
            if file.name not in known:
                file.unlink(missing_ok=True)
                count += 1
    return count


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
