"""Services for tests: settings, a node as a process of its own, senders."""

import json
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom import AE

from creps.service import ServiceSettings
from creps.service.overview import overview
from creps.service.run import run_node
from tests.archive import free_port

LEAK = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom's sockets


def tiny_model(folder):
    """A small model that takes every MR."""
    shutil.copytree(Path(__file__).parents[1] / "data" / "former", folder)
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "intake": None}))
    return folder


def settings(model, **changes):
    """One rule for everything, results whatever the checks say, no waiting."""
    rules = [{"name": "all", "model": str(model), "on_qa_fail": "send", **changes.pop("rule", {})}]
    content = {"rules": rules, "settle_seconds": 0.3, "limits": {"free_gb": 0.1}, **changes}
    return json.loads(ServiceSettings(**content).model_dump_json())


def orthanc_as(port, **changes):
    return {"name": "archive", "host": "127.0.0.1", "port": port, "ae_title": "ORTHANC", **changes}


@contextmanager
def node_thread(folder, chosen):
    """A node in this process; its port."""
    port = free_port()
    chosen = ServiceSettings(**{**chosen, "node": {**chosen.get("node", {}), "port": port}})
    stop, failed = threading.Event(), []

    def run():
        try:
            run_node(folder, chosen, stop=stop)
        except Exception as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(lambda: failed or listens(port))
        if failed:
            raise failed[0]
        yield port
    finally:
        stop.set()
        thread.join(60)
    assert not failed, failed


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def send(port, files, *, called="CREPS", calling="SCANNER", kinds=(MRImageStorage, CTImageStorage), **tls):
    """C-STORE files; their status codes; None for those that found no answer."""
    entity = AE(calling)
    for kind in kinds:
        entity.add_requested_context(kind)
    link = entity.associate("127.0.0.1", port, ae_title=called, **tls)
    if not link.is_established:
        return None
    codes, raw = [], link.dul.socket.socket
    for path in files:
        if not link.is_established:
            codes.append(None)
            continue
        try:
            codes.append(getattr(link.send_c_store(dcmread(path)), "Status", None))
        except (RuntimeError, ValueError):  # it was cut, or the kind was not negotiated
            codes.append(None)
    if link.is_established:
        link.release()
    if raw is not None:  # it was cut at once
        raw.close()  # pynetdicom does not, when the other side ended the connection
    return codes


def jobs(folder):
    return overview(folder).jobs if (folder / "service.sqlite").is_file() else ()


def all_in(folder, state, count):
    """Whether there are so many jobs, all in one state."""
    found = jobs(folder)
    return len(found) == count and all(job.state == state for job in found)
