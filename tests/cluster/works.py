"""Work for jobs, which import it from here. It notes in a file what was done, and some of it kills its job."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from creps.errors import InputError
from creps.parallel import Work


def note(book, what):
    with Path(book).open("a") as file:
        file.write(f"{what}\n")


def notes(book):
    return Path(book).read_text().split() if Path(book).exists() else []


def kill_this_job():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def jobs_of_slurm():
    said = subprocess.run(["squeue", "--noheader", "--format=%i"], capture_output=True, text=True, check=True)
    return said.stdout.split()


def wait_for(what):
    for _ in range(600):
        if what():
            return
        time.sleep(0.1)
    raise AssertionError("it never happened")


@dataclass(frozen=True)
class Squaring(Work):
    """Squares numbers; a task is (number, what happens): ``slow``, ``deadly``, ``deadly once``, ``wrong``."""

    book: Path

    def do(self, task):
        number, event = task
        if event == "slow" and not (self.book.parent / "hurry").exists():
            note(self.book, f"slow{number}")
            time.sleep(300)
        if event == "deadly" or (event == "deadly once" and f"lost{number}" not in notes(self.book)):
            note(self.book, f"lost{number}")
            kill_this_job()
        if event == "wrong":
            raise InputError(f"{number} is wrong.", "Give another.")
        note(self.book, number)
        return number**2, os.environ["OMP_NUM_THREADS"]

    def lost(self, task, died):
        return died.how, died.remedy

    def key(self, task):
        return f"{task} {self.book}"


@dataclass(frozen=True)
class Writing(Work):
    """Writes a file, which is its task; one that begins with "ours" is of this work."""

    def do(self, task):
        task.write_text("ours")
        return "written"

    def lost(self, task, died):
        return died.how

    def key(self, task):
        return str(task)

    def trace(self, task):
        return task.read_text() if task.exists() else None

    def found(self, task):
        return "found" if task.read_text().startswith("ours") else None
