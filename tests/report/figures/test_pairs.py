"""Matrices of classes, and the falls between them."""

from __future__ import annotations

import numpy as np
import polars as pl

from conftest import MODELS, beside_falls
from manifoldscope.evidence import mantel
from manifoldscope.report import class_pairs, pairs_beside_falls, words
from manifoldscope.report.behind import square
from manifoldscope.tables import conform


def test_a_matrix_shows_each_pair_at_its_names_and_near_classes_together(sampled: dict[str, pl.DataFrame]) -> None:
    table = beside_falls(sampled, "centre_distance").filter(pl.col("model") == "natural")
    values = {
        (row["class_name"], row["other_class_name"]): float(row["class_name"] < "5") + (row["other_class_name"] < "5")
        for row in table.iter_rows(named=True)
    }
    two_groups = table.with_columns(
        pl.Series("value", [1.0 if value == 1 else 0.1 for value in values.values()], dtype=pl.Float64)
    )
    chart = class_pairs(two_groups, measure="centre_distance")
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
    table = beside_falls(sampled).filter(pl.col("model") != "random")
    panel = table.filter(pl.col("model") == "natural")
    found = mantel(*(square(panel, column)[1] for column in ("share", "value")), permutations=99)
    chart = class_pairs(table, {"natural": found}, measure="centre_correlation", models=MODELS)
    falls_of = [row[1] for row in chart.panels]
    (points,) = (each for each in falls_of[0].collections if each.get_gid())
    assert np.asarray(points.get_offsets()).tolist() == panel.select("value", "share").to_numpy().tolist()
    texts = [[text.get_text() for text in axes.texts] for axes in falls_of]
    assert f"Spearman ρ = {words.coefficient(found.coefficient)}, 90 pairs (Mantel p = {found.p_value:.2g})" in texts[0]
    assert "no ρ: the network guesses when clean" in texts[1]
    assert found.coefficient > 0.2


def test_pairs_without_verdicts_are_a_matrix_alone(sampled: dict[str, pl.DataFrame]) -> None:
    table = pairs_beside_falls(
        sampled["pairs"],
        conform("verdicts", []),
        conform("robustness", []),
        layer="flatten",
        measure="centre_correlation",
    )
    chart = class_pairs(table, measure="centre_correlation")
    assert [len(row) for row in chart.panels] == [1, 1, 1]
    assert "class 3" in table["class_name"].to_list()
