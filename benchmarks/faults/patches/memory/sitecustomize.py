"""Memory that runs out: some seconds after its start, a process gets no more than it has and a little."""

import os
import re
import resource
import threading
from pathlib import Path

LITTLE = 2_000_000


def limit() -> None:
    has = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
    allowed = 1024 * int(has.group(1)) + LITTLE if has else LITTLE
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


timer = threading.Timer(float(os.environ["FAULT_SECONDS"]), limit)
timer.daemon = True
timer.start()
