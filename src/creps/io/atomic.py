"""Write whole or not at all: a result appears under its name only when it is complete.

Some disks (FAT, network shares, gvfs) refuse to change modes, or to rename one file over another. Modes are then left
as they are; what is in the way is renamed first; and where nothing can be renamed, files are copied, the JSON files
that mark a result as complete last.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from creps.io.unfinished import PREFIX, aside, unfinished_folder

__all__ = [
    "atomic_file",
    "atomic_folder",
    "copy_file",
    "filled_folder",
    "is_writable",
    "let_others_read",
    "move",
    "replace_folder",
    "write_json",
]

REFUSED = {
    *(errno.EPERM, errno.EACCES, errno.EEXIST, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EXDEV)
}
"""Errors of disks that do not rename (over another file)."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same name in a folder beside `path`; move it there on success.

    Whatever else was written into that folder (the data file of a header, a record, a picture, a folder) moves
    along, `path` itself last: where it is, the others are. A folder takes the place of one of its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path), unfinished_folder(path.parent) as folder:
        yield folder / path.name
        for written in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            (replace_folder if written.is_dir() else move)(written, path.parent / written.name)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path), unfinished_folder(path.parent) as folder:
        temporary = folder / path.name
        temporary.mkdir()
        yield temporary
        replace_folder(temporary, path)


@contextmanager
def filled_folder(path: Path, last: str) -> Iterator[Path]:
    """Yield a temporary folder within the empty folder `path`; on success its files move up, `last` last.

    For folders that cannot be replaced, such as a disk that is mounted there: whoever sees `last` sees all.
    """
    begun: list[Path] = []  # others may have put something there meanwhile
    with _named(path), unfinished_folder(path) as folder:
        try:
            yield folder
            for written in sorted(folder.iterdir(), key=lambda file: file.name == last):
                begun.append(path / written.name)
                move(written, path / written.name)
        except BaseException:
            for one in begun:
                _delete(one)
            raise


def replace_folder(new: Path, path: Path) -> None:
    """Move a finished folder to `path`, on the same disk; what is there is deleted once it has gone in.

    Killed between the two, the next process that writes beside `path` puts back what was there.
    """
    if not path.exists():
        move(new, path)
        return
    with unfinished_folder(path.parent) as folder:
        old = aside(folder, path)
        try:
            move(path, old)
            move(new, path)
        except BaseException:  # Ctrl-C as well: what was there must not vanish
            if old.exists() and not path.exists():
                move(old, path)
            raise


def move(old: Path, new: Path) -> None:
    """Rename a file or a folder on the same disk, over a file of that name; copied where the disk does not rename.

    Raises:
        OSError: it cannot be written there; what was there is still there.
    """
    try:
        old.replace(new)
    except OSError as error:
        if error.errno not in REFUSED or not old.exists():
            raise
        if not (new.is_file() and _moved_aside(old, new)):
            _copy(old, new)
            _delete(old)


def _moved_aside(new: Path, path: Path) -> bool:
    """Put a file in the place of another by renaming that one first; whether the disk allows it."""
    with unfinished_folder(path.parent) as folder:
        old = aside(folder, path)
        try:
            path.replace(old)
        except OSError:
            return False
        try:
            new.replace(path)
        except BaseException:
            old.replace(path)
            raise
    return True


def _copy(old: Path, new: Path) -> None:
    if not old.is_dir():
        copy_file(old, new)
        return
    try:
        new.mkdir(exist_ok=True)
        for inner in sorted(old.iterdir(), key=lambda one: one.suffix == ".json"):
            _copy(inner, new / inner.name)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def copy_file(old: Path, new: Path) -> None:
    """Copy the content of a file, and nothing else of it: disks may refuse modes and times."""
    shutil.copyfile(old, new)


def _delete(path: Path) -> None:
    """Delete a file, a link, or a folder: first what marks it as complete, since a kill can leave the rest."""
    if path.is_dir() and not path.is_symlink():
        for mark in path.rglob("*.json"):
            _delete(mark)
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def let_others_read(path: Path) -> None:
    """Give a file the usual mode, where the disk has modes."""
    with suppress(OSError, NotImplementedError):
        path.chmod(0o644)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder; tried out, since on network shares its mode need not tell."""
    try:
        with unfinished_folder(folder):
            pass
    except OSError:
        return False
    return True


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give an error of the file system the name of what was being written."""
    try:
        yield
    except OSError as error:
        if error.filename is None or PREFIX in str(error.filename):
            raise OSError(error.errno or 0, error.strerror or str(error), str(path)) from error
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as indented JSON, atomically."""
    with atomic_file(path) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files that are not UTF-8
