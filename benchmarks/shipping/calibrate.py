"""Calibrate a shipped model, with phantoms of seeds of its own, and list its files anew.

::

    python -m benchmarks.shipping.calibrate head
"""

from __future__ import annotations

import argparse

from creps import load
from creps.inference.calibration import CALIBRATION
from creps.shipped.catalogue import SHIPPED, shipped_names, write_sums
from creps.synthesis.calibration import write_calibration

__all__ = ["main"]


def main() -> None:
    """Parse, calibrate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=shipped_names())
    name = parser.parse_args().model
    found = load(name).calibrate(progress=lambda done, count, case: print(f"{done}/{count} {case}", flush=True))
    write_calibration(SHIPPED / name / CALIBRATION, found)
    write_sums()


if __name__ == "__main__":
    main()
