"""The tables behind the figures: strengths, shares and intervals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import beside_falls
from manifoldscope.report import displacement_table, telling_displacement, telling_strengths
from manifoldscope.report.behind import mean_accuracy, square, wilson
from manifoldscope.tables import conform


def test_telling_strengths_are_nearest_to_one_half_and_never_zero_while_there_is_another() -> None:
    table = pl.DataFrame(
        {
            "model": ["a"] * 3 + ["b"] * 2 + ["c"],
            "strength": [0.0, 0.1, 0.2, 0.0, 0.3, 0.0],
            "accuracy": [0.5, 0.4, 0.9, 0.5, 0.0, 0.9],
        }
    )
    assert telling_strengths(table).select("model", "strength").rows() == [("a", 0.1), ("b", 0.3), ("c", 0.0)]


def test_each_ordered_pair_has_its_value_and_the_falls_of_its_network_at_one_strength(
    sampled: dict[str, pl.DataFrame],
) -> None:
    table = beside_falls(sampled)
    assert table.height == 3 * 10 * 9
    panel = table.filter(pl.col("model") == "natural")
    (strength,) = panel["strength"].unique()
    fallen = sampled["verdicts"].filter(
        (pl.col("model") == "natural")
        & (pl.col("strength") == strength)
        & (pl.col("clean_prediction") == pl.col("label"))
        & (pl.col("last_prediction") != pl.col("label"))
    )
    assert panel["n_into"].sum() == fallen.height > 0
    assert panel.group_by("class_index").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1.0] * 10)
    _, values = square(panel, "value")
    assert np.array_equal(values, values.T, equal_nan=True)


def test_displacements_without_accuracies_are_taken_at_the_largest_strength(sampled: dict[str, pl.DataFrame]) -> None:
    every = displacement_table(sampled["geometry"], layer="flatten", threat="pgd")
    nothing = conform("robustness", [])
    assert telling_displacement(every, nothing, threat="pgd", iterate="last")["strength"].unique().to_list() == [0.3]


@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson_intervals_hold_the_share_and_stay_within_bounds(successes: int, extra: int) -> None:
    trials = successes + extra
    low, high = wilson(np.array([float(successes)]), np.array([float(trials)]))
    assert 0 <= low[0] <= successes / trials <= high[0] <= 1


def test_wilson_intervals_have_their_known_values() -> None:
    low, high = wilson(np.array([25.0, 0.0, 1.0]), np.array([50.0, 10.0, 0.0]))
    np.testing.assert_allclose(low[:2], [0.3664, 0.0], atol=1e-4)  # to the digits that tables of it print
    np.testing.assert_allclose(high[:2], [0.6336, 0.2775], atol=1e-4)
    assert np.isnan(low[2])


def test_mean_accuracy_pools_images_over_classes(tables: dict[str, pl.DataFrame]) -> None:
    row = (
        mean_accuracy(tables["robustness"], attack="pgd", iterate="last")
        .filter(pl.col("model") == "natural")
        .row(2, named=True)
    )
    expected = tables["robustness"].filter(
        (pl.col("model") == "natural") & (pl.col("iterate") == "last") & (pl.col("strength") == row["strength"])
    )
    assert row["accuracy"] == pytest.approx(expected["n_survived"].sum() / expected["n_images"].sum())
