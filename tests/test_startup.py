"""What is imported before anything is done: counted in modules, so that no clock decides."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

HEAVY = {"torch", "torchvision", "lightning", "numpy", "scipy", "skimage", "SimpleITK", "matplotlib", "pydantic"}


def modules_after(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(("code", "most"), [("import creps", 40), ("import creps.cli", 140)])
def test_start_up_imports_few_modules(code, most):
    own = modules_after(code) - modules_after("")
    assert not own & HEAVY
    assert len(own) <= most, sorted(own)


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import creps.api, creps.synthesis.files", {"lightning", "torchvision", "torchmetrics", "onnxruntime"}),
        ("import creps.evaluation.evaluate", {"torch", "lightning", "torchvision"}),
        ("import creps.cohort.prepare", {"torch", "lightning", "torchvision", "matplotlib"}),
        ("import creps.settings", HEAVY - {"pydantic"}),
    ],
)
def test_a_verb_imports_what_it_needs_and_no_more(code, without):
    assert not modules_after(code) & without


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("0", "0")])
def test_large_pages_are_asked_for_before_torch_comes_unless_the_user_says_otherwise(given, used):
    code = "import os, sys; sys.argv = ['creps', '--version']; from creps.cli import main; main()"
    code += "; print(os.environ['THP_MEM_ALLOC_ENABLE'], 'torch' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key != "THP_MEM_ALLOC_ENABLE"}
    if given is not None:
        environment["THP_MEM_ALLOC_ENABLE"] = given
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split()[-2:] == [used, "False"]


def test_the_version_is_known_without_being_looked_up_at_import():
    assert "importlib.metadata" not in modules_after("import creps")
    done = subprocess.run(
        [sys.executable, "-c", "import creps; print(creps.__version__)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip()[0].isdigit()
