"""A clock that jumps back a day, four seconds after the start of a process."""

import time

STARTED, DAY = time.monotonic(), 86400.0
real = time.time


def jumped() -> float:
    return real() - (DAY if time.monotonic() - STARTED > 4 else 0)


time.time = jumped
time.time_ns = lambda: int(jumped() * 1e9)
