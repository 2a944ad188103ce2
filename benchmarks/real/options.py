"""The command line of the scores on real scans."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["options_of", "write_rows"]


def options_of(described: str | None, data: str) -> argparse.Namespace:
    """Models, real scans, pictures and output.

    Args:
        described: The command's docstring.
        data: Where the real scans are unless told otherwise.
    """
    parser = argparse.ArgumentParser(description=described, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, default=Path(data), help="real scans")
    parser.add_argument("--pictures", type=Path, help="folder outside the project")
    parser.add_argument("-o", "--output", type=Path, help="JSON with all figures")
    return parser.parse_args()


def write_rows(output: Path | None, rows: dict[str, Any]) -> None:
    """Write all figures, if a file was named; null for what is not defined."""
    if output is not None:
        plain = json.loads(json.dumps(rows), parse_constant=lambda _: None)
        output.write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", encoding="utf-8")
