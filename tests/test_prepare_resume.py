"""A finished cohort that is gone on from: nothing of it vanishes."""

import errno
from pathlib import Path

import numpy as np
import pytest

from creps.cohort import staging
from creps.cohort.cohort import load_cohort
from creps.cohort.prepare import prepare
from creps.errors import CohortError, InputError, OutputExistsError
from creps.io.itk import write_volume
from tests.conftest import ball_head
from tests.test_prepare import settings
from tests.test_prepare_engine import folders

__all__ = ["folders"]


def test_resuming_keeps_splits_and_other_files_and_mends_the_cohort(folders, tmp_path):
    old = prepare(folders, tmp_path / "c", settings=settings())
    splits = {case.case: case.split for case in old.manifest.cases}
    (tmp_path / "c" / "notes.txt").write_text("mine")
    (tmp_path / "c" / "inspection").mkdir()
    arrays = {case.case: np.array(old.array(case)) for case in old.manifest.cases}
    names = [tmp_path / "c" / kind / name for kind, name in
             (("mr", "m0.npy"), ("mr", "m1.npy"), ("mr_body", "m2.npy"), ("ct", "c0.npy"))]  # fmt: skip
    names[0].unlink()
    np.save(names[1], np.zeros_like(arrays["m1"]))
    np.save(names[2], np.zeros(arrays["m2"].shape, np.float32))
    names[3].write_bytes(b"")
    with pytest.raises(CohortError, match="again with --resume"):
        old.array(next(case for case in old.manifest.cases if case.case == "c0"))
    for i in range(8):
        write_volume(ball_head(40 + i)[0], folders[0] / f"a{i}.nii.gz")
    new = prepare(folders, tmp_path / "d" / ".." / "c", settings=settings(**{"preparation.seed": 5}), resume=True)
    assert {case.case: case.split for case in new.manifest.cases if case.case in splits} == splits
    assert len(new.cases("mr", "validation")) == max(1, round(11 * settings().preparation.validation_fraction))
    for case in new.manifest.cases:
        assert new.body(case).any()
        if case.case in arrays:
            np.testing.assert_array_equal(new.array(case), arrays[case.case])
    assert (tmp_path / "c" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "c" / "inspection").exists()


def test_what_a_kill_left_half_written_is_no_part_of_the_cohort(folders, tmp_path):
    """A kill between two calls leaves a hidden folder that is not even begun: too young to be judged elsewhere."""
    for place in (".writing-one", "mr/.writing-two", "cases/.writing-three"):
        (tmp_path / "c.preparing" / place).mkdir(parents=True)
    prepare(folders, tmp_path / "c", settings=settings(), resume=True)
    assert load_cohort(tmp_path / "c").manifest.cases
    assert not list(tmp_path.rglob(".writing-*"))


def test_any_way_of_naming_the_cohort_keeps_it(folders, tmp_path, monkeypatch):
    prepare(folders, tmp_path / "c", settings=settings())
    (tmp_path / "link").symlink_to("c")
    for name in ("c/../c", "link", "c/."):
        prepare(folders, tmp_path / name, settings=settings(), resume=True)
        assert load_cohort(tmp_path / "c").manifest.cases
    assert (tmp_path / "link").is_symlink()
    monkeypatch.chdir(tmp_path / "c" / "mr")
    for name in (".", ".."):
        with pytest.raises((InputError, CohortError)):
            prepare(folders, Path(name), settings=settings(), resume=True)
    assert load_cohort(tmp_path / "c").manifest.cases


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    from creps.io.atomic import replace_folder

    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    original = Path.replace

    def interrupted(path, target):
        if path.name == "new":
            raise KeyboardInterrupt
        return original(path, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "old").exists()


def test_a_cohort_that_appears_meanwhile_is_not_replaced(folders, tmp_path, monkeypatch):
    from creps.cohort import prepare as module

    def slow(sources):
        (tmp_path / "c").mkdir()
        return original(sources)

    original = module.screen
    monkeypatch.setattr("creps.cohort.prepare.screen", slow)
    with pytest.raises(OutputExistsError):
        prepare(folders, tmp_path / "c", settings=settings())


def test_other_files_survive_a_cohort_that_could_not_be_replaced(folders, tmp_path, monkeypatch):
    prepare(folders, tmp_path / "c", settings=settings())
    (tmp_path / "c" / "notes.txt").write_text("mine")
    with monkeypatch.context() as patched:
        patched.setattr(staging, "replace_folder", refuse)
        with pytest.raises((InputError, OSError), match="busy"):
            prepare(folders, tmp_path / "c", settings=settings(), resume=True)
    (tmp_path / "c").rename(tmp_path / "elsewhere")
    with monkeypatch.context() as patched:  # stopped before the first case
        patched.setattr("creps.cohort.prepare._prepare_all", refuse)
        with pytest.raises((InputError, OSError), match="busy"):
            prepare(folders, tmp_path / "c", settings=settings())
    prepare(folders, tmp_path / "c", settings=settings())
    assert (tmp_path / "c" / "notes.txt").read_text() == "mine"


def refuse(*_):
    raise OSError(errno.EBUSY, "Device or resource busy", "c")
