"""Known errors on small phantoms: what physics predicts beside what the chain measures.

python -m benchmarks.dose.physics
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.dose import test_physics as physics

from creps.io.atomic import write_json
from creps.provenance import provenance

RESULTS = Path(__file__).with_name("physics.json")


def main() -> None:
    """Print a row for each error and write all of them."""
    rows: list[dict[str, Any]] = []
    for name in physics.CASES:
        expected_mm, measured_mm = physics.range_shift_mm(name)
        expected, measured = physics.isocentre_change_percent(name)
        rows.append(
            {
                "error": name,
                "range_predicted_mm": expected_mm,
                "range_measured_mm": measured_mm,
                "isocentre_predicted_percent": expected,
                "isocentre_measured_percent": measured,
            }
        )
        print(rows[-1], flush=True)
    write_json(RESULTS, {"rows": rows, **provenance()})


if __name__ == "__main__":
    main()
