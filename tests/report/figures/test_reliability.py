"""A mark per network and measure, and none where there is no value."""

from __future__ import annotations

import polars as pl

from conftest import chart_of, n_titles


def test_reliabilities_are_marks_with_intervals_and_one_without_a_value_is_left_out(
    sampled: dict[str, pl.DataFrame],
) -> None:
    chart = chart_of("reliability", sampled)
    assert n_titles(chart) == 2 * 3 * 2
    nothing = pl.when(pl.col("model") == "standard").then(float("nan")).otherwise("reliability")
    left = chart_of("reliability", {"reliability": sampled["reliability"].with_columns(nothing.alias("reliability"))})
    assert n_titles(left) == 2 * 2 * 2
