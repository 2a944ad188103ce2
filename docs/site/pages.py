"""MkDocs hook: pages of the repository outside `docs/`, and the API page.

The docs link to files beside them: changelog, benchmarks, results. GitHub follows such links; a site holds its own
pages only. So every linked file joins the site, at the path that it has in the repository, as if `docs/` were laid over
the root. A linked folder means its README; without one, only the text of the link is shown.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

LINK = re.compile(r"\[(?P<text>[^]]*)\]\((?!\w+:)(?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)")
FENCE = re.compile(r"(^```.*?^```)", re.M | re.S)
API = "reference/api.md"


def on_files(files: Files, config: Any) -> Files:
    """Add the linked files outside `docs/`, and those that they link to."""
    docs = Path(config.docs_dir)
    files.append(File.generated(config, API, content=api_page(docs.parent / "src" / "creps" / "__init__.py")))
    waiting = [docs / file.src_uri for file in files.documentation_pages() if file.src_uri != API]
    waiting += [docs.parent / "CHANGELOG.md"]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if not path.is_relative_to(docs):
            files.append(File.generated(config, site_path(path, docs), abs_src_path=str(path)))
        if path.suffix == ".md":
            waiting += linked_outside(path, docs)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Lead links of a page to where their targets are on the site; give comments lines of their own."""
    docs = Path(config.docs_dir)
    source = Path(page.file.abs_src_path) if page.file.abs_src_path else docs / page.file.src_uri

    def lead(found: re.Match[str]) -> str:
        target = existing(source.parent / found["target"], docs)
        if target is None or (target.is_relative_to(docs) and source.is_relative_to(docs)):
            return found["text"] if (source.parent / found["target"]).is_dir() else found[0]
        there = os.path.relpath(site_path(target, docs), Path(page.file.src_uri).parent)
        return f"[{found['text']}]({there}{found['anchor'] or ''})"

    parts = FENCE.split(re.sub(r"^(<!--.*?-->)\n", r"\n\1\n\n", markdown, flags=re.M))
    return "".join(part if part.startswith("```") else LINK.sub(lead, part) for part in parts)


def linked_outside(page: Path, docs: Path) -> list[Path]:
    """Existing files outside `docs/` that a page links to."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [existing(page.parent / found["target"], docs) for found in LINK.finditer(text)]
    return [target for target in targets if target is not None and not target.is_relative_to(docs)]


def existing(path: Path, docs: Path) -> Path | None:
    """The file in the repository that a link means; None: there is none."""
    path = Path(os.path.normpath(path))
    if path.is_dir():
        path = next((path / name for name in ("README.md", "table.md") if (path / name).is_file()), path)
    return path if path.is_file() and path.is_relative_to(docs.parent) else None


def site_path(path: Path, docs: Path) -> str:
    """Where a file of the repository is on the site, relative to its root."""
    if path == docs.parent / "README.md":
        return "index.md" if (docs / "index.md").exists() else "README.md"
    return path.relative_to(docs if path.is_relative_to(docs) else docs.parent).as_posix()


def api_page(package: Path) -> str:
    """A page with the docstring of every public name; read from the source, nothing is imported."""
    names = ast.literal_eval(next(_values(ast.parse(package.read_text(encoding="utf-8")), "__all__")))
    text = (
        "# API reference\n\nThe docstrings of all public names, read from the source. "
        "[Python API](python-api.md) explains them with examples. **Not for diagnosis.**\n"
    )
    return text + "".join(f"\n::: creps.{name}\n" for name in names if not name.startswith("_"))


def _values(tree: ast.Module, name: str) -> Any:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            yield node.value
