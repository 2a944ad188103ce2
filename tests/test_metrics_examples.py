"""The examples in the docstrings of the metrics run, and every public metric has one."""

import doctest
import inspect
from importlib import import_module

import pytest

MODULES = ["image", "segmentation", "statistics", "synthrad", "tissues"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = import_module(f"creps.metrics.{name}")
    failed, attempted = doctest.testmod(module)
    assert attempted
    assert not failed
    functions = [one for one in module.__all__ if inspect.isfunction(getattr(module, one))]
    assert [one for one in functions if ">>>" not in (getattr(module, one).__doc__ or "")] == []
