"""A disk that refuses modes, links and times, as FAT and some network shares do."""

import errno
import os


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


for name in ("chmod", "fchmod", "lchmod", "utime", "link", "symlink", "chown"):
    if hasattr(os, name):
        setattr(os, name, refuse)
