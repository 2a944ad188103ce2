"""Write whole or not at all: a result appears under its name only when it is complete."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["atomic_file", "atomic_folder", "filled_folder", "replace_folder", "write_json"]


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same name in a folder beside `path`; move it there on success.

    Whatever else was written into that folder (the data file of a header, a record, a picture) moves
    along, `path` itself last: where it is, the others are.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
    try:
        with _named(path):
            yield folder / path.name
        for written in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            written.replace(path.parent / written.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
    try:
        temporary = holder / "new"
        temporary.mkdir()
        with _named(path):
            yield temporary
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def filled_folder(path: Path, last: str) -> Iterator[Path]:
    """Yield a temporary folder within the empty folder `path`; on success its files move up, `last` last.

    For folders that cannot be replaced, such as a disk that is mounted there: whoever sees `last` sees all.
    """
    holder = Path(tempfile.mkdtemp(prefix=".writing-", dir=path))
    try:
        with _named(path):
            yield holder
        for written in sorted(holder.iterdir(), key=lambda file: file.name == last):
            written.replace(path / written.name)
    except BaseException:
        for started in path.iterdir():
            if started != holder:
                started.unlink()
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Move a finished folder to `path`, on the same disk; what is there is deleted once it has gone in."""
    if not path.exists():
        new.replace(path)
        return
    holder = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
    try:
        path.replace(holder / "old")
        new.replace(path)
    except BaseException:  # Ctrl-C as well: what was there must not vanish
        if (holder / "old").exists() and not path.exists():
            (holder / "old").replace(path)
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give an error of the file system the name of what was being written."""
    try:
        yield
    except OSError as error:
        if error.filename is None or ".writing-" in str(error.filename):
            raise OSError(error.errno or 0, error.strerror or str(error), str(path)) from error
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as indented JSON, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
