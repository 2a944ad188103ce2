"""The examples in the docstrings of losses and training."""

import doctest
import importlib

import pytest

MODULES = (
    *("losses.adversarial", "losses.balance", "losses.contrastive", "losses.creps", "losses.distance"),
    *("training.distribution", "training.health", "training.processes"),
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_show_what_happens(name):
    failed, attempted = doctest.testmod(importlib.import_module(f"creps.{name}"))
    assert attempted > 0
    assert failed == 0
