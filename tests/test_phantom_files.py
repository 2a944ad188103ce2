"""The phantoms of a run are grown once and kept in files that give the same patches as those in memory."""

import json
import logging
import pickle

import numpy as np
import pytest

from creps.errors import TrainingError
from creps.settings import load_settings
from creps.training.run.train import train
from creps.training.simulation import describe_pairs, grow_phantoms, growth, simulated_pairs
from creps.training.simulation.growth import Crowd, grow_crowd
from creps.training.simulation.people import Person
from creps.training.simulation.phantoms import PhantomTeacher
from creps.training.step import TrainingStep
from tests.conftest import TINY

CROWD = Crowd.of("head", (5.0, 5.0, 5.0), 7)
ANATOMY = TINY | {
    "recipe": "anatomy", "preparation.spacing_mm": [5, 5, 5], "simulation.phantoms": 1, "simulation.phantom_share": 1,
}  # fmt: skip


@pytest.fixture
def grown(monkeypatch):
    """Numbers of the people that are grown in this process."""
    numbers, original = [], Crowd.grow
    monkeypatch.setattr(Crowd, "grow", lambda crowd, number: numbers.append(number) or original(crowd, number))
    return numbers


@pytest.mark.parametrize("voxels", [0, 1e12], ids=["several processes", "this process"])
def test_stored_people_give_the_patches_of_those_in_memory(tmp_path, monkeypatch, grown, voxels):
    monkeypatch.setattr(growth, "SERIAL_VOXELS", voxels)
    monkeypatch.setattr("creps.machine.cores", lambda: 2)
    grow_crowd(CROWD, 3, tmp_path / "p")
    assert (grown == []) == (voxels == 0)
    stored = CROWD.opened(tmp_path / "p", range(3))
    memory = [Person.of(CROWD.grow(number)) for number in range(3)]
    for one, other in zip(stored, memory, strict=True):
        assert not one.tissues.tissues.flags.writeable
        assert one.volumes == other.volumes
        assert list(one.volumes) == list(other.volumes)
        assert one.tissues.spacing_mm == other.tissues.spacing_mm
        for name in ("tissues", "shares", "body"):
            np.testing.assert_array_equal(getattr(one.tissues, name), getattr(other.tissues, name))
        np.testing.assert_array_equal(one.bone, other.bone)
        np.testing.assert_array_equal(one.inside, other.inside)
    teachers = [PhantomTeacher(people, (12, 20, 16), outside=True) for people in (stored, memory)]
    for seed in range(12):
        (mr, ct), (as_mr, as_ct) = (teacher.draw(np.random.default_rng(seed)) for teacher in teachers)
        np.testing.assert_array_equal(mr, as_mr)
        np.testing.assert_array_equal(ct, as_ct)


def test_other_processes_get_the_name_of_the_file_and_not_its_content(tmp_path):
    grow_crowd(CROWD, 1, tmp_path)
    person = CROWD.opened(tmp_path, [0])[0]
    sent = pickle.dumps(person)
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent).tissues.tissues, person.tissues.tissues)


def test_people_that_are_there_whole_are_not_grown_again(tmp_path, grown):
    grow_crowd(CROWD, 2, tmp_path)
    grow_crowd(CROWD, 3, tmp_path)
    assert grown == [0, 1, 2]


@pytest.mark.parametrize("harm", ["a byte", "cut", "gone", "not JSON", "other seed", "other code"])
def test_a_damaged_or_other_person_is_refused_and_grown_again(tmp_path, grown, caplog, harm):
    grow_crowd(CROWD, 2, tmp_path)
    before = (tmp_path / "001.npy").read_bytes()
    description = json.loads((tmp_path / "001.json").read_text())
    if harm == "a byte":
        (tmp_path / "001.npy").write_bytes(before[:5000] + bytes([before[5000] ^ 1]) + before[5001:])
    elif harm == "cut":
        (tmp_path / "001.npy").write_bytes(before[:-7])
    elif harm == "gone":
        (tmp_path / "001.npy").unlink()
    elif harm == "not JSON":
        (tmp_path / "001.json").write_text("{")
    else:
        description["key"] |= {"seed": 8} if harm == "other seed" else {"code": "0"}
        (tmp_path / "001.json").write_text(json.dumps(description))
    if harm != "a byte":  # which only the whole file tells
        with pytest.raises(TrainingError, match="grown again"):
            CROWD.opened(tmp_path, [0, 1])
    grow_crowd(CROWD, 2, tmp_path)
    assert grown == [0, 1, 1]
    assert "grown anew" in caplog.text
    assert (tmp_path / "001.npy").read_bytes() == before


def test_growth_leaves_off_when_asked_and_goes_on_later(tmp_path, grown):
    answers = iter([False, True])
    grow_crowd(CROWD, 4, tmp_path, lambda: next(answers))
    assert grown == [0, 1]
    grow_crowd(CROWD, 4, tmp_path)
    assert grown == [0, 1, 2, 3]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "p").write_text("a file")
    with pytest.raises(TrainingError, match=r"cannot be written to .*They need .* GB there"):
        grow_crowd(CROWD, 1, tmp_path / "p")


def test_nothing_is_grown_for_a_run_without_phantoms(tmp_path):
    chosen = load_settings(overrides=ANATOMY | {"simulation.phantom_share": 0})
    grow_phantoms(chosen, tmp_path / "p", lambda: False)
    assert not (tmp_path / "p").exists()
    assert simulated_pairs(chosen, tmp_path / "p").teacher is None


def test_a_resumed_run_reuses_its_phantoms_and_a_finished_one_needs_none(cohort, tmp_path, monkeypatch, grown, caplog):
    changes = {**ANATOMY, "training.checkpoint_every": 1, "training.validate_every": 1}
    del changes["preparation.spacing_mm"]
    original = TrainingStep.__call__

    def fails(self, mr, ct, number, simulated=None):
        if number == 2:
            raise OSError("the power is off")
        return original(self, mr, ct, number, simulated)

    monkeypatch.setattr(TrainingStep, "__call__", fails)
    chosen = load_settings(prepared=cohort.settings(), overrides=changes)
    with pytest.raises(OSError, match="power"):
        train(cohort, tmp_path / "run", chosen)
    assert grown == [0, 1, 2, 3]  # one to learn from, three for validation
    monkeypatch.setattr(TrainingStep, "__call__", original)
    with caplog.at_level(logging.INFO):
        train(cohort, tmp_path / "run", chosen, resume=True)
    assert grown == [0, 1, 2, 3]
    assert "4 of 4 phantom heads reused" in caplog.text
    assert not (tmp_path / "run" / "phantoms").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"simulation.phantom_share": 0.65}, "65 % from 1 digital phantoms (head), the others are MRs painted over"),
        ({"simulation.phantom_share": 1}, "all from 1 digital phantoms (head)"),
        ({"simulation.phantom_share": 0}, "all are MRs painted over the cohort's CTs"),
        ({"preparation.region": "thorax"}, "all are MRs painted over the cohort's CTs"),
    ],
)
def test_where_pairs_come_from_is_said_in_words(changes, words):
    assert describe_pairs(load_settings(overrides=ANATOMY | changes)).startswith(words)
