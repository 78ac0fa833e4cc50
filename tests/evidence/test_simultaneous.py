"""Intervals that hold for every class at once, and the ranks that they leave open."""

from __future__ import annotations

import doctest
import sys

import numpy as np
import pytest

from manifoldscope.evidence import joint_ranks, simultaneous


def test_one_class_has_the_exact_interval_and_none_has_no_interval() -> None:
    low, high = simultaneous(np.array([0.0, 0.0]), np.array([50.0, 0.0]))
    assert low[0] == 0
    assert high[0] == pytest.approx(1 - 0.025 ** (1 / 50))  # the p at which no success in 50 has 2.5%
    assert np.isnan([low[1], high[1]]).all()
    low, high = simultaneous(np.array([50.0]), np.array([50.0]))
    assert (low[0], high[0]) == (pytest.approx(0.025 ** (1 / 50)), 1)


@pytest.mark.parametrize("accuracy", [0.02, 0.5])
def test_all_intervals_hold_at_once_in_95_of_100_studies_near_0_too(accuracy: float) -> None:
    random = np.random.default_rng(0)
    images = np.full(30, 40.0)
    truth = np.full(30, accuracy)
    held = lowest_held = 0
    for _ in range(500):
        robust = random.binomial(40, truth).astype(float)
        low, high = simultaneous(robust, images)
        held += bool(np.all((low <= truth) & (truth <= high)))
        worst = int(np.argmin(robust))
        lowest_held += bool(low.min() <= truth.min() <= high[worst])
    assert held >= 461  # 0.95 of 500, less three standard deviations
    assert lowest_held >= held


def test_ranks_that_cannot_be_told_apart_stay_open_and_hold_at_once() -> None:
    first, last = joint_ranks(np.array([0.3, 0.3, 0.3]), np.array([0.4, 0.5, 0.6]))
    assert (first.tolist(), last.tolist()) == ([1, 1, 1], [3, 3, 3])
    random, truth, held = np.random.default_rng(1), np.linspace(0.1, 0.9, 10), 0
    for _ in range(300):
        robust = random.binomial(50, truth).astype(float)
        first, last = joint_ranks(*simultaneous(robust, np.full(10, 50.0)))
        held += bool(np.all((first <= np.arange(1, 11)) & (np.arange(1, 11) <= last)))
    assert held >= 285 - 12  # three standard deviations
    assert last[0] < 10  # and they do tell something


def test_the_examples_run() -> None:
    assert doctest.testmod(sys.modules[simultaneous.__module__]).failed == 0
