"""Write the tables of docs/reference/speed.md, and the first one of docs/concepts/speed.md, from the kept results.

::

    python -m benchmarks.speed.page

Text between the pages' markers is replaced; a test compares the pages with the results.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.results import HERE

DOCS = HERE.parents[1] / "docs"
SHORT, LONG = DOCS / "concepts" / "speed.md", DOCS / "reference" / "speed.md"
BEGIN, END = "<!-- generated: python -m benchmarks.speed.page -->", "<!-- end -->"

TITLES = {
    "daily": "What a user waits for, default recipe",
    "default-recipe": "The shipped head model in creps' and in MONAI's loop, with the error against the truth",
    "peers-brain": "The paper's network in four tools' loops, brain preset",
    "peers-pelvis": "The paper's network in four tools' loops, pelvis preset",
    "synthesis-brain": "The loop against bare forward passes, brain preset",
    "synthesis-pelvis": "The loop against bare forward passes, pelvis preset",
    "training": "A training step, with bfloat16 units",
    "training-float32": "A training step, without bfloat16 units",
    "feed": "Patches for a training",
    "preparing": "Preparing a case, against an earlier version",
    "resampling": "Resampling, against SimpleITK",
    "startup": "Start-up of the commands",
    "runtimes": "PyTorch and other runtimes",
    "growth": "Growth with the volume",
    "memory": "Peak memory against the printed estimate",
}
"""Result file → title, in the order of the page."""

SHOWN = {
    "seconds": "Seconds",
    "times_reference": "Times the first row's",
    "times_plain": "Times as fast as plain",
    "voxels_per_voxel": "Voxels predicted per voxel",
    "mae_hu": "MAE (HU)",
    "bone_dice": "Bone Dice",
    "pairs_per_second": "Pairs per second",
    "times_the_need": "Times the need of a step",
    "times_faster: whole": "Times as fast, whole",
    "times_faster: body mask": "Times as fast, body mask",
    "peak_mb": "Peak (MB)",
    "estimate_mb": "Estimate (MB)",
    "peak_gb": "Peak (GB)",
}
"""Value of a row → heading."""

CAPTIONS = {
    "tables": "",
    "rows": "",
    "cases": "",
    "synthesize": "Synthesis",
    "first-step": "First step of a training",
    "step": "A training step",
    "whole volume": "Whole volume",
    "body": "The body only",
    "patches_left_out": "With and without patches outside the body",
    "needs": "What a training needs",
    "feeds": "What each loader delivers",
    "1": "one",
    "2": "two",
    "upper_median": "Upper median of patches",
    "single": "Single pass",
}
"""Key of a result → what its caption says; other keys stay as they are."""

Rows = dict[str, dict[str, Any]]


def tables(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """Every table of a result: its place, and its rows."""
    if not isinstance(content, dict):
        return
    rows = {name: row for name, row in content.items() if isinstance(row, dict) and any(key in row for key in SHOWN)}
    if rows:
        yield path, rows
        return
    for name, inner in content.items():
        yield from tables(inner, (*path, name))


def table(rows: Rows) -> str:
    """Rows in Markdown, with the values that `SHOWN` names."""
    columns = [key for key in SHOWN if any(row.get(key) is not None for row in rows.values())]
    lines = [["", *(SHOWN[key] for key in columns)]]
    lines += [[name, *(_value(row.get(key)) for key in columns)] for name, row in rows.items()]
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table whose first line is its heading."""
    head, *body = (("| " + " | ".join(cells) + " |").replace("|  |", "| |") for cells in lines)
    return "\n".join([head, "|---" * len(lines[0]) + "|", *body])


def _value(value: Any) -> str:
    if not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def section(title: str, file: Path) -> str:
    """A result file's tables, below a title and a line about the machine."""
    content = json.loads(file.read_text(encoding="utf-8"))
    machine = content.pop("machine")
    units = ", ".join(machine["bf16_units"]) or "no bfloat16 units"
    precision = f"; computed in {content['precision']}" if "precision" in content else ""
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    about = f"`{file.name}`, {content['created'][:10]}: {machine['processor']}, {threads}, {units}{precision}."
    parts = [f"## {title}", about]
    for path, rows in tables(content):
        name = ", ".join(filter(None, (CAPTIONS.get(part, part) for part in path)))
        parts.append((f"**{name[:1].upper()}{name[1:]}**\n\n" if name else "") + table(rows))
    return "\n\n".join(parts)


def long_page() -> str:
    """All results."""
    files = []
    for name, title in TITLES.items():
        for ending in ("", "-bf16", "-fp32"):
            file = HERE / "results" / f"{name}{ending}.json"
            if file.is_file():
                files.append(section(title + {"": "", "-bf16": ": bfloat16", "-fp32": ": float32"}[ending], file))
    return "\n\n".join(files)


def short_page() -> str:
    """How long the default recipe takes, with bfloat16 units and without."""
    found = {}
    for precision in ("bf16", "fp32"):
        file = HERE / "results" / f"daily-{precision}.json"
        found[precision] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    lines = [["On two cores", "with bfloat16 units", "without"]]
    for name, path in WAITS.items():
        lines.append([name, *(_seconds(found[precision], path) for precision in ("bf16", "fp32"))])
    return markdown(lines)


WAITS: dict[str, tuple[str, ...]] = {
    "sCT of a head, MR at 1 mm, from a file to a file": ("synthesize", "head", "creps synthesize"),
    "… of it, import of PyTorch": ("synthesize", "head", "import torch"),
    "… of it, the network": ("synthesize", "head", "forward passes"),
    "sCT of a pelvis, MR at 1.5 mm": ("synthesize", "pelvis", "creps synthesize"),
    "… of it, the network of the pelvis": ("synthesize", "pelvis", "forward passes"),
    "first step of a training at 2 mm, after the command": ("first-step", "2 mm"),
    "a training step, two patches of 32×64×64": ("step", "creps, PRECISION"),
}
"""Line of the table → where its seconds are."""


def _seconds(content: dict[str, Any], path: Sequence[str]) -> str:
    precision = content.get("precision", "")
    for name in path:
        content = content.get(name.replace("PRECISION", precision), {})
    return f"{content['seconds']:.2g} s" if "seconds" in content else "not measured"


def replaced(page: Path, text: str) -> str:
    """A page with another text between its markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main() -> None:
    """Write both pages."""
    for page, text in ((SHORT, short_page()), (LONG, long_page())):
        page.write_text(replaced(page, text), encoding="utf-8")


if __name__ == "__main__":
    main()
