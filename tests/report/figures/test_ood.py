"""A mark per score and network at its AUROC."""

from __future__ import annotations

import numpy as np
import polars as pl

from conftest import LAYERS, drawn, n_titles, other_tables, study_tables


def test_each_score_is_a_line_with_a_mark_a_network_and_the_output_comes_first() -> None:
    table = other_tables()["ood"]
    (figure,) = drawn("ood", {"ood": table, "geometry": study_tables()["geometry"]}, layers=[*LAYERS][::-1])
    chart = figure.chart
    assert n_titles(chart) == 3 * (1 + 3 * len(LAYERS))
    lines = [text.get_text() for text in chart.flat[0].get_yticklabels()]
    assert lines[:2] == ["Largest softmax probability", "Nearest centroid (penultimate)"]
    assert len(lines) == 7
    marks = [np.asarray(each.get_offsets()) for each in chart.flat[0].collections if each.get_gid()]
    expected = table.filter((pl.col("model") == "standard") & (pl.col("layer") == "flatten")).sort("score")
    at = dict(zip(lines, ([] for _ in lines), strict=True))
    for x, y in marks[1]:
        at[lines[round(y)]].append(float(x))
    assert [
        at[f"{name} (flatten)"] for name in ("Mahalanobis distance", "Nearest centroid", "Residual outside the class")
    ] == [[value] for value in expected["auroc"]]
