"""The phantoms of a run are grown once and kept in files that give the same patches as those in memory."""

import json
import logging
import multiprocessing
import os
import pickle
import signal
import time
from functools import partial

import numpy as np
import pytest

from creps.errors import RunInterruptedError, TrainingError
from creps.settings import load_settings
from creps.training.run.train import train
from creps.training.simulation import (
    BackgroundGrowth,
    check_phantoms,
    describe_pairs,
    grow_phantoms,
    growth,
    simulated_pairs,
)
from creps.training.simulation.growth import Crowd, drop_damaged, grow_crowd
from creps.training.simulation.pairs import SimulatedPairs
from creps.training.simulation.people import Person
from creps.training.simulation.phantoms import PhantomPairs, people_at
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
    grow_crowd(CROWD, range(3), tmp_path / "p")
    assert (grown == []) == (voxels == 0)
    stored = CROWD.awaited(tmp_path / "p", range(3))
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
    teachers = [PhantomPairs(people, (12, 20, 16), outside=True) for people in (stored, memory)]
    for seed in range(12):
        (mr, ct), (as_mr, as_ct) = (teacher.draw(np.random.default_rng(seed)) for teacher in teachers)
        np.testing.assert_array_equal(mr, as_mr)
        np.testing.assert_array_equal(ct, as_ct)


def test_other_processes_get_the_name_of_the_file_and_not_its_content(tmp_path):
    grow_crowd(CROWD, range(1), tmp_path)
    person = CROWD.awaited(tmp_path, [0])[0]
    sent = pickle.dumps(person)
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent).tissues.tissues, person.tissues.tissues)


def test_people_that_are_there_whole_are_not_grown_again(tmp_path, grown):
    grow_crowd(CROWD, range(2), tmp_path)
    grow_crowd(CROWD, range(3), tmp_path)
    assert grown == [0, 1, 2]


@pytest.mark.parametrize("harm", ["a byte", "cut", "gone", "not JSON", "other seed", "other code"])
def test_a_damaged_or_other_person_is_refused_and_grown_again(tmp_path, grown, caplog, harm):
    grow_crowd(CROWD, range(2), tmp_path)
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
            list(CROWD.awaited(tmp_path, [0, 1]))
    drop_damaged(CROWD, range(2), tmp_path)
    grow_crowd(CROWD, range(2), tmp_path)
    assert grown == [0, 1, 1]
    assert "grown anew" in caplog.text
    assert (tmp_path / "001.npy").read_bytes() == before


def test_growth_leaves_off_when_asked_and_goes_on_later(tmp_path, grown):
    grow_crowd(CROWD, range(4), tmp_path, lambda: len(grown) > 1)
    assert grown == [0, 1]
    grow_crowd(CROWD, range(4), tmp_path)
    assert grown == [0, 1, 2, 3]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "p").write_text("a file")
    with pytest.raises(TrainingError, match=r"cannot be written to .*They need .* GB there"):
        grow_crowd(CROWD, range(1), tmp_path / "p")


def test_nothing_is_grown_for_a_run_without_phantoms(tmp_path):
    chosen = load_settings(overrides=ANATOMY | {"simulation.phantom_share": 0})
    grow_phantoms(chosen, tmp_path / "p", lambda: False)
    assert not (tmp_path / "p").exists()
    assert simulated_pairs(chosen, tmp_path / "p").phantoms is None


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
    assert set(grown) == {0, 1, 2, 3}  # one to learn from, three for validation
    before = list(grown)
    monkeypatch.setattr(TrainingStep, "__call__", original)
    with caplog.at_level(logging.INFO):
        train(cohort, tmp_path / "run", chosen, resume=True)
    assert grown == before
    assert "4 of 4 phantom heads reused" in caplog.text
    assert not (tmp_path / "run" / "phantoms").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"simulation.phantom_share": 0.65}, "65 % from 1 digital phantoms (head), the others are MRs simulated from"),
        ({"simulation.phantom_share": 1}, "all from 1 digital phantoms (head)"),
        ({"simulation.phantom_share": 0}, "all are MRs simulated from the cohort's CTs"),
        ({"preparation.region": "thorax"}, "all are MRs simulated from the cohort's CTs"),
    ],
)
def test_where_pairs_come_from_is_said_in_words(changes, words):
    assert describe_pairs(load_settings(overrides=ANATOMY | changes)).startswith(words)


def test_patches_wait_for_people_that_are_still_growing(tmp_path):
    came = []

    def grow(_):
        for number in range(2):
            time.sleep(0.3)
            came.append(number)
            grow_crowd(CROWD, [number], tmp_path)

    with BackgroundGrowth(grow, tmp_path, lambda: False):
        people = CROWD.awaited(tmp_path, range(2))
        assert came == []
        assert people[1].volumes == Person.of(CROWD.grow(1)).volumes
        assert came == [0, 1]
    assert not (tmp_path / "growing").exists()


def test_a_resumed_run_opens_nobody_who_is_damaged(tmp_path, grown):
    chosen = load_settings(overrides=ANATOMY)
    grow_phantoms(chosen, tmp_path)
    content = bytearray((tmp_path / "000.npy").read_bytes())
    content[5000:6000] = bytes(1000)
    (tmp_path / "000.npy").write_bytes(content)
    check_phantoms(chosen, tmp_path)
    assert sorted(file.name for file in tmp_path.glob("*.json")) == ["001.json", "002.json", "003.json"]
    grow_phantoms(chosen, tmp_path)
    assert grown == [0, 1, 2, 3, 0]


def test_a_failed_growth_ends_the_run_with_its_own_reason(tmp_path):
    def fails(_):
        raise TrainingError("The disk is full.", "Make room.")

    with pytest.raises(TrainingError, match="The disk is full"), BackgroundGrowth(fails, tmp_path, lambda: False):
        CROWD.awaited(tmp_path, [0])[0]


def test_a_growth_is_left_within_seconds_and_its_processes_end(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "SERIAL_VOXELS", 0)
    monkeypatch.setattr("creps.machine.cores", lambda: 2)
    crowd = Crowd.of("head", (3.0, 3.0, 3.0), 7)
    before = set(multiprocessing.active_children())
    with BackgroundGrowth(partial(grow_crowd, crowd, range(100), tmp_path), tmp_path, lambda: False):
        crowd.awaited(tmp_path, [0])[0]
    assert set(multiprocessing.active_children()) <= before
    assert len(list(tmp_path.glob("*.json"))) < 20


def test_growth_leaves_the_training_its_memory(monkeypatch):
    monkeypatch.setattr("creps.machine.cores", lambda: 4)
    monkeypatch.setattr("creps.machine.available_bytes", lambda: 20e9)
    monkeypatch.setattr(growth, "SERIAL_VOXELS", 0)
    each = growth.BYTES_PER_PROCESS + growth.BYTES_PER_VOXEL * CROWD.voxels
    assert growth._jobs(CROWD, 10, 0.0) == 4
    assert growth._jobs(CROWD, 10, 16e9 - 2.5 * each) == 2
    assert growth._jobs(CROWD, 10, 30e9) == 1


def test_held_out_people_are_waited_for_by_nobody(tmp_path, grown):
    (tmp_path / "growing").touch()
    chosen = load_settings(overrides=ANATOMY)
    people = simulated_pairs(chosen, tmp_path, held_out=True).phantoms.people
    assert grown == [1, 2, 3]
    assert len(people) == 3


def test_early_steps_show_few_people_and_later_ones_all():
    assert [people_at(step, 5) for step in (0, 7, 8, 23, 24, 1000)] == [2, 2, 3, 4, 5, 5]
    assert people_at(None, 40) == 40
    memory = [Person.of(CROWD.grow(number)) for number in range(3)]
    shown = []

    class Noted(list):
        def __getitem__(self, place):
            shown.append(place)
            return super().__getitem__(place)

    teacher = PhantomPairs(Noted(memory), (8, 8, 8), outside=True, spacing_mm=(5.0, 5.0, 5.0))
    for step, most in ((0, {0, 1}), (8, {0, 1, 2})):
        shown.clear()
        for seed in range(30):
            teacher.draw(np.random.default_rng(seed), step)
        assert set(shown) == most


@pytest.mark.parametrize(("share", "step", "from_ct"), [(0.65, 7, True), (1.0, 7, False), (0.999999, 8, False)])
def test_the_first_steps_of_a_run_with_cts_wait_for_no_phantom(share, step, from_ct):
    """Only those that learn from phantoms alone ask for one."""
    nobody = PhantomPairs([], (8, 8, 8), outside=True, spacing_mm=(5.0, 5.0, 5.0))
    pairs = SimulatedPairs((8, 8, 8), (5.0, 5.0, 5.0), True, share, nobody)

    def window():
        return np.zeros((12, 12, 12), dtype=np.float32), np.ones((12, 12, 12), dtype=bool)

    for seed in range(20):
        if from_ct:
            assert pairs.draw(window, np.random.default_rng(seed), step)[1].shape == (8, 8, 8)
        else:
            with pytest.raises(ValueError, match="high"):  # there is nobody to draw from
                pairs.draw(window, np.random.default_rng(seed), step)


def test_a_short_run_grows_only_those_that_it_needs(tmp_path, grown):
    chosen = load_settings(overrides=ANATOMY | {"simulation.phantoms": 30})
    grow_phantoms(chosen, tmp_path / "p", steps=9)
    assert grown == [0, 1, 2, 30, 31, 32]


def test_a_signal_before_the_first_phantom_ends_a_run_that_can_go_on(cohort, tmp_path, monkeypatch):
    changes = {key: value for key, value in ANATOMY.items() if key != "preparation.spacing_mm"}
    chosen = load_settings(prepared=cohort.settings(), overrides=changes | {"simulation.phantoms": 3})

    def interrupted(crowd, numbers, folder, stops, reserved_bytes):
        os.kill(os.getpid(), signal.SIGINT)
        while not stops():
            time.sleep(0.05)

    with monkeypatch.context() as patched:
        patched.setattr("creps.training.simulation.pairs.grow_crowd", interrupted)
        with pytest.raises(RunInterruptedError, match="after step 0"):
            train(cohort, tmp_path / "run", chosen)
    train(cohort, tmp_path / "run", chosen, resume=True)
    assert (tmp_path / "run" / "model" / "plan.json").is_file()
