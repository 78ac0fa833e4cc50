"""What figures read off the tables: attacks, shares and intervals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifoldscope.evidence import wilson
from manifoldscope.report.rows import mean_accuracy, with_interval


@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson_intervals_hold_the_share_and_stay_within_bounds(successes: int, extra: int) -> None:
    trials = successes + extra
    low, high = wilson(np.array([float(successes)]), np.array([float(trials)]))
    assert 0 <= low[0] <= successes / trials <= high[0] <= 1


def test_wilson_intervals_have_their_known_values_and_none_without_trials() -> None:
    table = with_interval(pl.DataFrame({"n_robust": [25, 0, 1], "n_images": [50, 10, 0]}))
    np.testing.assert_allclose(
        table["robust_accuracy_low"][:2], [0.3664, 0.0], atol=1e-4
    )  # to the digits that tables print
    np.testing.assert_allclose(table["robust_accuracy_high"][:2], [0.6336, 0.2775], atol=1e-4)
    assert table["robust_accuracy_low"][2] is None


def test_mean_accuracy_pools_images_over_classes(tables: dict[str, pl.DataFrame]) -> None:
    row = (
        mean_accuracy(tables["robustness"], attack="pgd", iterate="last")
        .filter(pl.col("model") == "standard")
        .row(2, named=True)
    )
    expected = tables["robustness"].filter(
        (pl.col("model") == "standard") & (pl.col("iterate") == "last") & (pl.col("strength") == row["strength"])
    )
    assert row["robust_accuracy"] == pytest.approx(expected["n_robust"].sum() / expected["n_images"].sum())
