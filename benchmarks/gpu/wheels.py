"""Fetch the wheels that a bare machine lacks into `.whl/`, and check that they fit together with the tree.

    python -m benchmarks.gpu.wheels [--python 3.12] [--limit 64]

The machine has torch, torchvision, numpy, scipy, scikit-image, matplotlib, safetensors, click, filelock,
psutil and PyYAML. SimpleITK, pydicom and python-gdcm are not needed: nothing that the job does reads an image file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / ".whl"
WITH_DEPENDENCIES = ("pydantic",)
ALONE = ("monai",)
"""Needs torch and numpy, which are there."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", help="of the bare machine")
    parser.add_argument("--limit", type=float, default=64, help="MiB of the tree and the wheels together")
    chosen = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", chosen.python, "-d", str(FOLDER)]
    command += [text for platform in PLATFORMS for text in ("--platform", platform)]
    for names in ((*WITH_DEPENDENCIES,), ("--no-deps", *ALONE)):
        subprocess.run([*command, *names], check=True)
    wheels = {file.name: file.stat().st_size for file in sorted(FOLDER.glob("*.whl"))}
    tree = tree_bytes()
    for name, size in {**wheels, "the tree": tree}.items():
        print(f"{size / MIB:8.2f} MiB  {name}")
    total = (sum(wheels.values()) + tree) / MIB
    print(f"{total:8.2f} MiB  together, of {chosen.limit:g}")
    if total > chosen.limit:
        sys.exit("That is too much. Raise --limit, or leave out a wheel.")


def tree_bytes() -> int:
    """Of the files that git tracks, and of new ones that it does not ignore."""
    listing = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\0")
    return sum((REPOSITORY / name).stat().st_size for name in names if name and (REPOSITORY / name).is_file())


if __name__ == "__main__":
    main()
