"""Networks are compared at the strength where those that count differ most, which is that of the findings."""

from __future__ import annotations

import polars as pl

from conftest import STRENGTHS, chart_of, drawn, study_tables
from manifoldscope.report import diagnose

ACCURACIES = {
    "random": (0.1, 0.1, 0.1, 0.1, 0.1),
    "standard": (1.0, 0.9, 0.6, 0.2, 0.0),
    "adversarial": (1.0, 0.9, 0.8, 0.6, 0.0),
}
"""The two that do not guess differ most at 0.2, all three at 0.05."""


def flat(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The study with these accuracies, the same for each class of a network."""
    place = {strength: index for index, strength in enumerate(STRENGTHS)}
    known = tables["robustness"].select("model", "strength").iter_rows()
    accuracy = pl.Series("robust_accuracy", [ACCURACIES[model][place[strength]] for model, strength in known])
    robust = (accuracy * tables["robustness"]["n_images"]).round().cast(pl.Int64).alias("n_robust")
    return tables | {
        "robustness": tables["robustness"].with_columns(accuracy, robust),
        "geometry": tables["geometry"].with_columns(attack=None),
    }


def test_a_network_that_guesses_has_no_say_in_the_strength_and_the_findings_take_the_same() -> None:
    tables = flat(study_tables())
    texts = [text.get_text() for text in chart_of("comparison", tables).flat[-1].texts]
    assert "open: clean; filled: PGD ε = 0.2" in texts
    assert {"10%", "20%", "60%"} <= set(texts)
    (finding,) = (each for each in diagnose(tables) if each.kind == "networks")
    assert {row["strength"] for row in finding.numbers} == {0.2}


def test_a_long_name_of_an_attack_leaves_the_strength_whole() -> None:
    long = pl.lit("pgd under a name that is much too long for a panel").alias("attack")
    tables = study_tables()
    chart = chart_of("comparison", tables | {"robustness": tables["robustness"].with_columns(long)})
    (text,) = (text.get_text() for text in chart.flat[-1].texts if "filled" in text.get_text())
    assert text.endswith(("… ε = 0.05", "… ε = 0.1", "… ε = 0.2"))


def test_the_table_has_a_row_a_network_with_its_layers_and_strengths(tables: dict[str, pl.DataFrame]) -> None:
    table = drawn("comparison", tables)[0].table
    assert table["model"].to_list() == ["adversarial", "random", "standard"]
    assert {"flatten: mean", "penultimate: ceiling", "accuracy at ε = 0.3"} <= set(table.columns)
