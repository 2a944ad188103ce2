"""A sample of benchmarks/faults: commands that meet a fault fail by one sentence or end well, and lose nothing."""

import json

import pytest
from benchmarks.faults import campaign, kills, page
from benchmarks.faults.commands import VERBS, started, write_originals

pytestmark = [pytest.mark.process, pytest.mark.slow]

VERBS_HERE = ("evaluate", "synthesize")

SAMPLE = [
    ("no-rename", "synthesize", 0, ""),
    ("bytes", "synthesize", 0, ""),
    ("too-long", "evaluate", 1, "File name too long"),
    ("filling", "synthesize", 1, "No space left on device"),
    ("vanishing", "evaluate", 1, "does not exist"),
]


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """What the commands take, and an earlier result of each."""
    folder = tmp_path_factory.mktemp("originals")
    write_originals(folder)
    running = [started(folder, VERBS[verb].words.replace("OUT", VERBS[verb].output)) for verb in VERBS_HERE]
    assert [process.wait(120) for process in running] == [0, 0], (folder / "log.txt").read_text()
    (folder / "log.txt").unlink()
    return folder


@pytest.mark.parametrize(("fault", "verb", "code", "said"), SAMPLE, ids=[f"{one[0]}-{one[1]}" for one in SAMPLE])
def test_a_fault_costs_no_result(originals, tmp_path, monkeypatch, fault, verb, code, said):
    monkeypatch.setattr(VERBS[verb], "seconds", 0.0)  # inputs vanish at once
    result = campaign.tried(originals, fault, verb, tmp_path)
    if "skipped" in result:
        pytest.skip(result["skipped"])
    assert result["problems"] == []
    assert result["code"] == code
    assert said in result["said"]


@pytest.mark.parametrize("verb", ["synthesize", "train"])
def test_a_killed_command_leaves_nothing_and_ends_as_undisturbed(originals, tmp_path, verb):
    import shutil

    shutil.copytree(originals, tmp_path / "work")
    result = kills.campaign(tmp_path / "work", verb, kills=1, seed=1)
    assert (result["broken"], result["litter"]) == ([], [])
    assert result["same_result"]


def test_nothing_was_broken_by_the_kills_that_are_kept():
    kept = json.loads(kills.RESULTS.read_text(encoding="utf-8"))
    assert set(kills.KILLED) <= set(kept)
    assert kept["train"]["kills"] >= 50
    assert [(kept[verb]["broken"], kept[verb]["litter"]) for verb in kills.KILLED] == [([], [])] * len(kills.KILLED)
    assert all(kept[verb]["same_result"] for verb in kills.KILLED)


def test_the_page_shows_the_kept_results():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text) == text, "run python -m benchmarks.faults.page"
    faults = json.loads(campaign.RESULTS.read_text(encoding="utf-8"))["faults"]
    assert set(faults) == set(campaign.FAULTS)
    assert all(
        not result.get("problems") for row in faults.values() for result in row.values() if result != row["title"]
    )
