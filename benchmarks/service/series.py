"""Send many series in a row to a node and watch its memory.

    python -m benchmarks.service.series --series 200

Each series has other UIDs. The memory (unique set size) of the node and of its worker is read after each; what counts
is the growth from the first quarter to the last, in MB for 100 series.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from pydicom import dcmread
from pydicom.uid import generate_uid

from benchmarks.common.machine import machine
from benchmarks.service.archive import Archive
from benchmarks.service.kills import free_port, send, start_node, write_settings
from creps.service.overview import overview
from creps.service.state import STATE

__all__ = ["main"]

RESULTS = Path(__file__).with_name("results") / "series.json"
MB = 1e6


def again(source: Path, folder: Path, number: int) -> list[Path]:
    """A copy of a series under other UIDs."""
    folder.mkdir()
    for path in sorted(source.glob("*.dcm")):
        image = dcmread(path)
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
            setattr(image, name, generate_uid(entropy_srcs=[str(image[name].value), str(number)]))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.PatientID = f"P{number}"
        image.save_as(folder / path.name)
    return sorted(folder.glob("*.dcm"))


def memory_mb(process: psutil.Process) -> dict[str, float]:
    """Of the node, and of its worker."""
    found = {"node": process.memory_full_info().uss / MB}
    workers = [one for one in process.children() if "resource_tracker" not in " ".join(one.cmdline())]
    return found | {"worker": sum(one.memory_full_info().uss for one in workers) / MB}


def growth(values: list[float]) -> float:
    """From the median of the first quarter to that of the last, for 100 series; the first fifth warms up."""
    warm = values[len(values) // 5 :]
    quarter = max(1, len(warm) // 4)
    first, last = statistics.median(warm[:quarter]), statistics.median(warm[-quarter:])
    return 100 * (last - first) / (len(warm) - quarter)


def run(folder: Path, mr: Path, model: Path, count: int) -> dict[str, Any]:
    """Send `count` series, one after the other; each must be done before the next."""
    port, archive = free_port(), Archive(free_port())
    node, settings = folder / "node", folder / "node.yaml"
    write_settings(settings, model, port, archive.port)
    process = start_node(node, settings)
    watched = psutil.Process(process.pid)
    rows: list[dict[str, float]] = []
    began = time.monotonic()
    try:
        for number in range(1, count + 1):
            files = again(mr, folder / f"mr{number}", number)
            left = set(files)
            while left:
                left -= send(port, sorted(left))
                time.sleep(0.2)
            _wait_until_done(node, number)
            rows.append(memory_mb(watched))
    finally:
        process.terminate()
        process.wait(60)
        archive.stop()
    seconds = (time.monotonic() - began) / count
    told = {kind: [round(row[kind], 1) for row in rows] for kind in ("node", "worker")}
    return {
        "series": count,
        "seconds_for_each": round(seconds, 2),
        "images_at_the_archive": sum(archive.arrived.values()),
        "growth_mb_for_100_series": {kind: round(growth(values), 2) for kind, values in told.items()},
        "memory_mb": told,
    }


def _wait_until_done(node: Path, count: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        jobs = overview(node).jobs if (node / STATE).is_file() else ()
        if len(jobs) == count and all(job.state == "done" for job in jobs):
            return
        time.sleep(0.1)
    raise TimeoutError(f"series {count} was not done in time")


def main() -> None:
    """Run it and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=200)
    options = parser.parse_args()
    from tests.dicom_cases import mr_series
    from tests.service.running import tiny_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = run(folder, mr_series(folder / "mr"), tiny_model(folder / "model"), options.series)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**result, "machine": machine()}) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "memory_mb"}, indent=1))


if __name__ == "__main__":
    main()
