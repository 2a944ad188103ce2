"""Disks that refuse modes, links or renaming, as FAT, CIFS and gvfs do: results are written all the same, and whole."""

import errno
import json
import os
import shutil
import stat
from pathlib import Path

import filelock
import pytest
import torch

from creps.cohort.staging import _link
from creps.errors import InputError, TrainingError
from creps.io.atomic import atomic_file, atomic_folder, filled_folder, move, write_json
from creps.io.lock import FolderLock
from creps.model import load_tensors, save_tensors
from creps.training.disk import try_checkpoint

REFUSALS = [
    PermissionError(errno.EPERM, "Operation not permitted"),
    OSError(errno.ENOTSUP, "Operation not supported"),
    PermissionError(errno.EACCES, "Permission denied"),
]


def refusing(error):
    def refuse(*_, **__):
        raise error

    return refuse


@pytest.fixture(params=REFUSALS, ids=["EPERM", "ENOTSUP", "EACCES"])
def refusal(request):
    return request.param


@pytest.fixture
def no_modes(monkeypatch, refusal):
    for name in ("chmod", "fchmod", "lchmod", "utime", "link", "chown"):
        if hasattr(os, name):
            monkeypatch.setattr(os, name, refusing(refusal))


@pytest.fixture
def no_rename_over(monkeypatch, refusal):
    real = os.replace

    def replace(old, new, **options):
        if Path(new).exists():
            raise refusal
        real(old, new, **options)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "rename", replace)


@pytest.fixture
def no_rename(monkeypatch, refusal):
    monkeypatch.setattr(os, "replace", refusing(refusal))
    monkeypatch.setattr(os, "rename", refusing(refusal))


def write_everything(folder):
    """Whatever creps writes, twice; returns what is then there."""
    for turn in ("first", "second"):
        write_json(folder / "record.json", {"turn": turn})
        with atomic_folder(folder / "step") as temporary:
            save_tensors(temporary / "t.safetensors", {"x": torch.full((3,), float(len(turn)))})
            write_json(temporary / "plan.json", {"turn": turn})
    (folder / "filled").mkdir()
    with filled_folder(folder / "filled", last="b") as temporary:
        (temporary / "a").write_text("a")
        (temporary / "b").write_text("b")
    try_checkpoint(folder / "checkpoints")


def check_everything(folder):
    assert json.loads((folder / "record.json").read_text()) == {"turn": "second"}
    assert json.loads((folder / "step" / "plan.json").read_text()) == {"turn": "second"}
    assert load_tensors(folder / "step" / "t.safetensors")["x"].tolist() == [6.0] * 3
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert left == {
        *("record.json", "step", "step/plan.json", "step/t.safetensors"),
        *("filled", "filled/a", "filled/b", "checkpoints"),
    }


def test_a_disk_without_modes(tmp_path, no_modes):
    write_everything(tmp_path)
    check_everything(tmp_path)


def test_a_disk_that_renames_nothing_over_another(tmp_path, no_modes, no_rename_over):
    write_everything(tmp_path)
    check_everything(tmp_path)


def test_a_disk_that_renames_nothing(tmp_path, no_modes, no_rename):
    write_everything(tmp_path)
    check_everything(tmp_path)


def test_a_disk_with_modes_gets_the_usual_one(tmp_path):
    save_tensors(tmp_path / "t.safetensors", {"x": torch.zeros(1)})
    assert stat.S_IMODE((tmp_path / "t.safetensors").stat().st_mode) == 0o644


def test_what_was_there_stays_when_its_successor_cannot_be_moved(tmp_path, monkeypatch):
    write_json(tmp_path / "record.json", {"turn": "first"})
    monkeypatch.setattr(os, "replace", refusing(OSError(errno.ENOSPC, "No space left on device")))
    monkeypatch.setattr(shutil, "copyfile", refusing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "record.json", {"turn": "second"})
    with pytest.raises(OSError, match="No space left"), atomic_folder(tmp_path / "new") as temporary:
        (temporary / "a").write_text("a")
    assert json.loads((tmp_path / "record.json").read_text()) == {"turn": "first"}
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_arrays_are_copied_where_they_cannot_be_linked(tmp_path, no_modes):
    (tmp_path / "a").write_bytes(b"values")
    _link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"values"


def test_a_disk_without_locks_is_locked_by_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(filelock.FileLock, "acquire", refusing(NotImplementedError("no flock here")))
    held = InputError("It is in use.", "Wait.")
    with FolderLock(tmp_path / "run", held), pytest.raises(InputError, match="in use"):
        FolderLock(tmp_path / "run", held).acquire()
    with FolderLock(tmp_path / "run", held):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_checkpoint_is_met_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "mkdir", refusing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(TrainingError, match=r"A checkpoint cannot be written to .* \(Permission denied\)"):
        try_checkpoint(tmp_path / "checkpoints")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_or_changes_what_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("creps.training.disk.sha256_file", lambda path: str(path))  # never twice the same
    with pytest.raises(TrainingError, match="reads otherwise"):
        try_checkpoint(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_atomic_files_take_their_companions_along(tmp_path, no_rename):
    with atomic_file(tmp_path / "x.mhd") as temporary:
        temporary.write_text("header")
        temporary.with_suffix(".raw").write_text("data")
    assert (tmp_path / "x.raw").read_text() == "data"
    assert (tmp_path / "x.mhd").read_text() == "header"


def test_what_marks_a_folder_as_complete_is_deleted_first(tmp_path, no_rename, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    for name in ("a.nii", "record.json", "z.nii"):
        (old / name).touch()

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        move(old, new)
    assert sorted(one.name for one in old.iterdir()) == ["a.nii", "z.nii"]
    assert len(list(new.iterdir())) == 3


def test_a_link_to_a_folder_is_moved_without_its_content(tmp_path, no_rename):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "record.json").touch()
    (tmp_path / "link").symlink_to("theirs")
    move(tmp_path / "link", tmp_path / "new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "theirs" / "record.json").is_file()
