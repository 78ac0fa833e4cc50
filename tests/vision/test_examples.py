"""The examples in the docstrings of the room run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "activations",
    "datasets.dataset",
    "depth",
    "images",
    "jacobian",
    "layers",
    "network",
    "shown",
    "sources.published",
    "sources.source",
]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"manifoldscope.vision.{module}"))
    assert found.attempted
    assert not found.failed
