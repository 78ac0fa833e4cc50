"""Interventions drawn: what is pooled, what is beside it, and no panel for what was not asked."""

from __future__ import annotations

import polars as pl
import pytest

from conftest import N_IMAGES, drawn, intervened_tables, n_titles
from manifoldscope.report.figures.interventions import accuracy_by_directions, untouched


def test_a_point_is_the_share_of_all_images_with_draws_averaged(tables):
    rows = intervened_tables()["interventions"].filter(of="class")
    table = accuracy_by_directions(rows)
    assert len(table) == 3 * 2 * 3 * 3  # networks, keep, numbers, directions
    one = {"model": "standard", "keep": "without", "n_directions": 5, "directions": "random"}
    mine = rows.filter(iterate="last", **one)
    (point,) = table.filter(**one).to_dicts()
    assert point["n_images"] == 10 * N_IMAGES
    assert point["robust_accuracy"] == pytest.approx(mine["n_robust"].sum() / 2 / (10 * N_IMAGES))
    assert point["robust_accuracy_low"] < point["robust_accuracy"] < point["robust_accuracy_high"]
    assert untouched(tables["robustness"], rows)["model"].sort().to_list() == ["adversarial", "random", "standard"]


def test_there_is_a_figure_for_each_layer_and_subspace_with_a_panel_for_what_was_asked(tables):
    asked = intervened_tables()
    figures = drawn("interventions", tables | asked)
    assert [figure.name for figure in figures] == [
        "interventions--penultimate--all",
        "interventions--penultimate--class",
    ]
    assert n_titles(figures[0].chart) == 3 * 4 * 3 * 3  # networks, panels, directions, numbers
    assert "true class of the image" in figures[1].caption
    assert "true class of the image" not in figures[0].caption
    only = {"interventions": asked["interventions"].filter(keep="only", of="all", n_directions=5, model="standard")}
    (figure,) = drawn("interventions", only)
    assert len(figure.chart.flat) == 2
    assert figure.chart.svg()


def test_what_has_no_outcome_is_not_drawn():
    rows = intervened_tables()["interventions"]
    rows = rows.filter(pl.col("iterate") == rows["iterate"][0])
    none = [pl.lit(None).alias(name) for name in ("n_images", "n_robust", "n_clean_correct", "iterate")]
    assert drawn("interventions", {"interventions": rows.with_columns(none)}) == []
