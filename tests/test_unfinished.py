"""What a killed process left half-written is tidied by the next one, and nothing else is."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

from creps.errors import InputError, file_error
from creps.io.atomic import atomic_file, atomic_folder, filled_folder
from creps.io.lock import FolderLock
from creps.io.unfinished import tidy_folder, unfinished_folder

pytestmark = pytest.mark.process

WRITES = """
import sys, time
from pathlib import Path
from creps.io.atomic import atomic_file
with atomic_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""

REPLACES = """
import os, signal, sys
from pathlib import Path
from creps.io import atomic
renamed = atomic.move
def move(old, new):
    if len(list(Path(sys.argv[1]).parent.glob(".writing-*/old/*"))):
        os.kill(os.getpid(), signal.SIGKILL)
    renamed(old, new)
atomic.move = move
with atomic.atomic_folder(Path(sys.argv[1])) as temporary:
    (temporary / "a").write_text("new")
"""


def started(code, path):
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def writer(tmp_path):
    """A process that is writing sct.nii.gz."""
    process = started(WRITES, tmp_path / "sct.nii.gz")
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def hidden(folder):
    return [one.name for one in folder.iterdir() if one.name.startswith(".writing-")]


def test_the_next_write_tidies_what_a_killed_process_left(tmp_path, writer):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(hidden(tmp_path)) == 1
    with atomic_file(tmp_path / "other.json") as temporary:
        temporary.write_text("{}")
    assert [one.name for one in tmp_path.iterdir()] == ["other.json"]


def test_what_another_process_is_writing_stays(tmp_path, writer):
    assert tidy_folder(tmp_path) == []
    assert len(hidden(tmp_path)) == 1


def test_what_this_process_is_writing_stays(tmp_path):
    with unfinished_folder(tmp_path) as folder:
        assert tidy_folder(tmp_path) == []
        assert folder.is_dir()
    assert hidden(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_what_this_process_is_writing_stays_when_its_child_ends(tmp_path):
    with unfinished_folder(tmp_path) as folder:
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0,))
        child.start()
        child.join()
        seen = subprocess.run(
            [sys.executable, "-c", "import sys, pathlib; from creps.io.unfinished import tidy_folder;"
             "print(tidy_folder(pathlib.Path(sys.argv[1])))", str(tmp_path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert seen.stdout.strip() == "[]"
        assert folder.is_dir()


def test_a_folder_that_was_to_be_replaced_is_put_back(tmp_path):
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "a").write_text("before")
    killed = started(REPLACES, tmp_path / "model")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()  # between two renames
    with atomic_file(tmp_path / "other.json") as temporary:
        temporary.write_text("{}")
    # this process has looked at the folder before it was killed, as a service may; a new one would have seen it
    tidy_folder(tmp_path)
    assert (tmp_path / "model" / "a").read_text() == "before"
    assert hidden(tmp_path) == []


def test_what_was_replaced_is_not_put_back(tmp_path):
    (tmp_path / "model").mkdir()
    abandoned = tmp_path / ".writing-x"
    (abandoned / "new").mkdir(parents=True)
    (abandoned / "old" / "model").mkdir(parents=True)
    (abandoned / "old" / "model" / "a").write_text("before")
    (abandoned / f"{os.uname().nodename}.lock").touch()
    assert tidy_folder(tmp_path) == [".writing-x"]
    assert list((tmp_path / "model").iterdir()) == []


@pytest.mark.parametrize("lock", ["elsewhere.lock", None])
def test_what_another_computer_or_a_disk_without_locks_may_be_writing_stays(tmp_path, lock):
    (tmp_path / ".writing-x" / "new").mkdir(parents=True)
    if lock:
        (tmp_path / ".writing-x" / lock).touch()
    assert tidy_folder(tmp_path) == []
    assert (tmp_path / ".writing-x" / "new").is_dir()


def test_a_process_that_has_only_begun_is_left_alone(tmp_path):
    (tmp_path / ".writing-x").mkdir()
    (tmp_path / ".writing-x" / f"{os.uname().nodename}.lock").touch()
    assert tidy_folder(tmp_path) == []


def test_a_disk_without_locks_is_written_to(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with atomic_file(tmp_path / "a.json") as temporary:
        temporary.write_text("{}")
        assert tidy_folder(tmp_path) == []
    assert [one.name for one in Path(tmp_path).iterdir()] == ["a.json"]


def test_an_array_that_found_no_space_is_said_to_have_found_none(tmp_path):
    said = str(file_error(OSError(errno.EIO, "28560 requested and 992 written", str(tmp_path / "m0.npy"))))
    assert "m0.npy: No space left on device." in said


@pytest.mark.parametrize("lock", [True, False])
def test_what_was_killed_before_it_wrote_is_deleted_when_it_is_old(tmp_path, lock):
    begun = tmp_path / ".writing-x"
    begun.mkdir()
    if lock:
        (begun / f"{os.uname().nodename}.lock").touch()
    os.utime(begun, (0, 0))
    assert tidy_folder(tmp_path) == [".writing-x"]
    assert not begun.exists()


def test_an_old_folder_of_somebody_with_such_a_name_stays(tmp_path):
    notes = tmp_path / ".writing-notes" / "thesis.txt"
    notes.parent.mkdir()
    notes.touch()
    (notes.parent / f"{os.uname().nodename}.lock").touch()
    os.utime(notes.parent, (0, 0))
    assert tidy_folder(tmp_path) == []
    assert len(list(notes.parent.iterdir())) == 2


def test_a_result_that_cannot_be_put_back_now_is_put_back_by_the_next_process(tmp_path, monkeypatch):
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "a").write_text("before")
    renamed, gone = Path.replace, OSError(errno.EIO, "Input/output error")

    def fails_after_the_first(old, new):
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(gone))
        monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(gone))
        return renamed(old, new)

    with pytest.raises(OSError, match="Input/output"), atomic_folder(tmp_path / "model") as temporary:
        monkeypatch.setattr(Path, "replace", fails_after_the_first)
    monkeypatch.undo()
    assert not (tmp_path / "model").exists()
    tidy_folder(tmp_path)
    assert (tmp_path / "model" / "a").read_text() == "before"
    assert hidden(tmp_path) == []


def test_a_folder_is_deleted_before_its_lock_is_released(tmp_path, monkeypatch):
    seen, released = [], filelock.FileLock.release

    def release(lock, *args, **options):
        seen.extend(hidden(tmp_path))
        released(lock, *args, **options)

    monkeypatch.setattr(filelock.FileLock, "release", release)
    with unfinished_folder(tmp_path):
        pass
    assert seen == []


def test_the_file_of_a_folders_lock_is_deleted_before_another_process_can_hold_it(tmp_path, monkeypatch):
    seen, released = [], filelock.FileLock.release

    def release(lock, *args, **options):
        seen.extend(tmp_path.iterdir())
        released(lock, *args, **options)

    monkeypatch.setattr(filelock.FileLock, "release", release)
    with FolderLock(tmp_path / "run", InputError("Held.", "Wait.")):
        assert list(tmp_path.iterdir())
    assert seen == []


def test_what_others_put_into_a_folder_meanwhile_stays_when_filling_it_fails(tmp_path):
    def failing():
        with filled_folder(tmp_path, last="b") as temporary:
            (temporary / "a").touch()
            (tmp_path / "theirs.txt").touch()
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        failing()
    assert [one.name for one in tmp_path.iterdir()] == ["theirs.txt"]
