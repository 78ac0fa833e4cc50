"""Foreign datasets: a point a class at its two accuracies, a mark a score and network at its AUROC."""

from __future__ import annotations

import numpy as np
import polars as pl

from conftest import LAYERS, MODELS, foreign_tables, n_titles
from manifoldscope.report import detection_by_score, shifted_accuracy, shifted_beside_clean


def test_each_class_stands_at_its_clean_accuracy_and_that_on_the_other_dataset() -> None:
    table = shifted_beside_clean(foreign_tables()["shifted"], dataset="photographs")
    chart = shifted_accuracy(table, models=MODELS)
    assert n_titles(chart) == 3 * 10
    panel = table.filter(pl.col("model") == "natural").sort("class_index")
    (points,) = (each for each in chart.flat[1].collections if each.get_gid())
    assert np.asarray(points.get_offsets()).tolist() == panel.select("clean_accuracy", "accuracy").to_numpy().tolist()
    held = table.filter(pl.col("change").is_between(pl.col("change_low"), pl.col("change_high")))
    assert held.height == table.height


def test_each_score_is_a_line_with_a_mark_a_network_and_the_output_comes_first() -> None:
    table = foreign_tables()["detection"]
    chart = detection_by_score(table, models=MODELS, layers=("penultimate", "flatten"))
    assert n_titles(chart) == 3 * (1 + 3 * len(LAYERS))
    lines = [text.get_text() for text in chart.flat[0].get_yticklabels()]
    assert lines[:2] == ["Largest softmax probability", "Nearest centre (penultimate)"]
    assert len(lines) == 7
    marks = [np.asarray(each.get_offsets()) for each in chart.flat[0].collections if each.get_gid()]
    expected = table.filter((pl.col("model") == "natural") & (pl.col("layer") == "flatten")).sort("score")
    at = dict(zip(lines, ([] for _ in lines), strict=True))
    for x, y in marks[1]:
        at[lines[round(y)]].append(float(x))
    assert [
        at[f"{name} (flatten)"] for name in ("Mahalanobis distance", "Nearest centre", "Residual outside the class")
    ] == [[value] for value in expected["auroc"]]
