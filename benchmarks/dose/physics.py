"""Known errors on small bodies: what physics predicts beside what the chain measures.

python -m benchmarks.dose.physics
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.dose.known_errors import KNOWN_ERRORS, isocentre_change, range_shift
from creps.io.atomic import write_json
from creps.provenance import provenance

RESULTS = Path(__file__).with_name("physics.json")


def row_of(name: str) -> dict[str, str | float]:
    """Predicted and measured changes of one known error."""
    shift, change = range_shift(name), isocentre_change(name)
    return {
        "error": name,
        "range_predicted_mm": shift.predicted,
        "range_measured_mm": shift.measured,
        "isocentre_predicted_percent": change.predicted,
        "isocentre_measured_percent": change.measured,
    }


def main() -> None:
    """Print a row for each error and write all of them."""
    rows = []
    for name in KNOWN_ERRORS:
        rows.append(row_of(name))
        print(rows[-1], flush=True)
    write_json(RESULTS, {"rows": rows, **provenance()})


if __name__ == "__main__":
    main()
