"""Run the parts one after the other, each in a process of its own with a time limit, and keep what each has found.

A part that fails, hangs or is killed for memory takes nothing with it: what it had noted is in the result, the next
one starts. Results are written as they come.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.gpu.job import group_file, result_file
from benchmarks.gpu.parts import PHANTOMS, Part
from benchmarks.gpu.sizes import Sizes
from creps.io.atomic import write_json
from creps.provenance import provenance

__all__ = ["RESULTS", "Conductor"]

RESULTS = "results.json"
REPOSITORY = Path(__file__).resolve().parents[2]
LAST_SECONDS = 8.0
"""Of the job: kept for its own end."""
EVERY_SECONDS = 5.0
"""Between two writings of the results while a part runs."""
LOG_LINES = 12


class Process:
    """A part's process: loads everything, then waits for the word to go."""

    def __init__(self, part: Part, work: Path) -> None:
        self.part = part
        self.log = work / "logs" / f"{part.name}.txt"
        command = [sys.executable, "-m", "benchmarks.gpu.run_part", part.name, str(work)]
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.started: float | None = None
        self.limit = 0.0

    def go(self, seconds: float) -> None:
        """Let it run, so long at most."""
        self.started, self.limit = time.monotonic(), seconds
        stream = self.process.stdin
        if stream is not None:
            with suppress(OSError):  # it has died: the exit code says so
                stream.write(f"{seconds}\n".encode())
                stream.close()

    @property
    def seconds(self) -> float:
        """Since it was let go."""
        return 0.0 if self.started is None else time.monotonic() - self.started

    def end(self) -> None:
        """Kill it and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def last_lines(self) -> str:
        """Of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join([line for line in text.splitlines() if line.strip()][-LOG_LINES:])


class Conductor:
    """Runs the job.

    Args:
        sizes: How large everything is.
        minutes: The whole job may take.
        out: Folder for what comes back.
        work: Folder for what does not.
        job: Its name.
        parts: What it consists of.
    """

    def __init__(self, sizes: Sizes, minutes: float, out: Path, work: Path, job: str, parts: Sequence[Part]) -> None:
        self.sizes, self.out, self.work = sizes, out, work
        self.started = time.monotonic()
        self.ends = self.started + 60 * minutes - LAST_SECONDS
        self.chosen, self.minutes, self.job = list(parts), minutes, job
        self.parts: dict[str, dict[str, Any]] = {}
        self.processes: list[Process] = []
        self.running: Process | None = None
        self.written = 0.0

    def run(self) -> int:
        """Run everything; returns the exit code: 0 if every part came to its end, 1 if one did not."""
        for name in ("logs", "parts", "groups"):
            (self.work / name).mkdir(parents=True, exist_ok=True)
        groups = list(dict.fromkeys(group for part in self.chosen for group in (*part.needs, *part.later)))
        write_json(self.work / "job.json", {"out": str(self.out), "sizes": self.sizes.as_dict(), "groups": groups})
        phantoms = self.start(PHANTOMS) if groups else None
        try:
            if phantoms is not None:
                phantoms.go(min(self.limit_of(PHANTOMS), self.left()))
            self.conduct(phantoms)
        except KeyboardInterrupt:
            if self.running is not None:
                self.settle(self.running, "the job was stopped from outside")
            for part in self.chosen:
                self.parts.setdefault(part.name, {"status": "skipped", "reason": "the job was stopped from outside"})
        finally:
            if phantoms is not None and PHANTOMS.name not in self.parts:
                self.settle(phantoms, "the job ended before")
            for process in self.processes:
                process.end()
            code = int(any(part["status"] != "done" for part in self.parts.values()))
            self.write(exit_code=code)
            self.pack_logs()
        return code

    def conduct(self, phantoms: Process | None) -> None:
        """The parts in turn; the next one loads while one runs."""
        following = self.start(self.chosen[0]) if self.chosen else None
        for place, part in enumerate(self.chosen):
            process, later = following, self.chosen[place + 1 :]
            following = self.start(later[0]) if later else None
            reason = self.wait_for(part, phantoms, later)
            if process is None or reason is not None:
                self.parts[part.name] = {"status": "skipped", "reason": reason}
                self.say(part.name)
                continue
            seconds = self.allotted(part, later)
            if seconds < part.least:
                self.parts[part.name] = {"status": "skipped", "reason": "no time was left for it"}
                self.say(part.name)
                continue
            process.go(seconds)
            self.running = process
            while process.process.poll() is None and process.seconds < process.limit:
                time.sleep(0.1)
                self.look_after(phantoms)
                self.write_now_and_then(process)
            self.running = None
            self.settle(process)

    def look_after(self, phantoms: Process | None) -> None:
        """Note the end of what runs beside the parts, once, and stop it in time."""
        if phantoms is None or PHANTOMS.name in self.parts:
            return
        if phantoms.process.poll() is not None or phantoms.seconds > phantoms.limit:
            self.settle(phantoms)

    def start(self, part: Part) -> Process:
        """Start a part's process; it waits."""
        process = Process(part, self.work)
        self.processes.append(process)
        return process

    def settle(self, process: Process, stopped: str | None = None) -> None:
        """Note how a part ended; one that still runs is stopped, for want of time unless `stopped` says why."""
        name, code = process.part.name, process.process.poll()
        late = code is None
        seconds = round(process.seconds, 1)
        process.end()
        found = self.found(name)
        reason = found.pop("error", None)
        status = "done" if code == 0 else "failed"
        if late:
            status = "stopped" if stopped else "out of time"
            reason = stopped or f"stopped after its {process.limit:.0f} seconds"
        elif code != 0 and reason is None:
            reason = f"its process ended with exit code {code}"
        entry = {"status": status, "reason": reason, "seconds": seconds, "limit_seconds": round(process.limit, 1)}
        if status != "done":
            entry["log"] = process.last_lines()
        self.parts[name] = {**entry, "result": found}
        self.write()
        self.say(name)

    def say(self, name: str) -> None:
        """A line on the console."""
        part = self.parts[name]
        seconds = f" in {part['seconds']:.0f} s" if "seconds" in part else ""
        reason = f": {part['reason']}" if part.get("reason") else ""
        print(f"{time.monotonic() - self.started:6.0f} s  {name}: {part['status']}{seconds}{reason}", flush=True)

    def wait_for(self, part: Part, phantoms: Process | None, later: list[Part]) -> str | None:
        """Wait until a part's phantoms are there; why they or what it works on is not, or None."""
        if part.after is not None and not (self.found(part.after) or {}).get("arms"):
            return f"the part '{part.after}' left nothing to work on"
        while missing := [group for group in part.needs if not group_file(self.work, group).is_file()]:
            if phantoms is None or phantoms.process.poll() is not None or phantoms.seconds > phantoms.limit:
                return f"its phantoms were not grown: {', '.join(missing)}"
            if self.allotted(part, later) < part.least:
                return f"its phantoms were not there in time: {', '.join(missing)}"
            time.sleep(0.1)
            self.look_after(phantoms)
        return None

    def limit_of(self, part: Part) -> float:
        """Seconds after which a part is stopped; infinite for the one that takes what is left."""
        chosen = self.sizes.limits.get(part.name, part.seconds)
        return float("inf") if chosen is None else chosen

    def allotted(self, part: Part, later: list[Part]) -> float:
        """Seconds for a part: its limit, if the later ones keep what is reserved for them."""
        reserved = sum(min(one.reserved, self.limit_of(one)) for one in later)
        return min(self.limit_of(part), self.left() - reserved)

    def left(self) -> float:
        """Seconds of the whole job."""
        return self.ends - time.monotonic()

    def found(self, name: str) -> dict[str, Any]:
        """What a part has noted so far."""
        file = result_file(self.work, name)
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}

    def write_now_and_then(self, process: Process) -> None:
        """The results so far, with the part that runs."""
        if time.monotonic() - self.written > EVERY_SECONDS:
            found = self.found(process.part.name)
            self.write(
                {process.part.name: {"status": "running", "seconds": round(process.seconds, 1), "result": found}}
            )

    def write(self, running: dict[str, Any] | None = None, exit_code: int | None = None) -> None:
        """All results, whole or not at all."""
        self.written = time.monotonic()
        peak = self.parts.get("peak", {}).get("result", {})
        whole = {
            **provenance(),
            "job": self.job,
            "rehearsal": self.sizes.device == "cpu",
            "device": peak.get("device"),
            "minutes": self.minutes,
            "seconds": round(time.monotonic() - self.started, 1),
            "exit_code": exit_code,
            "sizes": self.sizes.as_dict(),
            "parts": {**self.parts, **(running or {})},
        }
        write_json(self.out / RESULTS, self.without_paths(whole))

    def without_paths(self, value: Any) -> Any:
        """The same without any folder of this machine."""
        if isinstance(value, str):
            for path, name in ((self.work, "WORK"), (self.out, "OUT"), (REPOSITORY, "."), (Path.home(), "~")):
                value = value.replace(str(path), name) if str(path) != "/" else value
            return value
        if isinstance(value, dict):
            return {key: self.without_paths(one) for key, one in value.items()}
        return [self.without_paths(one) for one in value] if isinstance(value, (list, tuple)) else value

    def pack_logs(self) -> None:
        """What the parts have said, as one file."""
        with zipfile.ZipFile(self.out / "logs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((self.work / "logs").glob("*.txt")):
                archive.write(file, file.name)
