"""Displacements are drawn beside their controls."""

from __future__ import annotations

import numpy as np
import polars as pl

from conftest import STRENGTHS, drawn
from manifoldscope.report.figures.displacement import at_strengths
from manifoldscope.report.rows import strengths_of_classes


def test_displacements_stand_beside_their_controls_and_the_table_keeps_every_strength(
    sampled: dict[str, pl.DataFrame],
) -> None:
    figure = drawn("displacement", sampled)[0]
    every, chart = figure.table, figure.chart
    chosen = at_strengths(every, strengths_of_classes(sampled["robustness"], attack="pgd", iterate="last"))
    assert every.height == 3 * 10 * (len(STRENGTHS) - 1)
    assert chosen.height == 3 * 10
    assert chosen.group_by("model").agg(pl.col("strength").n_unique())["strength"].to_list() == [1, 1, 1]
    assert [len(row) for row in chart.panels] == [4, 4, 4]
    panel = chosen.filter(pl.col("model") == "random").sort("own", descending=True)
    for axes, part in zip(chart.panels[0], ("own", "toward", "outside"), strict=False):
        heights = [sorted(np.asarray(each.get_offsets())[:, 1]) for each in axes.collections if len(each.get_offsets())]
        for wanted in (part, f"{part}_held_out", f"{part}_random"):
            assert sorted(panel[wanted]) in heights
    labels = [text.get_text() for text in chart.legends[0].get_texts()]
    assert labels[-2:] == ["clean images, held out", "random direction"]


def test_displacements_at_one_strength_have_no_panel_of_strengths(sampled: dict[str, pl.DataFrame]) -> None:
    one = sampled["geometry"].filter((pl.col("strength") == 0.1) & (pl.col("model") == "standard"))
    assert len(drawn("displacement", {"geometry": one})[0].chart.flat) == 3


def test_displacements_without_accuracies_are_taken_at_the_largest_strength(sampled: dict[str, pl.DataFrame]) -> None:
    figure = drawn("displacement", {"geometry": sampled["geometry"]})[0]
    titles = [row[0].texts[0].get_text() for row in figure.chart.panels]
    assert titles == [f"{model} · ε = 0.3" for model in ("random", "standard", "adversarial")]
