"""`--help`, `import creps` and a synthesis of two versions, timed in turn."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.compatibility.version import Version


def paced(versions: list[Version], folders: list[Path], pairs: int) -> dict[str, dict[str, float]]:
    """Medians of CPU seconds, and the median of the ratios of neighbouring runs.

    Args:
        versions: The former and the current one.
        folders: Where each has written its results; the phantom's MR is taken from there.
        pairs: How often each is timed; the order changes from pair to pair.
    """
    times = {}
    for name in ("creps --help", "import creps", "creps synthesize") if pairs else ():
        runs: list[tuple[float, float]] = []
        _once(name, versions[0], folders[0])  # files come into memory
        _once(name, versions[1], folders[1])
        for number in range(pairs):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            taken = {which: _once(name, versions[which], folders[which]) for which in order}
            runs.append((taken[0], taken[1]))
        former, current = zip(*runs, strict=True)
        ratios = [b / a for a, b in runs]
        times[name] = {
            "former_s": statistics.median(former),
            "current_s": statistics.median(current),
            "ratio": statistics.median(ratios),
            "least_ratio": min(ratios),
            "largest_ratio": max(ratios),
        }
    return times


def _once(name: str, version: Version, folder: Path) -> float:
    if name == "creps --help":
        return version.cpu_seconds("-m", "creps", "--help")
    if name == "import creps":
        return version.cpu_seconds("-c", "import creps")
    (mr,) = (folder / "phantom" / "test").glob("*/mr.nii.gz")
    with tempfile.TemporaryDirectory() as there:
        target = Path(there) / "sct.nii.gz"
        return version.cpu_seconds("-m", "creps", "-q", "synthesize", version.shipped_model(), mr, "-o", target)
