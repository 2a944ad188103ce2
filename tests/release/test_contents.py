"""Wheel and sdist: the same bytes twice, what belongs in them, and a first hour with them alone."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from benchmarks.release.build import PROJECT, build_once, tracked
from benchmarks.release.contents import sdist_faults, wheel_faults
from benchmarks.release.install import FIRST_HOUR, first_hour

from tests import once

pytestmark = [pytest.mark.process, pytest.mark.needs("hatchling")]


@pytest.fixture(scope="module")
def built():
    """Wheel and sdist."""

    def make(folder):
        for path in build_once(folder / "build"):
            shutil.copyfile(path, folder / path.name)
        shutil.rmtree(folder / "build")

    folder = once.folder_made_once("wheel and sdist", make)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def test_wheel_and_sdist_hold_what_they_should(built):
    wheel, sdist = built
    names = tracked()
    assert wheel_faults(wheel, names) == []
    assert sdist_faults(sdist, names) == []
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.startswith(("tests/", "benchmarks/"))]


@pytest.mark.slow
def test_a_build_elsewhere_with_other_rights_and_times_gives_the_same_bytes(built, tmp_path):
    again = build_once(tmp_path / "quite another place", umask=0o077)
    for one, other in zip(built, again, strict=True):
        assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"creps/py.typed": None}, "creps/py.typed is missing"),
        ({"creps/report/vendor/NIIVUE-LICENSE.txt": None}, "NIIVUE-LICENSE.txt is missing"),
        ({"tests/test_x.py": b""}, "tests/test_x.py does not belong here"),
        ({"creps/patient.nii.gz": b"x"}, "creps/patient.nii.gz has a suffix"),
        ({"creps/shipped/head/generator.safetensors": b"x"}, "generator.safetensors is not what SHA256SUMS says"),
        ({"creps/hu.py": b"# /home/somebody/project"}, "creps/hu.py names a folder of a machine: /home/somebody"),
        ({"creps/large.json": os.urandom(3_000_000)}, "MB are allowed"),
    ],
)
def test_a_wheel_with_something_wrong_is_refused(built, change, said, tmp_path):
    changed = tmp_path / built[0].name
    with zipfile.ZipFile(built[0]) as old, zipfile.ZipFile(changed, "w") as new:
        for item in old.infolist():
            if item.filename not in change:
                new.writestr(item, old.read(item), compresslevel=1)
        for name, content in change.items():
            if content is not None:
                new.writestr(name, content)
    assert any(said in fault for fault in wheel_faults(changed, tracked()))


def test_the_sdist_has_a_suite_that_starts(built, tmp_path):
    """With its own tests, benchmarks and configuration, from the unpacked folder."""
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}", "CREPS_REQUIRE": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/test_units.py",
         "tests/test_lock.py", "tests/test_versioned.py"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_wheel_alone_serves_a_first_hour(built, tmp_path):
    """Its files in a folder of their own, from another working folder; only the dependencies are those of the tests."""
    site, folder = tmp_path / "site", tmp_path / "elsewhere"
    folder.mkdir()
    with zipfile.ZipFile(built[0]) as archive:
        archive.extractall(site)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    where = [sys.executable, "-c", "import creps; print(creps.__file__)"]
    imported = subprocess.run(where, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(imported.strip()).is_relative_to(site)
    rows = first_hour([sys.executable, "-m", "creps"], folder, environment)
    assert [row["failed"] for row in rows] == [None] * len(FIRST_HOUR)
    page = (folder / "sct_report.html").read_text(encoding="utf-8")
    assert "niivue" in page.lower()


def test_nothing_of_the_project_is_forgotten_by_the_sdist():
    """What tests and docs read beside the package is named in the sdist's list."""
    included = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    assert {"/tests", "/benchmarks", "/docs", "/mkdocs.yml", "/.ci"} <= set(included["include"])
