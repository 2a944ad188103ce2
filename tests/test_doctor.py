"""``creps doctor``: what it says of a machine, and of one on which something is missing."""

import json
import subprocess
import sys
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest

from creps import doctor
from creps.errors import ModelError
from tests.test_cli import run


def found(name):
    return next(finding for finding in doctor.examine_machine() if finding.name == name)


def test_a_working_machine_has_nothing_broken(capsys):
    assert run("doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    assert 8 <= len(lines) <= 12
    assert {line.split()[0] for line in lines} <= {"ok", "note"}
    assert run("doctor", "--json") == 0
    findings = json.loads(capsys.readouterr().out)
    assert [set(finding) for finding in findings] == [{"name", "state", "found", "remedy"}] * len(lines)


@pytest.mark.process
def test_it_works_without_torch_and_says_so():
    code = "import sys; sys.modules['torch'] = None; sys.argv = ['creps', 'doctor']; from creps.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("broken"))
    assert "torch" in line
    assert "Install it anew" in line
    assert "Traceback" not in done.stderr


def test_missing_extras_come_with_the_command_that_installs_them(monkeypatch):
    there = doctor.installed_version
    others = {"onnxscript": None, "pyRadPlan": "0.5", "pymedphys": "0.41", "numba": "0.61", "submitit": "1.5.4"}
    others |= {"pynetdicom": "3.0.2", "cryptography": "44.0"}
    monkeypatch.setattr(doctor, "installed_version", lambda name: others.get(name, there(name)))
    finding = found("extras")
    assert finding.state == "note"
    assert finding.remedy == "pip install 'creps[export]'"


def test_every_extra_for_users_is_known():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    assert doctor.EXTRAS.keys() == extras.keys() - {"dev", "docs", "release"}
    for name, (packages, _) in doctor.EXTRAS.items():
        assert all(any(line.startswith(package) for line in extras[name]) for package in packages)


def test_a_missing_package_is_broken(monkeypatch):
    there = doctor.installed_version
    monkeypatch.setattr(doctor, "installed_version", lambda name: None if name == "pydicom" else there(name))
    assert found("python").state == "broken"
    assert "missing: pydicom" in found("python").found


def test_damaged_models_are_broken(monkeypatch):
    def damaged():
        raise ModelError("plan.json is damaged.", "Install creps again.")

    monkeypatch.setattr("creps.shipped.catalogue.verify", damaged)
    assert found("models") == doctor.Finding("models", "broken", "plan.json is damaged", "Install creps again.")


def test_little_memory_and_disk_are_noted(monkeypatch):
    monkeypatch.setattr(doctor, "available_bytes", lambda: 1_000_000_000)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage(10, 10, 100_000_000))
    assert found("memory").state == "note"
    assert found("disk here").state == "note"


def test_bfloat16_units_are_named(monkeypatch):
    for answer, text in (("fp32", "no bfloat16 units"), ("bf16", "bfloat16 units: 1.3 to 4 times")):
        monkeypatch.setattr(doctor, "resolve_precision", lambda *_, answer=answer: answer)
        assert text in found("CPU").found
