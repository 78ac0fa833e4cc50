"""A point per class, where its measure and its accuracy are; ceilings stand where they are."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import polars as pl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from conftest import CEILING, STRENGTHS, chart_of, drawn, n_titles, study_tables
from manifoldscope.report import Figure, diagnose, words
from manifoldscope.report.figures.dimension_accuracy import association

NAME = "dimension_against_accuracy"


def central(tables: dict[str, pl.DataFrame]) -> Figure:
    return drawn(NAME, tables, layers=["penultimate", "flatten"])[0]


def by_strength(tables: dict[str, pl.DataFrame]) -> Figure:
    return next(figure for figure in drawn(NAME, tables) if "every strength" in figure.title)


def headings(figure: Figure) -> list[list[str]]:
    return [[text.get_text() for text in axes.texts] for axes in figure.chart.flat]


def test_the_central_picture_has_one_explained_point_for_each_class_and_network(
    tables: dict[str, pl.DataFrame],
) -> None:
    chart = central(tables).chart
    titles = [
        element.text or "" for element in ElementTree.fromstring(chart.svg()).iter() if element.tag.endswith("title")
    ]
    assert len(titles) == 3 * 10
    assert sorted(title.split(":")[0] for title in titles) == sorted([str(label) for label in range(10)] * 3)
    offsets = [len(collection.get_offsets()) for axes in chart.flat for collection in axes.collections]
    assert offsets.count(10) == 3


def test_points_stand_at_dimension_and_accuracy_and_are_explained_with_the_same_numbers() -> None:
    figure = central(study_tables(1, ("only",)))
    row = figure.table.filter(pl.col("model") == "random").row(0, named=True)
    (point,) = (c for c in figure.chart.flat[0].collections if len(c.get_offsets()) == 1 and c.get_gid())
    assert np.asarray(point.get_offsets()).tolist() == [[row["value"], row["robust_accuracy"]]]
    (text,) = figure.chart.tooltips[str(point.get_gid())]
    assert f"{row['n_robust']} of {row['n_images']}" in text


def test_every_strength_is_a_column_and_every_network_a_row(tables: dict[str, pl.DataFrame]) -> None:
    chart = by_strength(tables).chart
    assert (len(chart.panels), len(chart.panels[0])) == (3, len(STRENGTHS))
    assert n_titles(chart) == 3 * len(STRENGTHS) * 10


def test_the_coefficient_and_its_interval_stand_above_the_panel(tables: dict[str, pl.DataFrame]) -> None:
    figure = central(tables)
    row = association(tables["associations"], figure.table.filter(model="standard").row(0, named=True))
    assert row is not None
    assert row["method"] == "pearson"
    expected = f"r = {words.coefficient(row['coefficient'])} (95% {words.coefficient(row['low'])}"
    assert any(expected in text for text in headings(figure)[1])
    assert "no association given" in headings(figure)[0]  # the network guesses


@pytest.mark.parametrize(("n_others", "given"), [(1, False), (2, False), (3, True)])
def test_a_measure_that_all_classes_but_one_or_two_share_has_no_r(n_others: int, given: bool) -> None:
    tables = study_tables()
    value = pl.when(pl.col("class_index") < n_others).then(pl.col("class_index") + 9.0).otherwise(12.0).alias("value")
    shared = tables | {"geometry": tables["geometry"].with_columns(value)}
    for figure in (central(shared), by_strength(shared)):
        texts = [text for panel in headings(figure) for text in panel if text.startswith(("Pearson r =", "r "))]
        assert texts
        assert all(("not given" in text) is not given for text in texts)
    if not given:
        assert f"r not given: one value in all but {n_others} of the classes" in headings(central(shared))[1]


def test_each_network_is_shown_at_the_strength_of_the_findings(tables: dict[str, pl.DataFrame]) -> None:
    shown = dict(central(tables).table.select("model", "strength").unique().iter_rows())
    (finding,) = (each for each in diagnose(tables) if each.kind == "association")
    assert {row["model"]: row["strength"] for row in finding.numbers}.items() <= shown.items()
    assert len(finding.numbers)


def test_the_strength_is_chosen_over_all_classes_and_not_over_those_that_were_measured() -> None:
    tables = study_tables()
    few = tables | {"geometry": tables["geometry"].filter(pl.col("class_index") < 2)}
    chosen = [dict(central(each).table.select("model", "strength").unique().iter_rows()) for each in (tables, few)]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("length", [10, 34, 90])
def test_a_long_name_of_a_network_leaves_the_strength_whole_and_inside_the_panel(length: int) -> None:
    tables = {
        name: table.with_columns(
            *([pl.col("model").replace("standard", "W" * length)] if "model" in table.columns else []),
            *(
                [pl.col("strength").replace(STRENGTHS, (0.0, 0.004, 0.0041, 0.0042, 0.0043))]
                * ("strength" in table.columns)
            ),
        )
        for name, table in study_tables().items()
    }
    chart = central(tables).chart
    renderer = FigureCanvasAgg(chart).get_renderer()
    for axes in chart.flat:
        (title,) = (text for text in axes.texts if " · " in text.get_text())
        strength = title.get_text().split(" · ")[1]
        assert strength in {"ε = 0.004", "ε = 0.0041", "ε = 0.0042", "ε = 0.0043"}
        assert title.get_window_extent(renderer).x1 <= axes.bbox.x1 + 1  # a pixel


def test_points_at_the_ceiling_lie_inside_the_panel(tables: dict[str, pl.DataFrame]) -> None:
    geometry = tables["geometry"].with_columns(pl.lit(CEILING).alias("value"))
    chart = chart_of(NAME, tables | {"geometry": geometry})
    for axes in chart.flat:
        assert axes.get_xlim()[0] < CEILING < axes.get_xlim()[1]
        assert [line for line in axes.lines if line.get_label() == "ceiling"]
