"""Intervals of shares and of their differences."""

from __future__ import annotations

import numpy as np
import pytest

from manifoldscope.evidence import difference


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((56, 70, 48, 80), (0.0524, 0.3339)), ((9, 10, 3, 10), (0.1705, 0.8090)), ((10, 10, 0, 10), (0.6075, 1.0))],
)
def test_differences_have_the_intervals_that_newcombe_tabulates(
    counts: tuple[int, ...], expected: tuple[float, float]
) -> None:
    low, high = difference(*(np.array([float(count)]) for count in counts))
    assert (low[0], high[0]) == pytest.approx(expected, abs=6e-5)  # four printed digits


def test_swapping_the_two_turns_the_interval_round_and_no_images_give_no_interval() -> None:
    one, other = (np.array([30.0]), np.array([50.0])), (np.array([20.0]), np.array([80.0]))
    low, high = difference(*one, *other)
    turned_low, turned_high = difference(*other, *one)
    assert (turned_low[0], turned_high[0]) == pytest.approx((-high[0], -low[0]))
    assert np.isnan(difference(np.array([0.0]), np.array([0.0]), *other)).all()


def test_the_example_runs() -> None:
    import doctest

    from manifoldscope.evidence import proportions

    assert doctest.testmod(proportions).failed == 0
