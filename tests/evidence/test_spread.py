"""How far classes lie apart: known coefficients, and noise that is what noise gives."""

from __future__ import annotations

import doctest
import sys

import numpy as np
import pytest

from manifoldscope.errors import StudyError
from manifoldscope.evidence import gini, spread


def test_the_gini_coefficient_is_half_the_relative_mean_difference() -> None:
    values = np.random.default_rng(0).random((3, 7))
    differences = np.abs(values[:, :, None] - values[:, None]).mean(axis=(1, 2))
    assert gini(values) == pytest.approx(differences / (2 * values.mean(axis=1)))
    assert gini([0.0, 0.0]) == 0
    assert gini(3 * values) == pytest.approx(gini(values))


def test_equal_classes_have_about_the_spread_of_noise_and_are_seldom_called_different() -> None:
    random = np.random.default_rng(0)
    found = [spread(random.binomial(50, 0.6, size=10), np.full(10, 50), draws=199, seed=seed) for seed in range(200)]
    for name in ("gini", "max_minus_min"):
        observed = np.array([getattr(each, name) for each in found])
        expected = np.array([getattr(each.noise, name) for each in found])
        # four standard errors of a mean of 200
        assert observed.mean() == pytest.approx(expected.mean(), abs=4 * observed.std() / np.sqrt(200))
    assert sum(each.seen for each in found) <= 19  # 5% of 200, and three standard deviations more


def test_expected_noise_is_that_of_the_binomial_distribution() -> None:
    found = spread([1, 1], [2, 2], draws=20_000).noise
    # two classes of two images at 1/2: shares 0, 1/2, 1 with weights 1/4, 1/2, 1/4
    assert found.max_minus_min == pytest.approx(3 / 8, abs=0.01)  # four standard errors
    assert found.minimum == pytest.approx(1 / 2 - 3 / 16, abs=0.01)
    assert (found.by_rank_low[0], found.by_rank_high[1]) == (0, 1)


def test_one_fragile_class_is_more_than_noise_and_the_choice_of_a_strength_counts() -> None:
    found = spread([0] + [45] * 9, [50] * 10)
    assert (found.max_minus_min, found.accuracy) == pytest.approx((0.9, 0.81))
    assert found.p_value == 1 / 2000
    assert found.seen
    assert found.noise.by_rank_low[0] > 0.5
    assert not spread([0] + [45] * 9, [50] * 10, n_settings=200).seen


def test_classes_that_are_all_robust_or_all_misclassified_or_alone_do_not_differ() -> None:
    for robust, images in (([0, 0], [5, 9]), ([5, 9], [5, 9]), ([3], [7])):
        found = spread(robust, images)
        assert (found.gini, found.max_minus_min, found.p_value) == (0, 0, 1)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(StudyError, match="more robust images than it has"):
        spread([6, 1], [5, 5])
    with pytest.raises(StudyError, match=r"n_robust \(0,\) and n_images \(0,\); expected a number of each per class"):
        spread([], [])
    for wrong in ({"n_settings": 0}, {"draws": 0}):
        with pytest.raises(StudyError, match="expected at least 1 of each"):
            spread([1, 2], [5, 5], **wrong)


def test_the_examples_run() -> None:
    assert doctest.testmod(sys.modules[spread.__module__]).failed == 0
