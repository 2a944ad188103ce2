"""The report of a case as a PDF of one or more pages, for archives that take no HTML."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from creps.report.document import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["case_pdf"]

A4_INCHES = (8.27, 11.69)
MARGIN, LINE = 0.07, 0.0165
"""Share of the page."""

WIDTH = 104
"""Characters of a line of 9 points."""

PICTURE_HEIGHT = 0.42

COLOURS = {"pass": "#1b7837", "warn": "#b35806", "fail": "#b2182b", "not checked": "#555555", "note": "#555555"}


def case_pdf(report: Report, picture: Path) -> bytes:
    """Draw the report: result, findings, key figures, the picture of the sCT, limits.

    Args:
        report: What it says; it shows no names.
        picture: PNG of the sCT beside its MR.

    Returns:
        The bytes of the PDF; the same report gives the same bytes.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    stream = io.BytesIO()
    with PdfPages(stream, metadata={"Title": report.title, "Creator": "creps", "CreationDate": None}) as pages:
        for figure in _pages(report, picture):
            pages.savefig(figure)
    return stream.getvalue()


def _pages(report: Report, picture: Path) -> Iterator[Figure]:
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    first = Figure(figsize=A4_INCHES)
    first.text(MARGIN, 0.95, report.title, size=16, weight="bold")
    first.text(
        1 - MARGIN, 0.95, report.result.upper(), size=14, ha="right", weight="bold", color=COLOURS[report.result]
    )
    first.text(MARGIN, 0.925, report.notice, size=8, color="#b2182b")
    first.text(MARGIN, 0.895, "\n".join(textwrap.wrap(report.headline, 92)), size=10, va="top")
    area = first.add_axes((MARGIN, 0.93 - 0.09 - PICTURE_HEIGHT, 1 - 2 * MARGIN, PICTURE_HEIGHT))
    area.imshow(imread(picture))
    area.set_axis_off()
    figure, top = first, 0.93 - 0.1 - PICTURE_HEIGHT
    for text, colour, weight in _lines(report):
        if top < MARGIN:
            yield figure
            figure, top = Figure(figsize=A4_INCHES), 0.95
        figure.text(MARGIN, top, text, size=9, va="top", color=colour, weight=weight, family="DejaVu Sans")
        top -= LINE
    yield figure


def _lines(report: Report) -> Iterator[tuple[str, str, str]]:
    """Each line with its colour and weight."""
    if report.findings:
        yield "Findings", "black", "bold"
    for finding in report.findings:
        for line in textwrap.wrap(f"{finding.level}: {finding.text} {finding.do}", WIDTH):
            yield line, COLOURS[finding.level], "normal"
    if report.figures:
        yield "Figures", "black", "bold"
    for figure in report.figures:
        for line in textwrap.wrap(f"{figure.label}: {figure.value} ({figure.note})", WIDTH):
            yield line, "black", "normal"
    yield "Limits", "black", "bold"
    for sentence in (*report.missing, *report.limits):
        for line in textwrap.wrap(sentence, WIDTH):
            yield line, "#555555", "normal"
