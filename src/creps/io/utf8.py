"""Names for libraries that take UTF-8 alone: ITK aborts the process over another name, safetensors refuses to read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from creps.errors import InputError

__all__ = ["utf8_path"]


@contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """Yield a name of a file that is UTF-8; a folder whose name is not is reached by a link.

    Raises:
        InputError: the file's own name is not UTF-8.
    """
    if not _is_utf8(path.name):
        raise InputError(f"{path} has a name that is not UTF-8.", "Rename the file.")
    if _is_utf8(str(path)):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "folder"
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield str(link / path.name)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
