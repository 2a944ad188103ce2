"""Put the results of the campaign into the page about the QA, where it has its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["PAGE", "tables", "write_tables"]

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "qa.md"


def tables(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name of a table → its lines.

    Args:
        results: As results.json has them.
    """
    good = results["good"]
    caught = [
        "| Failure | Size | n (real) | Intake off | Intake on | Or a warning, intake on | Smallest at 95 %, off / on"
        " | Checks that fail most |",
        "|" + "---|" * 8,
    ]
    for row in results["failures"]:
        if row["gross"]:
            least = results["smallest"][row["kind"]]
            sizes = " / ".join(_size(least[way], row["unit"]) for way in ("fail_off", "fail_on"))
            size = "–" if row["unit"] in ("exchange", "flip") else f"{row['size']:g} {row['unit']}"
            caught.append(
                f"| {row['kind']} | {size} | {row['cases']} ({row['real']}) | {_percent(row['fail_off'])} |"
                f" {_percent(row['fail_on'])} | {_percent(row['warn_on'])} | {sizes} | {', '.join(row['checks'])} |"
            )
    alarms = [
        "| Good cases | of these real | Fail, intake off | Fail, intake on | Fail or warning, intake off"
        " | Fail or warning, intake on |",
        "|" + "---|" * 6,
        f"| {good['cases']} | {good['real']} | "
        + " | ".join(_percent(good[way]) for way in ("fail_off", "fail_on", "warn_off", "warn_on"))
        + " |",
    ]
    return {"caught": caught, "alarms": alarms}


def write_tables(results: Mapping[str, Any], page: Path = PAGE) -> None:
    """Put each table between its two marks."""
    text = page.read_text(encoding="utf-8")
    for name, lines in tables(results).items():
        text = _put(text, name, lines)
    page.write_text(text, encoding="utf-8")


def _put(text: str, name: str, lines: Sequence[str]) -> str:
    mark = f"<!-- {name} -->"
    before, _, after = text.split(mark)
    return f"{before}{mark}\n{chr(10).join(lines)}\n{mark}{after}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _size(size: float | None, unit: str) -> str:
    if size is None:
        return "none"
    return "yes" if unit in ("exchange", "flip") else f"{size:g}"
