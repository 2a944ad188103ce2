"""No dependency connects, or writes into the home folder, because creps imports it."""

import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

import pytest

from creps.telemetry import COMMAND_LINE, switch_off

USERS_EXTRAS = ("cluster", "dose", "export", "paper", "service", "tensorboard")


def users_modules():
    """Top-level modules of every direct dependency that users install, extras included."""
    wanted = set()
    for line in requires("creps"):
        extra = re.search(r"extra == ['\"](\w+)", line)
        if extra is None or extra[1] in USERS_EXTRAS:
            wanted.add(_normal(re.match(r"[\w.-]+", line)[0]))
    provided = {m: {_normal(d) for d in found} for m, found in packages_distributions().items() if m.isidentifier()}
    modules = sorted(m for m, found in provided.items() if found & wanted and not m.startswith("_"))
    assert {"torch", "gdcm", "yaml", "PIL", "skimage", "SimpleITK"} <= set(modules)
    return [m for m in modules if m not in {"functorch", "torchgen"}]  # parts of torch that nobody imports


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def clean(tmp_path):
    """An environment without our variables, with a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in COMMAND_LINE}
    return environment | {"HOME": str(home), "MPLCONFIGDIR": str(tmp_path / "matplotlib"), "OMP_NUM_THREADS": "1"}


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS", raising=False)
    switch_off(COMMAND_LINE)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert os.environ["PYDANTIC_DISABLE_PLUGINS"] == "__all__"


@pytest.mark.process
def test_a_broken_pyproject_in_the_working_folder_does_not_stop_a_verb(clean, tmp_path):
    """Logfire, which pyRadPlan installs, reads it with the first pydantic model."""
    (tmp_path / "pyproject.toml").write_text("this is = = no TOML")
    done = subprocess.run(
        [sys.executable, "-m", "creps", "settings"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "training" in done.stdout


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.needs("strace")
def test_importing_every_dependency_connects_to_nothing_and_leaves_nothing_at_home(clean, tmp_path):
    """Seen by the kernel, so that compiled code is seen too; an export imports ONNX Runtime where creps does."""
    script = f"""
import importlib, time, warnings
warnings.simplefilter("ignore")
from creps.telemetry import COMMAND_LINE, switch_off
switch_off(COMMAND_LINE)
for name in {users_modules()!r}:
    importlib.import_module(name)
time.sleep(4)  # ONNX Runtime sends from a thread of its own
"""
    assert connections_of([sys.executable, "-c", script], clean, tmp_path) == []
    assert list((tmp_path / "home").rglob("*onnxruntime*")) == []


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.needs("strace")
def test_an_export_through_the_library_connects_to_nothing(clean, demo_model, tmp_path):
    script = f"""
import time, creps
creps.load({str(demo_model)!r}).export({str(tmp_path / "m.onnx")!r})
time.sleep(4)
"""
    assert connections_of([sys.executable, "-c", script], clean, tmp_path) == []
    assert list((tmp_path / "home").rglob("*onnxruntime*")) == []


def connections_of(command, environment, folder):
    """Lines of strace that reach for another machine; sockets of this machine's file system are none."""
    trace = folder / "trace.txt"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace), *command],
        env=environment, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line for line in trace.read_text().splitlines() if "AF_INET" in line or "sin6_" in line]


@pytest.mark.process
@pytest.mark.needs("strace")
def test_the_trace_shows_a_connection(clean, tmp_path):
    script = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 9))"
    assert len(connections_of([sys.executable, "-c", script], clean, tmp_path)) == 1
