"""Jobs of SLURM: submit them through submitit, ask what became of them, cancel them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from creps.cluster.options import SlurmOptions
from creps.errors import ClusterError
from creps.parallel import THREADS

__all__ = ["OVER", "Queue", "check_slurm"]

OVER = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT", "GONE"),
}
"""States of jobs that do not run any more; ``GONE`` is what SLURM has forgotten."""

PROGRAMS = ("sbatch", "srun", "squeue", "scancel")

ANSWER_SECONDS = 60
"""How long SLURM may take to answer."""


def check_slurm() -> None:
    """Refuse to start where jobs cannot be submitted.

    Raises:
        ClusterError: submitit or a program of SLURM is missing.
    """
    if find_spec("submitit") is None:
        raise ClusterError("--slurm needs the package submitit.", "Install it: pip install 'creps[cluster]'.")
    for program in PROGRAMS:
        if shutil.which(program) is None:
            raise ClusterError(
                f"--slurm needs SLURM, but there is no program {program}.", "Run creps on a login node of the cluster."
            )


class Queue:
    """Submits jobs that all ask for the same, and knows their states.

    Args:
        options: What each job asks for.
        folder: Where submitit writes logs and pickles.
        name: Name of the jobs.
    """

    def __init__(self, options: SlurmOptions, folder: Path, name: str) -> None:
        self.options, self.folder, self.name = options, folder, name

    def submit(self, function: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> list[str]:
        """Submit a job for each tuple of arguments, several as one array; return their ids.

        Raises:
            ClusterError: SLURM refuses them.
        """
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError

        executor = SlurmExecutor(self.folder)
        executor.update_parameters(**self._parameters())
        complaint = io.StringIO()
        try:
            with _outside_a_job(), redirect_stderr(complaint):  # submitit prints what the exception says as well
                jobs = executor.map_array(function, *zip(*arguments, strict=True))
        except (FailedJobError, subprocess.SubprocessError, OSError) as error:
            raise ClusterError(
                f"SLURM refuses the jobs: {_last_line(str(error) or complaint.getvalue())}.",
                "Check partition, account and limits in the options of --slurm.",
            ) from error
        return [job.job_id for job in jobs]

    def states(self, jobs: Collection[str]) -> dict[str, str] | None:
        """The state of each job, such as RUNNING or ``PENDING (Resources)``; None if SLURM does not answer now."""
        if not jobs:
            return {}
        numbers = ",".join(sorted({job.partition("_")[0] for job in jobs}))
        command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%j|%r", f"--jobs={numbers}"]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if run.returncode and "Invalid job id" not in run.stderr:
            return None
        found = {}
        for line in run.stdout.splitlines():
            job, state, name, reason = (part.strip() for part in line.split("|", 3))
            if name == self.name:  # SLURM may have given the number of a former job to another
                found[job] = f"{state} ({reason})" if state == "PENDING" and reason not in ("None", "") else state
        return {job: found.get(job, "GONE") for job in jobs}

    def cancel(self, jobs: Collection[str], seconds: float = 60.0) -> bool:
        """Cancel jobs and wait until they have ended; return whether they have."""
        states = self.states(jobs)
        running = jobs if states is None else [job for job, state in states.items() if state not in OVER]
        if not running:
            return True
        with suppress(OSError, subprocess.TimeoutExpired):
            command = ["scancel", *sorted(running)]
            subprocess.run(command, capture_output=True, timeout=ANSWER_SECONDS, check=False)
        return self.wait(jobs, seconds)

    def wait(self, jobs: Collection[str], seconds: float) -> bool:
        """Wait until jobs have ended; return whether they have."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            states = self.states(jobs)
            if states is not None and all(state in OVER for state in states.values()):
                return True
            time.sleep(0.5)
        return False

    def _parameters(self) -> dict[str, Any]:
        """The options under submitit's names."""
        asked = self.options
        threads = [f"export {name}={asked.cpus}" for name in THREADS]
        extra = {name: True if value in (True, "true", "") else value for name, value in asked.sbatch.items()}
        parameters = {
            "job_name": self.name,
            "partition": asked.partition,
            "account": asked.account,
            "qos": asked.qos,
            "time": asked.time,
            "mem": asked.memory,
            "cpus_per_task": asked.cpus,
            "gpus_per_node": asked.gpus or None,
            "array_parallelism": asked.at_once or asked.shards,
            "setup": [*asked.setup, *threads],
            "additional_parameters": extra or None,
            "wckey": None,  # submitit's own would be refused by clusters that check it
            "use_srun": False,  # since SLURM 22.05 a step would get one core, not those of the job
        }
        return {name: value for name, value in parameters.items() if value is not None or name == "wckey"}


@contextmanager
def _outside_a_job() -> Iterator[None]:
    """Hide from sbatch what this process inherited if it is itself in a job; SLURM's configuration stays."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    from submitit.helpers import clean_env

    configuration = os.environ.get("SLURM_CONF")
    with clean_env():
        if configuration is not None:
            os.environ["SLURM_CONF"] = configuration
        yield


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: error: ").rstrip(".") if lines else "it gives no reason"
