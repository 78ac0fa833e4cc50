"""What the tables of a study say, as facts: values, and no words."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import math
import pkgutil
from typing import Any

import polars as pl
import pytest

from manifoldscope import chance, evidence
from manifoldscope.evidence import (
    Coefficient,
    across_classes,
    across_networks,
    ceilings,
    checked,
    gaps,
    granularity,
    missing,
    unreadable,
)
from manifoldscope.evidence.across_classes import NoCoefficient, Reliability
from manifoldscope.tables import TABLES, conform

N_CLASSES = 12


def test_the_rule_of_chance_says_what_its_example_says() -> None:
    assert not doctest.testmod(chance).failed


@pytest.mark.parametrize("module", [found.name for found in pkgutil.iter_modules(evidence.__path__)])
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    assert not doctest.testmod(importlib.import_module(f"manifoldscope.evidence.{module}")).failed


def association(method: str, coefficient: float | None, p: float | None, **more: Any) -> dict[str, Any]:
    bounds = (None, None) if coefficient is None else (coefficient - 0.1, coefficient + 0.1)
    return {
        "model": "net", "layer": "deep", "measure": "pca_dimension", "parameters": "fraction=0.95", "attack": "pgd",
        "strength": 0.1, "iterate": "last",
        "outcome": "log_odds" if method == "two_draws" else "robust_accuracy", "method": method,
        "controls": "margin" if method == "two_draws" else "", "coefficient": coefficient,
        "low": bounds[0], "high": bounds[1], "p_value": p, "p_adjusted": p, "n": N_CLASSES, **more,
    }  # fmt: skip


def study(*associations: dict[str, Any], models: tuple[str, ...] = ("net",), **tables: Any) -> dict[str, pl.DataFrame]:
    """Networks whose classes have the dimensions 5, 6, ... and of which the later ones survive better."""
    geometry = [
        {"model": model, "layer": "deep", "class_index": label, "measure": "pca_dimension", "value": 5.0 + at + label}
        | {"parameters": "fraction=0.95", "ceiling": 49.0, "n_points": 50, "describes_sample": False}
        for at, model in enumerate(models)
        for label in range(N_CLASSES)
    ]
    robustness = [
        {"model": model, "attack": "pgd", "parameters": "", "strength": strength, "iterate": iterate, "norm": "linf"}
        | {"class_index": label, "n_images": 40, "n_robust": robust, "robust_accuracy": robust / 40}
        for at, model in enumerate(models)
        for label in range(N_CLASSES)
        for iterate in ("last", "any")
        for strength, robust in ((0.0, 38), (0.1, 10 + at + label), (0.3, 0))
    ]
    rows = {
        "models": [{"model": model, "provenance": "{}"} for model in models],
        "geometry": geometry,
        "robustness": robustness,
        "associations": list(associations),
    } | tables
    return {name: conform(name, rows.get(name, [])) for name in TABLES}


def test_every_fact_is_frozen() -> None:
    facts = [item for item in vars(evidence).values() if dataclasses.is_dataclass(item) and isinstance(item, type)]
    assert len(facts) >= 10
    assert all(fact.__dataclass_params__.frozen for fact in facts)  # type: ignore[attr-defined]  # of dataclasses


def test_a_pair_has_its_coefficients_their_uncertainty_and_its_setting() -> None:
    left = association("two_draws", -0.2, 0.4, control_reliability=0.8, vanishes_at=0.6)
    rows = [association("pearson", -0.6, 0.001), left]
    fact = across_classes(study(*rows, association("pearson", 0.9, 0.001, strength=0.3)))
    assert fact is not None
    (pair,) = fact.pairs
    assert (pair.attack, pair.strength, pair.iterate, pair.n) == ("pgd", 0.1, "last", N_CLASSES)
    assert pair.plain == Coefficient(-0.6, -0.7, -0.5, 0.001, 0.001)
    (given,) = pair.given
    assert (given.control, given.coefficient, given.gates) == ("margin", Coefficient.of(left), ())
    assert (given.reliability, given.vanishes_at, pair.beyond) == (0.8, 0.6, "gone")
    assert (fact.n_values, fact.n_of_sample, fact.attacked) == (N_CLASSES, 0, True)
    assert [row["coefficient"] for row in fact.rows] == [-0.2, -0.6]


@pytest.mark.parametrize(
    ("margin", "accuracy", "beyond"),
    [
        ((0.5, 0.01, ""), (0.4, 0.01, ""), "holds"),
        ((0.5, 0.01, ""), (-0.4, 0.01, ""), "margin_only"),
        ((0.5, 0.01, ""), (0.4, 0.2, ""), "margin_only"),
        ((0.5, 0.01, ""), (0.4, 0.01, "unreliable_control"), "margin_only"),
        ((0.5, 0.2, ""), (0.4, 0.01, ""), "gone"),
        ((0.5, 0.01, "few_classes"), (0.4, 0.01, "few_classes"), "cannot_be_answered"),
        ((None, None, "same_images"), (None, None, "same_images"), "cannot_be_answered"),
        ((0.5, None, ""), (0.4, None, ""), None),
    ],
)
def test_a_strong_claim_needs_both_controls_and_open_gates(margin: Any, accuracy: Any, beyond: str | None) -> None:
    rows = [
        association("two_draws", r, p, controls=control, gate=gate)
        for control, (r, p, gate) in (("margin", margin), ("clean_accuracy", accuracy))
    ]
    fact = across_classes(study(association("pearson", 0.6, 0.001), *rows))
    assert fact is not None
    assert fact.pairs[0].beyond == beyond


def test_a_coefficient_that_is_no_number_is_none() -> None:
    fact = across_classes(study(association("pearson", math.nan, math.nan)))
    assert fact is not None
    assert fact.asked == ()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([7.0] * N_CLASSES, NoCoefficient("constant", "measure", 7.0)),
        ([7.0] * (N_CLASSES - 2) + [8.0, 9.0], NoCoefficient("nearly_constant", "measure", 7.0, 2)),
        ([float(label) for label in range(N_CLASSES)], NoCoefficient("unknown")),
    ],
)
def test_why_there_is_no_coefficient_is_read_off_the_values(values: list[float], reason: NoCoefficient) -> None:
    tables = study(association("pearson", None, None, note="which no program reads"))
    tables["geometry"] = tables["geometry"].with_columns(pl.Series("value", values))
    fact = across_classes(tables)
    assert fact is not None
    assert fact.pairs[0].reason == reason


def test_an_accuracy_that_is_the_same_for_all_and_too_few_classes_are_reasons() -> None:
    tables = study(association("pearson", None, None))
    tables["robustness"] = tables["robustness"].with_columns(robust_accuracy=pl.lit(0.5))
    fact = across_classes(tables)
    assert fact is not None
    assert fact.pairs[0].reason == NoCoefficient("constant", "accuracy", 0.5)
    few = across_classes(study(association("pearson", None, None, n=3)))
    assert few is not None
    assert few.pairs[0].reason == NoCoefficient("few")


def test_values_that_describe_the_sample_are_counted_by_their_flag_and_not_by_a_note() -> None:
    tables = study(association("pearson", -0.6, 0.001))
    flagged = pl.col("class_index") < 5
    tables["geometry"] = tables["geometry"].with_columns(
        describes_sample=flagged, falls_when_halved=pl.col("class_index") < 2, note=pl.lit("half of the points")
    )
    fact = across_classes(tables)
    assert fact is not None
    assert fact.n_of_sample == 5
    (counted,) = ceilings(tables["geometry"])
    assert (counted.values, counted.near_ceiling, counted.falls_when_halved, counted.of_sample) == (N_CLASSES, 0, 2, 5)


def test_the_reliability_of_the_measure_goes_with_its_pair() -> None:
    known = {"model": "net", "layer": "deep", "measure": "pca_dimension", "parameters": "fraction=0.95"}
    tables = study(
        association("pearson", -0.6, 0.001), reliability=[{**known, "reliability": 0.3, "low": 0.1, "high": 0.5}]
    )
    fact = across_classes(tables)
    assert fact is not None
    assert fact.pairs[0].reliability == Reliability(0.3, 0.1, 0.5)
    assert fact.pairs[0].unreliable


def test_networks_stand_from_the_least_to_the_most_robust() -> None:
    fact = across_networks(study(models=("b", "a", "c")))
    assert fact is not None
    assert (fact.attack, fact.strength, fact.single) == ("pgd", 0.1, True)
    (order,) = fact.layers
    assert [each.network for each in order.networks] == ["b", "a", "c"]
    assert [each.value for each in order.networks] == pytest.approx([10.5, 11.5, 12.5])
    assert (order.trend, order.test, order.tied) == ("more", None, False)


def test_a_test_across_networks_decides_the_trend_where_there_is_one() -> None:
    names = tuple(f"net{at}" for at in range(5))
    known = {"model": "*", "n": 5}
    unsure = across_networks(study(association("spearman", 1.0, 0.2, **known), models=names))
    sure = across_networks(study(association("spearman", -1.0, 0.01, **known), models=names))
    assert unsure is not None
    assert sure is not None
    assert (unsure.layers[0].trend, sure.layers[0].trend, sure.layers[0].n_tested) == ("none", "fewer", 5)


def test_what_is_missing() -> None:
    assert missing(study(association("pearson", 0.1, 0.5))) == ["checks"]


def test_checks_are_counted_by_what_they_came_to() -> None:
    rows = [{"model": f"net{at}", "check": str(at), "passed": passed} for at, passed in enumerate((True, False, None))]
    fact = checked(conform("checks", rows))
    assert fact is not None
    assert (fact.n_checks, fact.n_networks, fact.n_passed, fact.n_undecided) == (3, 3, 1, 1)
    assert [row["model"] for row in fact.failed] == ["net1"]
    assert checked(conform("checks", [])) is None


def test_granularity_is_that_of_the_class_with_the_fewest_images() -> None:
    rows = [{"class_index": label, "n_images": n} for label, n in enumerate((100, 25, 50))]
    fact = granularity(conform("robustness", rows))
    assert fact is not None
    assert (fact.n_images, fact.step, fact.half_width) == (25, 0.04, pytest.approx(0.196))
    assert granularity(conform("robustness", [])) is None


def test_gaps_between_iterates_are_summed_over_classes_and_attacks_and_chance_level_kept_apart() -> None:
    rows = [
        {"model": "net", "attack": "pgd", "strength": 0.1, "iterate": iterate, "class_index": label}
        | {"n_images": 50, "n_robust": 20 - fell * (iterate == "any"), "parameters": f"steps={n_steps}"}
        | {"n_steps": n_steps}
        for n_steps, fell in ((10, 5), (40, 1))
        for label in range(2)
        for iterate in ("last", "any")
    ]
    chance = [row | {"model": "random", "n_robust": 50 * (row["iterate"] == "last")} for row in rows]
    models = [{"model": "net", "clean_accuracy": 0.9}, {"model": "random", "clean_accuracy": 0.5}]
    models = conform("models", [each | {"n_classes": 2} for each in models])
    first, second = gaps(conform("robustness", rows + chance), models)
    assert (first.n_images, first.n_robust, first.n_robust_any, first.gap) == (100, 40, 30, 0.1)
    assert second.gap == pytest.approx(0.02)
    assert (first.attack, second.attack) == ("pgd (10 steps)", "pgd (40 steps)")


def test_unreadable_images() -> None:
    rows = [{"image": str(at), "class_name": "cat", "reason": "truncated"} for at in range(3)]
    fact = unreadable(conform("skipped_images", rows))
    assert fact is not None
    assert (fact.n_classes, len(fact.images)) == (1, 3)
    assert unreadable(conform("skipped_images", [])) is None
