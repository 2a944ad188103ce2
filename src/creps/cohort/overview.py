"""An HTML page of all cases of a cohort: a table, and the cases' pages below it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from creps.cohort.cohort import Case, Failure, Manifest
from creps.provenance import NOTICE

__all__ = ["overview_page", "page_file"]

STYLE = """
body { font: 14px/1.35 system-ui, sans-serif; margin: 1.5em; color: #111; background: #fff; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; position: sticky; top: 0; background: #eee; padding: 3px 8px; }
td { padding: 1px 8px; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
td.n { text-align: right; } td.b { min-width: 70px; text-align: right; }
tr.validation td:nth-child(3) { background: #fff0c8; }
.notice { color: #a00; font-weight: 600; }
.pages { display: grid; grid-template-columns: repeat(auto-fill, minmax(620px, 1fr)); gap: 10px; margin-top: 1em; }
.pages img { width: 100%; aspect-ratio: 10 / 3; border: 1px solid #ccc; }
"""

HEADS = (
    "modality", "case", "split", "centre", "size", "spacing mm", "body mm", "1 %", "50 %", "99 %", "divisor", "file",
)  # fmt: skip


def overview_page(manifest: Manifest, cases: Sequence[Case], failures: Sequence[Failure], name: str) -> str:
    """Return the overview as HTML; it refers to nothing but the PNG files beside it.

    Args:
        manifest: The cohort's manifest.
        cases: The cases in the order to list them.
        failures: The images that could not be prepared.
        name: The cohort's name.
    """
    counts = [
        f"{modality.upper()} {sum(c.modality == modality and c.split == 'train' for c in cases)} training +"
        f" {sum(c.modality == modality and c.split == 'validation' for c in cases)} validation"
        for modality in ("mr", "ct")
    ]
    bright = {m: max([c.intensity_p99 or 0.0 for c in cases if c.modality == m], default=0.0) for m in ("mr", "ct")}
    rows = "\n".join(_row(case, bright[case.modality]) for case in cases)
    pictures = "\n".join(
        f'<a id="{_anchor(case)}" href="{quote(page_file(case))}"><img loading="lazy" src="{quote(page_file(case))}"'
        f' alt="{escape(case.modality.upper())} {escape(case.case)}"></a>'
        for case in cases
    )
    heads = "".join(f"<th>{head}</th>" for head in HEADS)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Cohort {escape(name)}</title><style>{STYLE}</style></head><body>
<h1>Cohort {escape(name)}</h1>
<p class="notice">{escape(NOTICE)}</p>
<p>{counts[0]}; {counts[1]}. Region {escape(manifest.preparation.region)}, preset {escape(manifest.preset)}.
Percentiles are the source's own values inside the body; the bar behind 99 % compares cases of one modality.</p>
{_failures(failures)}{_notes(cases)}
<table><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table>
<div class="pages">
{pictures}
</div></body></html>
"""


def _row(case: Case, brightest: float) -> str:
    share = 100 * min(max((case.intensity_p99 or 0.0) / brightest, 0.0), 1.0) if brightest > 0 else 0.0
    bar = f"background: linear-gradient(to right, #cfe0f2 {share:.0f}%, transparent {share:.0f}%)"
    cells = [
        f"<td>{case.modality.upper()}</td>",
        f'<td><a href="#{_anchor(case)}">{escape(case.case)}</a></td>',
        f"<td>{case.split}</td>",
        f"<td>{escape(case.centre or '')}</td>",
        f'<td class="n">{" × ".join(map(str, case.shape))}</td>',
        f'<td class="n">{" × ".join(f"{s:g}" for s in case.spacing_mm)}</td>',
        f'<td class="n">{" × ".join(f"{e:.0f}" for e in case.body_extent_mm)}</td>',
        f'<td class="n">{_number(case.intensity_p01)}</td>',
        f'<td class="n">{_number(case.intensity_p50)}</td>',
        f'<td class="b" style="{bar}">{_number(case.intensity_p99)}</td>',
        f'<td class="n">{_number(case.mr_divisor)}</td>',
        f"<td>{escape(case.source)}</td>",
    ]
    return f'<tr class="{case.split}">{"".join(cells)}</tr>'


def _failures(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    items = "".join(f"<li>{escape(str(failure))}</li>" for failure in failures)
    return f"<h2>Left out: {len(failures)}</h2><ul>{items}</ul>"


def _notes(cases: Sequence[Case]) -> str:
    """What was changed in images, and which assumptions of the recipe they do not meet."""
    noted = [(case, note) for case in cases for note in (*case.warnings, *case.notes)]
    items = "".join(f"<li>{escape(case.source)}: {escape(note)}</li>" for case, note in noted)
    return f"<h2>Warnings: {len(noted)}</h2><ul>{items}</ul>" if noted else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def page_file(case: Case) -> str:
    """Name of the picture of a case, beside the overview."""
    return f"{case.modality}_{case.case}.png"


def _anchor(case: Case) -> str:
    return quote(f"{case.modality}_{case.case}")
