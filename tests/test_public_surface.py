import ast
import subprocess
import sys
from pathlib import Path

import pytest

import creps
from creps import errors

SOURCE = Path(creps.__file__).parent
PROJECT = SOURCE.parents[1]
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__main__.py")


def test_the_public_names():
    functions = {
        "compare_dose",
        "evaluate",
        "load",
        "load_cohort",
        "load_settings",
        "models",
        "prepare",
        "read_volume",
        "train",
        "write_report",
        "write_volume",
    }
    assert set(creps.__all__) == functions | {"Cohort", "CrepsError", "Model", "Settings", "Volume", "__version__"}
    for name in creps.__all__:
        assert getattr(creps, name) is not None
    assert set(creps.__all__) <= set(dir(creps))
    with pytest.raises(AttributeError):
        creps.nothing  # noqa: B018


WINDOWS_LACKS = {
    "_posixsubprocess", "crypt", "curses", "fcntl", "grp", "nis", "ossaudiodev", "posix", "pty", "pwd", "readline",
    "resource", "spwd", "syslog", "termios", "tty",
}  # fmt: skip
SYSTEM_ONLY = {
    "os": {
        "fork", "forkpty", "getgid", "geteuid", "getpgid", "getuid", "killpg", "mkfifo", "nice", "posix_fadvise",
        "sched_getaffinity", "setsid", "statvfs", "sysconf", "uname", "wait",
    },
    "signal": {"SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "alarm", "pause", "setitimer"},
    "time": {"tzset"},
}  # fmt: skip
"""Module → what it has on Unix alone."""


@pytest.mark.process
def test_no_module_imports_what_windows_lacks():
    """Every module is imported by a Python in which ours cannot find them; what functions import is read."""
    code = f"""
import builtins, importlib, pkgutil
imports = builtins.__import__
def without(name, globals=None, *more, **named):
    ours = str((globals or {{}}).get("__name__", "")).partition(".")[0] == "creps"
    if ours and name.partition(".")[0] in {WINDOWS_LACKS}:
        raise ModuleNotFoundError(f"{{globals['__name__']}} imports {{name}}, which Windows lacks")
    return imports(name, globals, *more, **named)
builtins.__import__ = without
import creps
for found in pkgutil.walk_packages(creps.__path__, "creps."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
        print(found.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 100
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            lacking = {name.partition(".")[0] for name in named} & WINDOWS_LACKS
            assert not lacking, f"{path}:{node.lineno} imports {lacking}, which Windows lacks"


def test_what_only_unix_has_is_asked_for_first():
    """``os.sched_getaffinity`` and the like only in a function or module that asks ``hasattr`` for it."""
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            of_module = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if of_module and node.attr in SYSTEM_ONLY.get(node.value.id, ()):
                asked = f'hasattr({node.value.id}, "{node.attr}")'
                assert asked in text, f"{path}:{node.lineno} {node.value.id}.{node.attr}: ask {asked} first"


def test_one_exception_tree_with_two_part_messages():
    for name in (name for name in errors.__all__ if name.endswith("Error")):
        error = getattr(errors, name)("What happened.", "What to do.")
        assert isinstance(error, creps.CrepsError)
        assert str(error) == "What happened. What to do."
