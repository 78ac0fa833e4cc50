"""Attack sinks: one that is planted is found, and equal shares have none."""

from __future__ import annotations

import doctest
import sys

import numpy as np
import polars as pl
import pytest

from manifoldscope.evidence import Sinks, sinks


def confused(counts: np.ndarray) -> pl.DataFrame:
    """(n, n) images of the row's class that are misclassified as the column's."""
    rows, columns = np.nonzero(counts)
    names = ("class_index", "other_class_index", "n_into")
    return pl.DataFrame(dict(zip(names, (rows, columns, counts[rows, columns]), strict=True)))


def drawn(weights: np.ndarray, n_misclassified: np.ndarray, random: np.random.Generator) -> pl.DataFrame:
    """Images of each class, misclassified as others in proportion to the weights of these."""
    n = len(weights)
    shares = np.tile(weights, (n, 1)) * (1 - np.eye(n))
    shares /= shares.sum(axis=1, keepdims=True)
    return confused(
        np.stack([random.multinomial(each, row) for each, row in zip(n_misclassified, shares, strict=True)])
    )


def test_a_planted_sink_is_found_with_its_share_and_no_other() -> None:
    weights = np.ones(10)
    weights[4] = 4
    found = sinks(drawn(weights, np.full(10, 30), np.random.default_rng(0)), 10)
    assert [sink.class_index for sink in found.found] == [4]
    (sink,) = found.found
    assert (sink.n_misclassified, sink.equal_share) == (270, pytest.approx(0.1))
    assert sink.share == pytest.approx(0.9 * 4 / 12, abs=0.08)  # three standard errors
    assert sink.n_sources == 9
    assert not sink.of_one_class
    assert sum(each.n_into for each in found.into) == found.n_misclassified == 300


def test_equal_shares_have_a_sink_in_at_most_5_of_100_studies_though_classes_are_not_equally_fragile() -> None:
    random = np.random.default_rng(1)
    fragile = np.array([0, 2, 5, 10, 20, 30, 40, 60, 80, 100])
    with_sinks = sum(bool(sinks(drawn(np.ones(10), fragile, random), 10).found) for _ in range(300))
    assert with_sinks <= 26  # 5% of 300, and three standard deviations more


def test_the_p_value_is_that_of_the_binomial_distribution_and_holm_counts_every_class() -> None:
    from scipy.stats import binom

    counts = np.zeros((5, 5), dtype=int)
    counts[0, 1], counts[0, 2], counts[2, 1], counts[1, 3] = 6, 2, 3, 4
    first, second, third = sinks(confused(counts), 5).into
    assert (first.class_index, first.n_into, first.n_misclassified) == (1, 9, 11)
    assert first.p_value == pytest.approx(binom.sf(8, 11, 1 / 4))
    assert first.p_adjusted == pytest.approx(5 * first.p_value)
    assert (second.class_index, second.n_misclassified) == (3, 15)
    assert second.p_value == pytest.approx(binom.sf(3, 15, 1 / 4))
    assert second.p_adjusted == pytest.approx(min(1, 4 * second.p_value))
    assert (first.largest_source, first.n_from_largest) == (0, 6)
    assert first.p_without_largest == pytest.approx(5 * binom.sf(2, 3, 1 / 4))
    assert third.n_into == 2


def test_two_classes_that_are_confused_are_told_from_a_sink_of_many() -> None:
    counts = np.ones((10, 10), dtype=int)
    np.fill_diagonal(counts, 0)
    counts[7, 2] = 60
    (sink,) = sinks(confused(counts), 10).found
    assert (sink.class_index, sink.largest_source, sink.of_one_class) == (2, 7, True)


def test_classes_that_were_not_attacked_are_sinks_too_and_images_without_logits_are_of_no_class() -> None:
    rows = {"class_index": [0, 1, 2, 2], "other_class_index": [9, 9, 9, -1], "n_into": [5, 6, 7, 3]}
    found = sinks(pl.DataFrame(rows), 100)
    assert (found.n_misclassified, found.n_not_finite) == (18, 3)
    assert [sink.class_index for sink in found.found] == [9]


def test_nothing_is_said_where_nothing_is_misclassified_or_only_one_other_class_is_there() -> None:
    assert sinks(confused(np.zeros((3, 3), dtype=int)), 3) == Sinks(0, 3, 0, ())
    assert sinks(confused(np.array([[0, 9], [0, 0]])), 2).found == ()


def test_the_example_runs() -> None:
    assert doctest.testmod(sys.modules[sinks.__module__]).failed == 0
