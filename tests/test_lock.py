"""The lock of CI has every requirement, at a version that pyproject.toml allows, with hashes."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1]
LOCK = PROJECT / ".ci" / "lock.txt"

pytestmark = pytest.mark.skipif(not LOCK.is_file(), reason="an installed package has no lock beside it")


def locked():
    """Normalised name → (version, marker, number of hashes) of every pin."""
    pins = {}
    for entry in re.split(r"\n(?=[a-z0-9])", "\n" + LOCK.read_text(encoding="utf-8")):
        if match := re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([^ ;\\]+)", entry):
            pins.setdefault(canonicalize_name(match[1]), []).append((match[2], entry.count("--hash=sha256:")))
    return pins


def requirements(extra):
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"]] if extra is None else extras[extra]
    for line in lines:
        requirement = Requirement(line)
        if requirement.name == "creps":
            for name in requirement.extras:
                yield from requirements(name)
        else:
            yield requirement


def test_every_requirement_is_pinned_within_its_bounds():
    """If this fails after a change of pyproject.toml: make lock."""
    pins = locked()
    for requirement in [*requirements(None), *requirements("dev")]:
        versions = [version for version, _ in pins.get(canonicalize_name(requirement.name), [])]
        assert versions, f"{requirement.name} is not in the lock: make lock"
        for version in versions:
            assert requirement.specifier.contains(version), f"the lock has {requirement.name} {version}: make lock"


def test_every_pin_has_a_hash():
    pins = locked()
    assert len(pins) > 200
    assert [name for name, found in pins.items() if any(not hashes for _, hashes in found)] == []


def test_the_lock_names_no_index_and_no_folder():
    """What resolved it may have been a mirror; a fresh machine asks PyPI."""
    text = LOCK.read_text(encoding="utf-8")
    assert "://" not in text
    assert "file:" not in text
    assert "--index" not in text
