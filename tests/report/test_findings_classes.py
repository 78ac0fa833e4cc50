"""Classes in words: numbers with their intervals, beside noise, and nothing that noise would explain."""

from __future__ import annotations

import polars as pl

from conftest import sampled_tables, study_tables
from manifoldscope.report.findings import Finding, diagnose


def found(tables: dict[str, pl.DataFrame]) -> Finding:
    (finding,) = [finding for finding in diagnose(tables) if finding.kind == "classes"]
    return finding


def only(tables: dict[str, pl.DataFrame], *models: str) -> dict[str, pl.DataFrame]:
    kept = pl.col("model").is_in(models)
    return {name: table.filter(kept) if "model" in table.columns else table for name, table in tables.items()}


def planted() -> dict[str, pl.DataFrame]:
    """One network of ten classes of 40 images: 30 are robust but in class 4, of which none is."""
    tables = only(study_tables(), "standard")
    robust = pl.when(pl.col("class_index") == 4).then(0).otherwise(30)
    same = tables["robustness"].filter(strength=0.1).with_columns(n_robust=robust, n_clean_correct=pl.lit(38))
    same = same.with_columns(robust_accuracy=pl.col("n_robust") / pl.col("n_images"))
    return tables | {"robustness": same, "outcomes": tables["outcomes"].clear()}


def test_a_fragile_class_is_told_with_both_intervals_beside_noise() -> None:
    finding = found(planted())
    assert finding.title == "0.0% of the images of the worst class of standard are robust, and 67.5% of all images"
    for said in (
        "standard (PGD, ε = 0.1, last iterate): 0 of 40 images of the worst class, 4, are robust, 0.0% "
        "(95%: 0.0% to 8.8%; as the worst of 10, chosen after looking, 0.0% to 13.9%)",
        "Maximum less minimum is 75.0 points and the Gini coefficient 0.10;",
        "more than noise (p = 0.0005).",
        "The most fragile classes are 4 (0.0%, 0.0% to 8.8%, rank 1 of 10; clean 95.0%);",
    ):
        assert said in finding.text
    assert finding.text.count("rank") == 3
    assert not any("shares" in caveat for caveat in finding.caveats)
    (numbers,) = finding.numbers
    assert (numbers["worst_class"], numbers["n_sinks"]) == ("4", None)


def test_classes_that_are_alike_are_not_called_different() -> None:
    tables = planted()
    tables["robustness"] = tables["robustness"].with_columns(n_robust=pl.lit(30), robust_accuracy=pl.lit(0.75))
    text = found(tables).text
    assert "no clear difference from noise (p = 1)" in text
    assert "are robust (9 other classes as few), 75.0%" in text


def test_sinks_are_told_with_equal_shares_and_their_sources() -> None:
    tables = planted()
    outcomes = study_tables()["outcomes"].filter(model="standard")  # every image is misclassified as class 0
    finding = found(tables | {"outcomes": outcomes})
    assert (
        "Attack sinks, of 108 misclassified images: 0 takes 100.0%, where an equal share would be 11.1%" in finding.text
    )
    assert "(12 of 108 from 1, the others from 8 more)" in finding.text
    assert any("Equal shares are a yardstick" in caveat for caveat in finding.caveats)
    aimed = found(tables | {"outcomes": outcomes.with_columns(targeted=pl.lit(True))})
    assert any("The attack chooses" in caveat for caveat in aimed.caveats)


def test_networks_at_chance_level_are_named_and_of_many_networks_two_are_told() -> None:
    three = found(sampled_tables())
    assert three.title.startswith("Worst-class robust accuracy is ")
    assert three.text.endswith(
        "Not counted: random (10.1% clean). The accuracies of a network at chance level are not informative."
    )
    assert len(three.numbers) == 2
    one = planted()
    names = [f"net{place}" for place in range(6)]
    for name in ("robustness", "models"):
        one[name] = pl.concat([one[name].with_columns(model=pl.lit(each)) for each in names])
    many = found(one)
    assert many.title == "Worst-class robust accuracy goes from 0.0% to 0.0% over 6 networks"
    assert "The classes of 6 of 6 networks differ by more than binomial noise." in many.text
    assert many.text.count("chosen after looking") == 2
    nobody = found(only(study_tables(), "random"))
    assert nobody.title == "No network is far enough above chance level to say which classes are fragile"


def test_nothing_is_said_where_nothing_was_attacked() -> None:
    tables = planted()
    tables["robustness"] = tables["robustness"].clear()
    assert not [finding for finding in diagnose(tables) if finding.kind == "classes"]
