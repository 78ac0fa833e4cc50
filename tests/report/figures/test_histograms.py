"""Ceilings stand where they are, and figures come in the order of the study file."""

from __future__ import annotations

import numpy as np
import polars as pl

from conftest import STUDY, chart_of, drawn


def test_a_near_ceiling_is_a_line_and_a_far_one_a_note(tables: dict[str, pl.DataFrame]) -> None:
    near = {"geometry": tables["geometry"].with_columns(pl.lit(40.0).alias("ceiling"))}
    chart = chart_of("histograms", near)
    lines = [line for axes in chart.flat for line in axes.lines if line.get_label() == "ceiling"]
    assert {float(np.asarray(line.get_xdata())[0]) for line in lines} == {40.0}
    assert len(lines) >= 3
    far = chart_of("histograms", {"geometry": tables["geometry"].with_columns(pl.lit(900.0).alias("ceiling"))})
    assert not [line for axes in far.flat for line in axes.lines if line.get_label() == "ceiling"]
    assert all(any("ceiling 900 →" in text.get_text() for text in axes.texts) for axes in far.flat)


def test_measures_come_in_the_order_of_the_study_file_and_else_the_dimension_first(
    tables: dict[str, pl.DataFrame],
) -> None:
    listed = STUDY["measures"][::-1]
    turned = [figure.title.split(":")[0] for figure in drawn("histograms", tables, measures=listed)]
    assert turned == ["Participation ratio", "PCA dimension (95% of variance)"]
    assert [figure.title.split(":")[0] for figure in drawn("histograms", tables, measures=[])] == turned[::-1]


def test_two_settings_of_one_measure_come_in_the_order_of_the_study_file(tables: dict[str, pl.DataFrame]) -> None:
    pca = tables["geometry"].filter(measure="pca_dimension")
    fractions = ("0.9", "0.95", "0.5")
    table = pl.concat([pca.with_columns(parameters=pl.lit(f"fraction={each} scaling=none")) for each in fractions])
    measures = [{"name": "pca_dimension", "fraction": float(each), "scaling": "none"} for each in fractions]
    titles = [figure.title for figure in drawn("histograms", {"geometry": table}, measures=measures)]
    assert [title[title.index("(") + 1 :].split(" ")[0] for title in titles] == ["90%", "95%", "50%"]
