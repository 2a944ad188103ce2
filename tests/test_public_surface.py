import ast
from importlib import import_module
from pathlib import Path

import pytest

import creps
from creps import errors

SOURCE = Path(creps.__file__).parent
PROJECT = SOURCE.parents[1]
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__main__.py")


def test_the_public_names():
    functions = {"evaluate", "load", "load_cohort", "load_settings", "prepare", "read_volume", "train", "write_volume"}
    assert set(creps.__all__) == functions | {"Cohort", "CrepsError", "Model", "Settings", "Volume", "__version__"}
    for name in creps.__all__:
        assert getattr(creps, name) is not None
    assert set(creps.__all__) <= set(dir(creps))
    with pytest.raises(AttributeError):
        creps.nothing  # noqa: B018


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_is_public_and_it_is_there(path):
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    module = import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    public = getattr(module, "__all__", None)
    if parts[-1] != "__init__":
        assert public is not None, f"{name} has no __all__"
    for item in public or []:
        assert hasattr(module, item)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 320
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (body[-1].end_lineno - body[0].lineno + 1) if body else 0
            assert length <= 55, f"{path}:{node.lineno} {node.name} has {length} lines"


def test_one_exception_tree_with_two_part_messages():
    for name in errors.__all__:
        error = getattr(errors, name)("What happened.", "What to do.")
        assert isinstance(error, creps.CrepsError)
        assert str(error) == "What happened. What to do."
