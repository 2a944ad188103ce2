"""A SLURM of one node: munged, slurmctld and slurmd on the loopback, with a configuration and ports of their own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

CONFIGURATION = """
ClusterName=creps
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
MpiDefault=none
ReturnToService=2
KillWait=2
MinJobAge=300
DisableRootJobs=NO
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def slurm_node(cpus: int = 2) -> Iterator[Path]:
    """Start the three daemons; yield the configuration file, which ``SLURM_CONF`` names to SLURM's commands."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # the path of munge's socket has to be short
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for name in ("state", "spool"):
            (folder / name).mkdir()
        controller, node = free_ports(2)
        configuration = folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(controller=controller, node=node, folder=folder, cpus=cpus))
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        own = [f"--{what}={folder}/munge.{what.split('-')[0]}" for what in ("key-file", "socket", "pid-file")]
        own += [f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munge.log"]
        daemons.append(_started(["munged", "--foreground", "--force", *own], folder))
        _wait(lambda: (folder / "munge.socket").exists(), daemons, folder)
        environment = {"SLURM_CONF": str(configuration)}
        daemons.append(_started(["slurmctld", "-D", "-f", str(configuration)], folder, environment))
        daemons.append(_started(["slurmd", "-D", "-N", "localhost", "-f", str(configuration)], folder, environment))
        _wait(lambda: "idle" in _said(["sinfo", "--noheader", "--format=%T"], environment), daemons, folder)
        try:
            yield configuration
        finally:
            _end_jobs(environment)
    finally:
        for daemon in reversed(daemons):
            _stop(daemon)
        shutil.rmtree(folder, ignore_errors=True)


def _started(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    program = shutil.which(command[0]) or command[0]
    with (folder / f"{command[0]}.out").open("wb") as out:
        return subprocess.Popen(
            [program, *command[1:]],
            stdout=out,
            stderr=out,
            env=os.environ | (environment or {}),
            start_new_session=True,
        )


def _end_jobs(environment: dict[str, str]) -> None:
    """End what a failed test has left: the process of a job's step outlives the daemons."""
    _said(["scancel", "--me"], environment)
    for _ in range(100):
        if not _said(["squeue", "--noheader"], environment).strip():
            return
        time.sleep(0.1)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    """End a daemon, and whatever of its process group is left after ten seconds."""
    daemon.terminate()
    with suppress(subprocess.TimeoutExpired):
        daemon.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(daemon.pid, signal.SIGKILL)
    daemon.wait()


def _said(command: list[str], environment: dict[str, str]) -> str:
    run = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=20, check=False)
    return run.stdout


def _wait(ready, daemons: list[subprocess.Popen[bytes]], folder: Path) -> None:
    for _ in range(300):
        if ready():
            return
        if any(daemon.poll() is not None for daemon in daemons):
            break
        time.sleep(0.1)
    logs = "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in sorted(folder.glob("*.out")))
    raise RuntimeError(f"SLURM does not start.\n{logs}")
