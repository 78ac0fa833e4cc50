"""Matrices of classes, and the falls between them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from conftest import chart_of, drawn
from manifoldscope.evidence import mantel
from manifoldscope.report import words
from manifoldscope.report.figures.pairs import square


def test_a_matrix_shows_each_pair_at_its_names_and_near_classes_together(sampled: dict[str, pl.DataFrame]) -> None:
    apart = (pl.col("class_index") < 5) != (pl.col("other_class_index") < 5)
    pairs = sampled["pairs"].filter(model="standard", measure="centroid_distance")
    two_groups = pairs.with_columns(value=pl.when(apart).then(1.0).otherwise(0.1))
    chart = chart_of("pairs", {name: sampled[name] for name in ("outcomes", "robustness")} | {"pairs": two_groups})
    names = [text.get_text() for text in chart.flat[0].get_xticklabels()]
    assert names == [text.get_text() for text in chart.flat[0].get_yticklabels()]
    assert len({name < "5" for name in names[:5]}) == len({name < "5" for name in names[5:]}) == 1
    assert sorted(names) == [str(label) for label in range(10)]
    drawn = np.ma.filled(chart.flat[0].images[0].get_array(), np.nan)
    for i, j in ((0, 1), (0, 9), (7, 2)):
        assert drawn[i, j] == (1.0 if (names[i] < "5") != (names[j] < "5") else 0.1)
    assert np.isnan(np.diag(drawn)).all()


def test_falls_stand_at_value_and_share_with_their_coefficient_unless_the_network_guesses(
    sampled: dict[str, pl.DataFrame],
) -> None:
    figure = next(figure for figure in drawn("pairs", sampled) if "Centroid cosine" in figure.title)
    panel = figure.table.filter(pl.col("model") == "standard")
    found = mantel(*(square(panel, column)[1] for column in ("share", "value")), permutations=999)
    guesser, *falls_of = [row[1] for row in figure.chart.panels]
    (points,) = (each for each in falls_of[0].collections if each.get_gid())
    assert np.asarray(points.get_offsets()).tolist() == panel.select("value", "share").to_numpy().tolist()
    texts = [[text.get_text() for text in axes.texts] for axes in falls_of]
    assert f"Spearman ρ = {words.coefficient(found.coefficient)}, 90 pairs (Mantel p = {found.p_value:.2g})" in texts[0]
    assert "no ρ: the network is at chance level when clean" in [text.get_text() for text in guesser.texts]
    assert found.coefficient > 0.2


def test_each_ordered_pair_has_its_value_and_the_falls_of_its_network_at_one_strength(
    sampled: dict[str, pl.DataFrame],
) -> None:
    table = drawn("pairs", sampled)[0].table
    assert table.height == 3 * 10 * 9
    panel = table.filter(pl.col("model") == "standard")
    (strength,) = panel["strength"].unique()
    fallen = sampled["outcomes"].filter(
        (pl.col("model") == "standard")
        & (pl.col("strength") == strength)
        & (pl.col("clean_prediction") == pl.col("label"))
        & (pl.col("last_prediction") != pl.col("label"))
    )
    assert panel["n_into"].sum() == fallen.height > 0
    assert panel.group_by("class_index").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1.0] * 10)
    _, values = square(panel, "value")
    assert np.array_equal(values, values.T, equal_nan=True)


def test_pairs_without_outcomes_are_a_matrix_alone(sampled: dict[str, pl.DataFrame]) -> None:
    figure = drawn("pairs", {"pairs": sampled["pairs"]})[0]
    assert [len(row) for row in figure.chart.panels] == [1, 1, 1]
    assert "class 3" in figure.table["class_name"].to_list()
    assert "Right" not in figure.caption
