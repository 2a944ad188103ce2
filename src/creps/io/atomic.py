"""Write whole or not at all: a result appears under its name only when it is complete.

Some disks (FAT, network shares, gvfs) refuse to change modes, or to rename one file over another. Modes are then left
as they are; what is in the way is renamed first; and where nothing can be renamed, files are copied, the JSON files
that mark a result as complete last.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

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
    folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
    try:
        with _named(path):
            yield folder / path.name
        for written in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            (replace_folder if written.is_dir() else move)(written, path.parent / written.name)
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
            move(written, path / written.name)
    except BaseException:
        for started in path.iterdir():
            if started.is_dir() and started != holder:
                shutil.rmtree(started, ignore_errors=True)
            elif started != holder:
                started.unlink()
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Move a finished folder to `path`, on the same disk; what is there is deleted once it has gone in."""
    if not path.exists():
        move(new, path)
        return
    holder = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
    try:
        move(path, holder / "old")
        move(new, path)
    except BaseException:  # Ctrl-C as well: what was there must not vanish
        if (holder / "old").exists() and not path.exists():
            move(holder / "old", path)
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


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


def _moved_aside(old: Path, new: Path) -> bool:
    """Put a file in the place of another by renaming that one first; whether the disk allows it."""
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=new.parent)) / new.name
    try:
        new.replace(aside)
    except OSError:
        shutil.rmtree(aside.parent, ignore_errors=True)
        return False
    try:
        old.replace(new)
    except BaseException:
        aside.replace(new)
        raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)
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
    if path.is_dir():
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
        Path(tempfile.mkdtemp(prefix=".writing-", dir=folder)).rmdir()
    except OSError:
        return False
    return True


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
