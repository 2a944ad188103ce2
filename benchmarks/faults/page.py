"""Write the tables of docs/concepts/faults.md from the kept results.

python -m benchmarks.faults.page
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.faults.commands import VERBS
from benchmarks.faults.kills import KILLED

__all__ = ["main", "written"]

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "concepts" / "faults.md"
BEGIN, END = "<!-- {}: python -m benchmarks.faults.page -->", "<!-- end of {} -->"


def written(text: str) -> str:
    """The page with both tables renewed."""
    faults = json.loads((FOLDER / "faults.json").read_text(encoding="utf-8"))["faults"]
    kills = json.loads((FOLDER / "kills.json").read_text(encoding="utf-8"))
    for name, table in {"faults": _faults(faults), "kills": _kills(kills)}.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, rest = text.split(begin)
        text = before + begin + "\n\n" + table + "\n\n" + end + rest.split(end)[1]
    return text


def _faults(faults: dict[str, Any]) -> str:
    lines = ["| What is wrong | " + " | ".join(f"`{verb}`" for verb in VERBS) + " |", "|---" * (1 + len(VERBS)) + "|"]
    lines += [
        f"| {row['title']} | " + " | ".join(_cell(row.get(verb)) for verb in VERBS) + " |" for row in faults.values()
    ]
    return "\n".join(lines)


def _cell(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    if "skipped" in result:
        return "not tried"
    if result["problems"]:
        return "**problem**"
    return "says so" if result["code"] else "completes"


def _kills(kills: dict[str, Any]) -> str:
    lines = ["| Command | Kills | Broken after a kill | Result in the end | Left |", "|---" * 5 + "|"]
    for verb in (verb for verb in KILLED if verb in kills):
        row = kills[verb]
        same = "equal" if row["same_result"] else "**differs**"
        left = len(row["litter"]) or "nothing"
        lines.append(f"| `{verb}` | {row['kills']} | {len(row['broken']) or 'nothing'} | {same} | {left} |")
    return "\n".join(lines)


def main() -> None:
    """Renew the page."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
