"""Wheel and sdist, built twice at different places and times, equal byte by byte, with the contents they should have.

    python -m benchmarks.release.build --output dist

Builds from the files that git tracks, as an sdist and, from the unpacked sdist, as a wheel; what lies about in the
working folder gets into neither. Nothing is written if a check fails.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.release.contents import sdist_faults, wheel_faults

__all__ = ["build", "build_once", "sha256", "tracked"]

PROJECT = Path(__file__).resolve().parents[2]


def tracked(project: Path = PROJECT) -> list[str]:
    """Files that git tracks, or all files of an unpacked sdist, relative to `project`."""
    if (project / ".git").exists():
        command = ["git", "-C", str(project), "ls-files", "-z", "--cached"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return sorted(name for name in done.stdout.split("\0") if name and (project / name).is_file())
    return sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file())


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build_once(folder: Path, *, umask: int = 0o022) -> tuple[Path, Path]:
    """Build an sdist of the tracked files and a wheel of that sdist.

    Args:
        folder: An empty folder for the copy and the results.
        umask: Of the copy: the rights of files must not get into what is built.

    Returns:
        Wheel and sdist.
    """
    copy, results = folder / "copy", folder / "results"
    for name in tracked():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, target)
        target.chmod(0o777 & ~umask if os.access(PROJECT / name, os.X_OK) else 0o666 & ~umask)
    _hatchling(copy, results, "sdist")
    (sdist,) = results.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    _hatchling(unpacked, results, "wheel")
    (wheel,) = results.glob("*.whl")
    return wheel, sdist


def _hatchling(project: Path, results: Path, target: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(results)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"hatchling could not build the {target}: {done.stdout}{done.stderr}")


def build(output: Path) -> list[str]:
    """Build twice, compare, check the contents, and put wheel and sdist into `output`.

    Args:
        output: Folder; an earlier wheel or sdist in it is replaced.

    Returns:
        What is wrong, a line each. Nothing is written if anything is.
    """
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory(prefix="at another place ") as second:
        once = build_once(Path(first))
        again = build_once(Path(second), umask=0o077)
        faults = [
            f"{one.name}: two builds differ ({sha256(one)}, {sha256(other)})."
            for one, other in zip(once, again, strict=True)
            if one.read_bytes() != other.read_bytes()
        ]
        wheel, sdist = once
        names = tracked()
        faults += wheel_faults(wheel, names) + sdist_faults(sdist, names)
        if not faults:
            output.mkdir(parents=True, exist_ok=True)
            for former in (*output.glob("creps-*.whl"), *output.glob("creps-*.tar.gz")):
                former.unlink()
            for path in once:
                shutil.copyfile(path, output / path.name)
                print(f"{path.stat().st_size / 1e6:.1f} MB  {sha256(path)}  {output / path.name}")
    return faults


def main() -> int:
    """Build; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=PROJECT / "dist")
    faults = build(parser.parse_args().output)
    print("\n".join(faults) or "two builds are equal; contents are as expected")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
