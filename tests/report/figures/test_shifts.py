"""A point per class at its two accuracies."""

from __future__ import annotations

import numpy as np
import polars as pl

from conftest import drawn, n_titles, other_tables


def test_each_class_stands_at_its_clean_accuracy_and_that_on_the_other_dataset() -> None:
    (figure,) = drawn("shifts", other_tables())
    table, chart = figure.table, figure.chart
    assert n_titles(chart) == 3 * 10
    panel = table.filter(pl.col("model") == "standard").sort("class_index")
    (points,) = (each for each in chart.flat[2].collections if each.get_gid())
    assert np.asarray(points.get_offsets()).tolist() == panel.select("clean_accuracy", "accuracy").to_numpy().tolist()
    held = table.filter(pl.col("change").is_between(pl.col("change_low"), pl.col("change_high")))
    assert held.height == table.height
