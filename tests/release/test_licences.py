"""What comes with creps: licences, and the list of all parts."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from benchmarks.release.closure import USERS_EXTRAS, closure, parents
from benchmarks.release.licences import is_copyleft, licence_of, page, refused

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "licences.md"


def with_all_extras():
    try:
        return closure(USERS_EXTRAS)
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")


def test_creps_brings_nothing_under_the_gpl():
    assert refused(closure()) == []


def test_no_extra_brings_anything_under_the_gpl():
    assert refused(with_all_extras()) == []


@pytest.mark.parametrize(
    ("licence", "bound"),
    [
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0-only", True),
        ("MIT AND GPL-2.0-only", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GPL-2.0-only OR MIT", False),
        ("LGPL-2.1-or-later", False),
        ("BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("Apache-2.0", False),
    ],
)
def test_what_counts_as_copyleft(licence, bound):
    assert is_copyleft(licence) is bound


def test_a_package_without_a_licence_is_refused(tmp_path, monkeypatch):
    info = tmp_path / "mystery-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mystery\nVersion: 1.0\n")
    from importlib.metadata import PathDistribution

    assert refused({"mystery": PathDistribution(info)}) == ["mystery 1.0: unknown"]


def test_the_closure_follows_requirements_of_requirements():
    names = closure()
    assert {"torch", "numpy", "pydantic-core", "markupsafe"} <= set(names)
    assert "pytest" not in names
    assert "creps" not in names
    assert "pydantic" in parents()["pydantic-core"]


def test_the_page_lists_every_package_of_creps_itself():
    """Versions may be others; a package that joins or leaves is a reason for `make licences`."""
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in closure() if not name.startswith(("nvidia", "cuda")) and f"| {name} |" not in text] == []
    with_all_extras()
    assert page().splitlines()[0] == text.splitlines()[0]


@pytest.mark.needs("cyclonedx")
def test_the_list_of_parts_is_valid_and_has_viewer_and_models():
    with_all_extras()
    from benchmarks.release.sbom import sbom
    from cyclonedx.output.json import JsonV1Dot6

    document = json.loads(JsonV1Dot6(sbom()).output_as_string())
    parts = {part["name"]: part for part in document["components"]}
    assert len(parts["@niivue/niivue"]["hashes"][0]["content"]) == 64
    assert {"creps/head", "creps/pelvis", "torch", "zarrita"} <= set(parts)
    assert all(part["licenses"] for part in parts.values())
    (root,) = (row for row in document["dependencies"] if row["ref"].startswith("pkg:pypi/creps@"))
    assert any(ref.startswith("pkg:pypi/torch@") for ref in root["dependsOn"])


def test_every_package_has_a_licence_that_can_be_read():
    assert {licence_of(name, each) for name, each in closure().items()} >= {"BSD-3-Clause", "MIT"}
