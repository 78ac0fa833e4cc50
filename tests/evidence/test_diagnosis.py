"""What is said in words, for each shape that the numbers can take."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import polars as pl
import pytest

from manifoldscope.evidence import Finding, diagnose
from manifoldscope.tables import TABLES, conform

CLASSES = range(30)


def row(method: str, coefficient: float | None, p: float | None, **more: Any) -> dict[str, Any]:
    low, high = (None, None) if coefficient is None else (coefficient - 0.15, coefficient + 0.15)
    return {
        "model": "net",
        "layer": "penultimate",
        "measure": "pca_dimension",
        "parameters": "fraction=0.95",
        "threat": "pgd",
        "strength": 0.1,
        "iterate": "last",
        "method": method,
        "controls": "clean_accuracy" if method == "partial" else "",
        "coefficient": coefficient,
        "low": low,
        "high": high,
        "p_value": p,
        "p_adjusted": p,
        "n": 30,
        **more,
    }


def study(*associations: dict[str, Any], models: tuple[str, ...] = ("net",), **tables: Any) -> dict[str, pl.DataFrame]:
    """Tables of a small study in which nothing is wrong; any of them can be replaced."""
    geometry = [
        {"model": model, "layer": "penultimate", "class_index": label, "measure": "pca_dimension"}
        | {"parameters": "fraction=0.95", "value": 5.0 + at + label / 10, "ceiling": 47.0, "n_points": 50}
        for at, model in enumerate(models)
        for label in CLASSES
    ]
    robustness = [
        {"model": model, "threat": "pgd", "parameters": "steps=10", "strength": strength, "iterate": iterate}
        | {"class_index": label, "n_images": 50, "n_survived": survived}
        | {"clean_accuracy": 0.9, "accuracy": survived / 50}
        for at, model in enumerate(models)
        for label in CLASSES
        for iterate in ("last", "any")
        for strength, survived in ((0.0, 45), (0.1, 10 + at + label % 20), (0.3, 0))
    ]
    rows = {
        "models": [{"model": model, "provenance": "{}"} for model in models],
        "geometry": geometry,
        "robustness": robustness,
        "associations": list(associations),
        "checks": [{"model": "net", "check": "epsilon 0", "passed": True}],
        "set_aside": [],
    } | tables
    return {name: conform(name, value) for name, value in rows.items()}


def of_kind(kind: str, tables: dict[str, pl.DataFrame]) -> Finding:
    (finding,) = [finding for finding in diagnose(tables) if finding.kind == kind]
    return finding


@pytest.mark.parametrize("module", ["association", "diagnosis"])
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"manifoldscope.evidence.{module}"))
    assert result.attempted
    assert not result.failed


SEEN, UNSEEN = 0.001, 0.6
LOWER, HIGHER = "classes with lower dimension survive the attack", "classes with higher dimension survive the attack"
NONE = "no evidence that dimension goes with robustness"


@pytest.mark.parametrize(
    ("plain", "partial", "title", "text"),
    [
        ((-0.6, SEEN), (-0.5, SEEN), LOWER, ": the association holds."),
        ((0.6, SEEN), (0.5, SEEN), HIGHER, ": the association holds."),
        ((-0.6, SEEN), (-0.1, UNSEEN), LOWER, "consistent with clean accuracy alone"),
        ((-0.6, SEEN), (0.5, SEEN), LOWER, "turns around"),
        ((-0.6, SEEN), None, LOWER, "could not be estimated"),
        ((-0.4, 0.02, 0.2), (-0.1, UNSEEN), "a hint, no more", "no evidence there either"),
        ((0.1, UNSEEN), (0.1, UNSEEN), NONE, "no evidence there either"),
        ((0.1, UNSEEN), (0.6, SEEN), NONE, "appears only then"),
        ((-0.6, None), (-0.5, None), "chance was not tested", "-0.60 (95% interval -0.75 to -0.45)"),
        ((None, None), None, "could not be asked", "over 30 classes: one of the two does not vary"),
    ],
)
def test_the_main_question(plain: tuple[Any, ...], partial: tuple[Any, ...] | None, title: str, text: str) -> None:
    associations = [
        row(method, found[0], found[1], p_adjusted=found[-1])
        for method, found in (("pearson", plain), ("partial", partial))
        if found
    ]
    finding = of_kind("association", study(*associations))
    assert finding.title.startswith("net, penultimate: ")
    assert title in finding.title
    assert text in finding.text
    assert "pgd at strength 0.1" in finding.text
    assert len(finding.numbers) == len(associations)


def test_uncertainty_is_quoted_and_doubts_follow_the_evidence() -> None:
    clear = of_kind("association", study(row("pearson", -0.6, 0.001, p_adjusted=0.004), row("partial", -0.5, 0.01)))
    assert "-0.60 (95% interval -0.75 to -0.45, permutation p = 0.001, 0.004 adjusted" in clear.text
    assert any("from 50 images a class" in doubt for doubt in clear.doubts)
    assert any("not a cause" in doubt for doubt in clear.doubts)
    assert not any("four times in five" in doubt for doubt in clear.doubts)
    few = of_kind("association", study(row("pearson", -0.9, 0.001, n=10)))
    assert any("With 10 classes only |r| above about 0.79" in doubt for doubt in few.doubts)
    border = of_kind("association", study(row("pearson", -0.3, 0.04, p_adjusted=0.3)))
    assert any("at the border" in doubt for doubt in border.doubts)


def test_the_setting_is_where_class_accuracies_spread_most_and_the_measure_the_dimension() -> None:
    rows = [
        row("pearson", -0.6, 0.001),
        row("pearson", 0.9, 0.001, strength=0.3),
        row("pearson", 0.9, 0.001, strength=0.0),
        row("pearson", 0.9, 0.001, iterate="any"),
        row("pearson", 0.9, 0.001, measure="participation_ratio", parameters=""),
        row("pearson", 0.9, 0.001, parameters="fraction=0.9"),
        row("pearson", 0.9, 0.001, model="*"),
    ]
    finding = of_kind("association", study(*rows))
    assert finding.numbers == tuple(conform("associations", rows[:1]).to_dicts())


@pytest.mark.parametrize(
    ("changed", "column", "reason"),
    [("geometry", "value", "same value, 7"), ("robustness", "accuracy", "same accuracy, 700.0%")],
)
def test_why_there_is_no_coefficient(changed: str, column: str, reason: str) -> None:
    tables = study(row("pearson", None, None))
    tables[changed] = tables[changed].with_columns(pl.lit(7.0).alias(column))
    assert reason in of_kind("association", tables).text
    assert "at least 4 classes" in of_kind("association", study(row("pearson", None, None, n=3))).text


def test_networks_are_compared_as_an_order_and_tested_only_from_five() -> None:
    three = of_kind("networks", study(models=("random", "natural", "adversarial")))
    assert three.title == "Across 3 networks at penultimate, dimension rises as robust accuracy rises"
    assert "random (6.45; 35.7%), natural (7.45; 37.7%), adversarial (8.45; 39.7%)" in three.text
    assert any("too few for a p-value" in doubt for doubt in three.doubts)
    five = tuple(f"net{i}" for i in range(5))
    tested = of_kind("networks", study(row("spearman", 0.9, 0.04, model="*", n=5), models=five))
    assert "Their rank correlation is +0.90" in tested.text
    untested = of_kind("networks", study(models=five))
    assert any("chance was not tested" in doubt for doubt in untested.doubts)
    assert not [finding for finding in diagnose(study()) if finding.kind == "networks"]


def test_replicates_of_a_network_are_one_network() -> None:
    models = [{"model": "net", "provenance": "{}"}, {"model": "net-2", "provenance": '{"replicate_of": "net"}'}]
    tables = study(models=("net", "net-2")) | {"models": conform("models", models)}
    assert not [finding for finding in diagnose(tables) if finding.kind == "networks"]


def test_ceilings() -> None:
    assert of_kind("ceiling", study()).title == "No value is near its ceiling or falls with half of the points"
    tables = study()
    label = pl.col("class_index")
    tables["geometry"] = tables["geometry"].with_columns(
        value=pl.when(label < 10).then(45.0).otherwise("value"),
        note=pl.when(label.is_between(5, 14)).then(pl.lit("falls by 30% when half of the points are left out")),
    )
    finding = of_kind("ceiling", tables)
    assert finding.title == "50% of the values describe the sample rather than the manifold"
    assert "Dimension (fraction=0.95): 10 of 30 values are within 10% of their ceiling, and 10 fall" in finding.text


def test_granularity() -> None:
    finding = of_kind("granularity", study())
    assert "about ±14 points" in finding.title
    assert "steps of 2 points" in finding.text
    assert "±13.9 points" in finding.text


def test_checks() -> None:
    assert of_kind("checks", study()).title == "Every check of the evaluation passed"
    failed = {"model": "net", "check": "monotone", "passed": False, "note": "rises at 0.3"}
    undecided = {"model": "net", "check": "other", "passed": None}
    finding = of_kind("checks", study(checks=[failed, undecided]))
    assert finding.title.startswith("1 of 2 checks of the evaluation failed")
    assert "net: monotone (rises at 0.3)" in finding.text
    assert finding.doubts == ("1 check could not be decided.",)
    assert of_kind("checks", study(checks=[undecided])).title == "No check of the evaluation failed"


def test_iterates() -> None:
    assert of_kind("iterates", study()).title.startswith("No image was misclassified on the way")
    tables = study()
    fell = (pl.col("iterate") == "any") & (pl.col("strength") == 0.1)
    tables["robustness"] = tables["robustness"].with_columns(
        n_survived=pl.when(fell).then(pl.col("n_survived") - 5).otherwise("n_survived")
    )
    finding = of_kind("iterates", tables)
    assert finding.title == "The last iterate alone overstates robustness by up to 10.0 points"
    assert "pgd at strength 0.1" in finding.text


def test_images_set_aside() -> None:
    image = {"image": "a/b.jpg", "class_name": "cat", "reason": "truncated"}
    finding = of_kind("set_aside", study(set_aside=[image]))
    assert finding.title == "1 image could not be read and was left out"
    assert "a/b.jpg (truncated)" in finding.text


@pytest.mark.parametrize("missing", ["models", "geometry", "robustness", "associations", "checks"])
def test_a_missing_table_is_said_first_and_breaks_nothing(missing: str) -> None:
    tables = study(row("pearson", -0.6, 0.001), models=("net", "other"))
    del tables[missing]
    first = diagnose(tables)[0]
    assert first.kind == "missing"
    assert first.title == f"The study is not complete: {missing} is missing"


def test_findings_come_in_the_order_of_their_weight_for_any_table() -> None:
    empty = {name: conform(name, []) for name in TABLES}
    assert [finding.kind for finding in diagnose(empty)] == ["missing"]
    weights = [finding.weight for finding in diagnose(study(row("pearson", -0.6, 0.001)))]
    assert weights == sorted(weights, reverse=True)
