"""The docs as a site: built without a warning, every link leads somewhere, nothing comes from elsewhere."""

import os
import re
import subprocess
import sys
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

import creps
from tests.components import need
from tests.documents import PAGES, PROJECT

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not PAGES, reason="an installed package has no docs beside it"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A strict build: a warning, such as a page outside the navigation, is an error."""
    need("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_the_docs_is_on_the_site(site):
    docs = PROJECT / "docs"
    for path in docs.rglob("*.md"):
        name = path.relative_to(docs).with_suffix(".html").as_posix().replace("README", "index")
        assert (site / name).is_file(), name
    assert not list(site.rglob("*.pyc"))
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    assert "benchmarks/unseen/index.html" in index
    assert "CHANGELOG.html" in index


def test_api_page_has_every_public_name_with_its_docstring(site):
    text = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in creps.__all__:
        assert (f'id="creps.{name}"' in text) == (name != "__version__"), name
    assert "Synthetic CT" in re.sub(r"<[^>]+>", "", text)


def test_links_lead_to_files_and_anchors_of_the_site(site):
    broken = []
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # its links start at the root of a server
            continue
        for link in re.findall(r'<(?:a|img|script|link)\b[^>]*? (?:href|src)="([^"]+)"', _text(page)):
            target, _, anchor = unquote(unescape(link)).partition("#")
            if re.match(r"\w+:", target):
                continue
            file = page.parent / target if target else page
            if not file.is_file() or (anchor and file.suffix == ".html" and anchor not in _anchors(file)):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert not broken


def test_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe|source)\b[^>]*? (?:src|href)="(https?:)?//', _text(page))
        assert not loaded, page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?https?:", _text(sheet)), sheet.name


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _anchors(page: Path) -> set[str]:
    return set(re.findall(r'\bid="?([^" >]+)', _text(page)))
