"""Kill a node at random moments; nothing may be lost, nothing sent twice.

    python -m benchmarks.service.kills --kills 30 --seed 0

A modality sends series after series to a node (a process of its own) and, as modalities do, sends again what was not
acknowledged. The node is killed (SIGKILL) after a random time, whatever it does: starting, receiving, synthesizing,
writing, sending; then it is started again. In the end the archive must have each sCT once, with all its slices.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from pydicom import dcmread
from pydicom.uid import MRImageStorage
from pynetdicom import AE

from benchmarks.common.machine import machine
from benchmarks.service.archive import Archive
from creps.service.overview import overview
from creps.service.state import STATE

__all__ = ["campaign", "free_port", "main", "send", "start_node", "write_settings"]

RESULTS = Path(__file__).with_name("results") / "kills.json"
SLACK = 1.5
"""A node is killed within this many times what the first series took, which no kill disturbs; more rarely a node that
was restarted finishes nothing, and after its tenth stop in the middle of one series it parks that."""


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def write_settings(path: Path, model: Path, port: int, archive: int | None, **changes: Any) -> None:
    """The settings file of a node that sends whatever the checks say."""
    content: dict[str, Any] = {
        "rules": [{"name": "all", "model": str(model), "on_qa_fail": "send"}],
        "settle_seconds": 0.5,
        "node": {"port": port},
        "limits": {"free_gb": 0.1},
        **changes,
    }
    if archive is not None:
        there = {"name": "archive", "host": "127.0.0.1", "port": archive, "ae_title": "ARCHIVE"}
        content["destinations"] = [there]
    path.write_text(yaml.safe_dump(content))


def start_node(folder: Path, settings: Path) -> subprocess.Popen[bytes]:
    """A node as a process of its own; its log is appended to FOLDER.log."""
    command = [sys.executable, "-m", "creps", "node", str(folder), "-s", str(settings)]
    with folder.with_name(f"{folder.name}.log").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def send(port: int, files: list[Path]) -> set[Path]:
    """C-STORE files; those that were acknowledged."""
    if not _listens(port):
        return set()
    entity = AE("SCANNER")
    entity.add_requested_context(MRImageStorage)
    entity.connection_timeout = entity.dimse_timeout = entity.acse_timeout = 10
    link = entity.associate("127.0.0.1", port, ae_title="CREPS")
    taken = set()
    for path in files:
        if not link.is_established:
            break
        try:
            if getattr(link.send_c_store(dcmread(path)), "Status", None) == 0:
                taken.add(path)
        except (RuntimeError, ValueError, OSError):
            break
    if link.is_established:
        link.release()
    return taken


class _Modality(threading.Thread):
    """Sends every series until all of it is acknowledged."""

    def __init__(self, port: int, series: list[list[Path]], pause: float) -> None:
        super().__init__(daemon=True)
        self.port, self.series, self.pause = port, series, pause
        self.sent = 0

    def run(self) -> None:
        """Series after series, with a pause between them."""
        for files in self.series:
            left = set(files)
            while left:
                left -= send(self.port, sorted(left))
                time.sleep(0.3)
            self.sent += 1
            time.sleep(self.pause)


def campaign(folder: Path, series: list[Path], model: Path, *, kills: int, seed: int) -> dict[str, Any]:
    """Kill a node that receives all series.

    Args:
        folder: Where it works.
        series: Folders of MRs, one series each.
        model: The model.
        kills: How often it is killed.
        seed: Of the moments.

    Returns:
        What arrived, with `lost` and `twice`, both 0 if all is well.
    """
    moments = random.Random(seed)
    port, archive = free_port(), Archive(free_port())
    node, settings = folder / "node", folder / "node.yaml"
    write_settings(settings, model, port, archive.port)
    doing: Counter[str] = Counter()
    process = start_node(node, settings)
    _until(lambda: _listens(port), 60)
    files = [sorted(one.glob("*.dcm")) for one in series]
    began = time.monotonic()
    send(port, files[0])
    _until(lambda: _finished(node, 1), 120)
    seconds = SLACK * (time.monotonic() - began)
    modality = _Modality(port, files[1:], seconds / 2)
    modality.start()
    try:
        for _ in range(kills):
            _until(lambda: _listens(port), 60)
            time.sleep(moments.uniform(0, seconds))
            doing[_doing(node, port)] += 1
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            process = start_node(node, settings)
        _until(lambda: modality.sent == len(series) - 1 and _finished(node, len(series)), 60 * len(series))
    finally:
        process.terminate()
        process.wait(60)
        archive.stop()
    made = {"kills": kills, "seed": seed, "within_seconds": round(seconds, 1), "killed_while": dict(doing)}
    return _told(archive, node, series) | made


def _told(archive: Archive, node: Path, series: list[Path]) -> dict[str, Any]:
    slices = Counter(uid for kind, uid in archive.series.values() if kind == "CT")
    expected = sorted(len(list(one.glob("*.dcm"))) for one in series)
    objects = Counter(kind for kind, _ in archive.series.values())
    return {
        "series": len(series),
        "lost": int(sorted(slices.values()) != expected) + abs(objects["RTSTRUCT"] - len(series)),
        "twice": sum(count - 1 for count in archive.arrived.values()),
        "objects": dict(objects),
        "jobs": dict(Counter(job.state for job in overview(node).jobs)),
        "litter": [str(one.relative_to(node)) for one in node.rglob(".*") if one.name != f".{STATE}.lock"],
    }


def _doing(node: Path, port: int) -> str:
    """What the node is busy with, roughly."""
    if not _listens(port):
        return "starting"
    states = {job.state for job in overview(node).jobs} if (node / STATE).is_file() else set()
    if "working" in states and _sends(node):
        return "synthesizing and sending"
    for state, word in (("working", "synthesizing"), ("made", "sending"), ("ready", "about to synthesize")):
        if state in states:
            return word
    return "receiving or idle"


def _sends(node: Path) -> bool:
    return any(one.state == "waiting" for one in overview(node).deliveries)


def _finished(node: Path, count: int) -> bool:
    jobs = overview(node).jobs if (node / STATE).is_file() else ()
    return len(jobs) >= count and all(job.state in ("done", "parked") for job in jobs)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the node did not finish in time")
        time.sleep(0.1)


def main() -> None:
    """Run it and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--series", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    from tests.dicom_cases import mr_series
    from tests.service.running import tiny_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = [mr_series(folder / f"mr{i}", seed=i, patient=f"P{i}") for i in range(options.series)]
        result = campaign(folder, series, tiny_model(folder / "model"), kills=options.kills, seed=options.seed)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps({**result, "machine": machine()}, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    raise SystemExit(bool(result["lost"] or result["twice"] or result["litter"]))


if __name__ == "__main__":
    main()
