"""A disk that refuses to rename, as some mounts of remote folders do."""

import errno
import os


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.ENOTSUP, "Operation not supported")


os.rename = os.replace = refuse
