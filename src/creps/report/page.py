"""Pages: templates filled, scripts named by their hash in the content security policy, written with their JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from creps.errors import InputError, OutputExistsError
from creps.io.atomic import atomic_file, is_writable
from creps.io.documents import read_json
from creps.report.document import Report

__all__ = ["check_page", "is_report", "page_files", "png_data", "render", "write_page"]

MARK = '<meta name="generator" content="creps report">'
"""Every page has it: only files with it are replaced."""

BADGES = {
    "case": {"pass": "✓ pass", "warn": "! warning", "fail": "✕ fail", "not checked": "– not checked"},
    "cohort": {"pass": "✓ all pass", "warn": "! warnings", "fail": "✕ failures"},
    "training": {"pass": "✓ finished", "warn": "! see the findings", "fail": "✕ failed"},
}
"""Kind of report → result → what the page shows beside the headline."""

CONTROLS = {"Cc", "Cf", "Cs", "Co", "Cn"}
"""Categories of characters that show nothing, or turn the text around them."""

LARGEST = 1e12
"""Number that is still written out."""

LONGEST = 400
"""Characters of a text from a file that are shown."""


def page_files(page: Path) -> tuple[Path, Path]:
    """The page and the JSON beside it."""
    return page, page.with_suffix(".json")


def check_page(page: Path, *, overwrite: bool) -> None:
    """Refuse a place where no page can be written, before anything is computed.

    Raises:
        OutputExistsError: something is there; only an earlier report is ever replaced.
        InputError: the name does not end with .html, or the place cannot be written to.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{page} is not the name of a page.", "Name a file that ends with .html.")
    for file in page_files(page):
        if file.exists() and not overwrite:
            raise OutputExistsError(f"{file} already exists.", "Pass overwrite=True, or name another file.")
        if file.exists() and not is_report(file):
            raise OutputExistsError(f"{file} is not a report of creps and is not replaced.", "Name another file.")
    place = next(one for one in page.absolute().parents if one.exists())
    if not place.is_dir() or not is_writable(place):
        raise InputError(
            f"{page} cannot be written: new files cannot be created in {place}.", "Choose another location."
        )


def is_report(file: Path) -> bool:
    """Whether a file is a page or a document that creps wrote."""
    if not file.is_file():
        return False
    if file.suffix == ".json":
        try:
            content = read_json(file)
        except (OSError, ValueError):
            return False
        known = isinstance(content, dict) and {"schema_version", "notice", "headline", "provenance"} <= content.keys()
        return known and content.get("kind") in BADGES
    with file.open(encoding="utf-8", errors="replace") as stream:
        return MARK in stream.read(4000)


def write_page(page: Path, report: Report, html: str) -> Path:
    """Write a page with its JSON, both or neither.

    Args:
        page: Where, ending with .html.
        report: What it says.
        html: What `render` returned.

    Returns:
        The page.
    """
    with atomic_file(page) as temporary:
        own, document = page_files(temporary)
        own.write_text(html, encoding="utf-8", errors="replace")  # lone surrogates
        text = json.dumps(report.model_dump(), indent=1, ensure_ascii=False, default=str)
        document.write_text(text + "\n", encoding="utf-8", errors="replace")
    return page


def render(report: Report, template: str, *, viewer: bool = False, **shown: Any) -> str:
    """Fill a template.

    Args:
        report: What it says.
        template: Name of the template, without its ending.
        viewer: Whether the page scrolls through volumes: `shown` has them as ``volumes``.
        **shown: Pictures, charts and tables of the template.

    Returns:
        The page: one HTML document that loads nothing.
    """
    scripts = [_asset("vendor", "niivue.umd.js"), _asset("assets", "viewer.js")] if viewer else []
    return str(
        _environment()
        .get_template(f"{template}.html.j2")
        .render(
            report=report,
            mark=MARK,
            badge=BADGES[report.kind].get(report.result),
            style=_asset("assets", "style.css"),
            scripts=scripts,
            policy=_policy(scripts),
            licences=_asset("vendor", "NIIVUE-LICENSE.txt") if viewer else "",
            **shown,
        )
    )


def _policy(scripts: list[str]) -> str:
    """Nothing from outside; no script but those of the page, each named by its hash."""
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts]
    allowed = {
        "default-src": "'none'",
        "script-src": " ".join(hashes) or "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "data: blob:",
        "worker-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{key} {value}" for key, value in allowed.items())


@cache
def _asset(folder: str, name: str) -> str:
    text = files("creps.report").joinpath(folder, name).read_text(encoding="utf-8")
    if "</script" in text.lower():
        raise ValueError(f"{name} would end its script element early")
    return text


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("creps.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"printable": printable, "figure": figure}
    return environment


def png_data(data: bytes) -> str:
    """The bytes of a PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def printable(text: object) -> str:
    """A text from a file as it may be shown: without control characters, and not too long; the template escapes it."""
    plain = "".join(c if unicodedata.category(c) not in CONTROLS else " " for c in str(text))
    plain = re.sub(r"\s+", " ", plain).strip()
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def figure(number: object, digits: int = 3) -> str:
    """A number for a table; a dash for None."""
    if number is None:
        return "–"
    if isinstance(number, bool) or not isinstance(number, int | float):
        return printable(number)
    if abs(number) > LARGEST:
        return printable(f"more than {LARGEST:g}")
    return f"{number:.{digits}g}".replace("-", "−") if abs(number) < 10**digits else f"{number:.0f}".replace("-", "−")
