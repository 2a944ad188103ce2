"""What is imported before anything is done: counted in modules, so that no clock decides."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

HEAVY = {"torch", "torchvision", "numpy", "scipy", "skimage", "SimpleITK", "matplotlib", "pydantic"}


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
        ("import creps.api.synthesis, creps.synthesis.batch", {"torchvision", "torch._dynamo", "onnxruntime"}),
        ("import creps.training.run.train", {"torchvision", "torch._dynamo", "tensorboard", "onnxruntime"}),
        ("import creps.evaluation.evaluate", {"torch", "torchvision"}),
        ("import creps.cohort.prepare", {"torch", "torchvision", "matplotlib"}),
        ("import creps.settings", HEAVY - {"pydantic"}),
        ("import creps.shipped.names, creps.shipped.catalogue, creps.doctor", HEAVY),
        ("import creps.demo.patients", {"torch", "torchvision"}),
        ("import creps.training.run.train, creps.synthesis.synthesize, creps.phantom.cohort", {"SimpleITK", "pydicom"}),
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


def test_the_default_recipe_trains_without_torchvision_and_tensorboard(cohort, tmp_path):
    """Both are extras; a recipe that needs one of them says so."""
    script = f"""
import sys
from pathlib import Path
sys.modules["torchvision"] = sys.modules["tensorboard"] = None
from creps.cohort.cohort import load_cohort
from creps.settings import load_settings
from creps.training.run.train import train
from tests.conftest import TINY
for weight in (0, 20):
    changes = {{"recipe": "anatomy", "creps.weight": weight, "training.steps": 1}}
    settings = load_settings(overrides=TINY | changes)
    train(load_cohort(Path("{cohort.folder}")), Path("{tmp_path}") / str(weight), settings)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "needs torchvision, which is not installed. Install it with pip install 'creps[paper]'" in done.stderr
    assert (tmp_path / "0" / "model" / "plan.json").is_file()
