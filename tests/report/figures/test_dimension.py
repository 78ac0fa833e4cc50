"""A point a class, where its measure and its accuracy are; ceilings stand where they are."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import polars as pl

from conftest import CEILING, MODELS, STRENGTHS, beside, n_titles, study_tables
from manifoldscope.report import (
    dimension_against_accuracy,
    dimension_against_accuracy_by_strength,
    dimension_beside_accuracy,
    dimension_histograms,
    telling_strengths,
    words,
)
from manifoldscope.report.behind import association


def test_the_central_picture_has_one_explained_point_for_each_class_and_network(
    tables: dict[str, pl.DataFrame],
) -> None:
    chart = dimension_against_accuracy(telling_strengths(beside(tables)), tables["associations"], models=MODELS)
    titles = [
        element.text or "" for element in ElementTree.fromstring(chart.svg()).iter() if element.tag.endswith("title")
    ]
    assert len(titles) == 3 * 10
    assert sorted(title.split(":")[0] for title in titles) == sorted([str(label) for label in range(10)] * 3)
    offsets = [len(collection.get_offsets()) for axes in chart.flat for collection in axes.collections]
    assert offsets.count(10) == 3


def test_points_stand_at_dimension_and_accuracy_and_are_explained_with_the_same_numbers() -> None:
    tables = study_tables(1, ("only",))
    table = telling_strengths(beside(tables)).filter(pl.col("model") == "natural")
    chart = dimension_against_accuracy(table)
    row = table.row(0, named=True)
    (point,) = (c for c in chart.flat[0].collections if len(c.get_offsets()) == 1 and c.get_gid())
    assert np.asarray(point.get_offsets()).tolist() == [[row["value"], row["accuracy"]]]
    (text,) = chart.tooltips[str(point.get_gid())]
    assert f"{row['n_survived']} of {row['n_images']}" in text


def test_every_strength_is_a_column_and_every_network_a_row(tables: dict[str, pl.DataFrame]) -> None:
    chart = dimension_against_accuracy_by_strength(beside(tables), tables["associations"], models=MODELS)
    assert (len(chart.panels), len(chart.panels[0])) == (3, len(STRENGTHS))
    assert n_titles(chart) == 3 * len(STRENGTHS) * 10


def test_the_coefficient_and_its_interval_stand_above_the_panel(tables: dict[str, pl.DataFrame]) -> None:
    chart = dimension_against_accuracy(telling_strengths(beside(tables)), tables["associations"], models=MODELS)
    first = telling_strengths(beside(tables)).filter(pl.col("model") == "natural").row(0, named=True)
    row = association(
        tables["associations"],
        model="natural",
        layer="penultimate",
        measure="pca_dimension",
        parameters="fraction=0.95",
        attack="pgd",
        strength=first["strength"],
        iterate="last",
    )
    assert row is not None
    assert row["method"] == "pearson"
    texts = [text.get_text() for text in chart.flat[1].texts]
    expected = f"r = {words.coefficient(row['coefficient'])} (95% {words.coefficient(row['low'])}"
    assert any(expected in text for text in texts)
    assert any("undefined" in text.get_text() for text in chart.flat[0].texts)


def test_a_near_ceiling_is_a_line_and_a_far_one_a_note(tables: dict[str, pl.DataFrame]) -> None:
    near = tables["geometry"].with_columns(pl.lit(40.0).alias("ceiling"))
    chart = dimension_histograms(near, layers=("flatten", "penultimate"))
    lines = [line for axes in chart.flat for line in axes.lines if line.get_label() == "ceiling"]
    assert {float(np.asarray(line.get_xdata())[0]) for line in lines} == {40.0}
    assert len(lines) >= 3
    far = dimension_histograms(tables["geometry"].with_columns(pl.lit(900.0).alias("ceiling")))
    assert not [line for axes in far.flat for line in axes.lines if line.get_label() == "ceiling"]
    assert all(any("ceiling 900 →" in text.get_text() for text in axes.texts) for axes in far.flat)


def test_points_at_the_ceiling_lie_inside_the_panel(tables: dict[str, pl.DataFrame]) -> None:
    geometry = tables["geometry"].with_columns(pl.lit(CEILING).alias("value"))
    table = dimension_beside_accuracy(geometry, tables["robustness"], layer="flatten")
    chart = dimension_against_accuracy(telling_strengths(table))
    for axes in chart.flat:
        assert axes.get_xlim()[0] < CEILING < axes.get_xlim()[1]
        assert [line for line in axes.lines if line.get_label() == "ceiling"]
