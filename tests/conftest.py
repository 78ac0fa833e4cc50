"""What the tests share: real images and weights, where they are to be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _shared(variable: str, folder: str) -> Path:
    fallback = Path(__file__).resolve().parents[2] / "shared" / folder
    place = Path(os.environ.get(variable, fallback))
    if not place.is_dir():
        pytest.skip(f"needs real {folder}: set {variable} to the folder that holds them")
    return place


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; tests that ask for it are skipped where there is none."""
    return _shared("MANIFOLDSCOPE_DATA", "data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of real weights; tests that ask for it are skipped where there is none."""
    return _shared("MANIFOLDSCOPE_WEIGHTS", "weights")
