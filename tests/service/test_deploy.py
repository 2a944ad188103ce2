"""What is installed with the service: the unit, the settings, the container file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from creps.service import read_service_settings
from creps.service.rules import check_rules

DEPLOY = Path(__file__).parents[2] / "deploy"
pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="an installed package has no deploy beside it")


@pytest.mark.needs("systemd-analyze")
@pytest.mark.process
def test_systemd_takes_the_unit(tmp_path):
    text = (DEPLOY / "creps-node.service").read_text()
    unit = tmp_path / "creps-node.service"
    unit.write_text(text.replace("/opt/creps/bin/creps", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, told) == (0, [])
    broken = tmp_path / "broken.service"
    broken.write_text(unit.read_text().replace("Type=exec", "Typo=exec"))
    done = subprocess.run(["systemd-analyze", "verify", broken], capture_output=True, text=True, check=False)
    assert "Typo" in done.stderr


def test_the_settings_are_read_and_closed():
    settings = read_service_settings(DEPLOY / "service.yaml")
    check_rules(settings.rules)
    assert settings.node.address == "127.0.0.1"
    assert [rule.model for rule in settings.rules] == ["head", "pelvis"]


def test_the_container_file_installs_and_starts_what_the_unit_does():
    container = (DEPLOY / "Containerfile").read_text()
    unit = (DEPLOY / "creps-node.service").read_text()
    started = re.search(r"ExecStart=\S+ (.+)", unit)[1].split()
    assert [f'"{word}"' for word in started] == re.search(r"CMD \[(\"node.+)\]", container)[1].split(", ")
    assert '"/src[service]"' in container
    assert "USER creps" in container
