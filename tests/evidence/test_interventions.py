"""Interventions as facts: differences within classes, with intervals that hold what they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from manifoldscope.evidence.interventions import beside_random, interventions, paired
from manifoldscope.tables import conform


def row(directions: str, label: int, n_robust: int, *, draw: int = 0, k: int = 2, **more: Any) -> dict[str, Any]:
    return {
        "model": "net", "intervention": "last layer", "layer": "penultimate", "of": "class", "keep": "without",
        "n_directions": k, "directions": directions, "draw": draw, "class_index": label, "class_name": f"c{label}",
        "attack": "pgd", "parameters": "", "strength": 0.1, "iterate": "last", "n_images": 50, "n_clean_correct": 45,
        "n_robust": n_robust, "clean_accuracy": 0.9, "robust_accuracy": n_robust / 50, "dimension": 5, **more,
    }  # fmt: skip


def facts(rows: list[dict[str, Any]], **tables: list[dict[str, Any]]) -> list[Any]:
    known = {name: conform(name, tables.get(name, [])) for name in ("robustness", "models")}
    return interventions(conform("interventions", rows), known["robustness"], known["models"])


def test_draws_are_averaged_within_a_class_and_numbers_of_directions_over_all() -> None:
    rows = [row("leading", 0, 10), row("random", 0, 20), row("random", 0, 40, draw=1)]
    rows += [row("leading", 0, 0, k=5), row("random", 0, 20, k=5), row("random", 0, 20, draw=1, k=5)]
    (fact,) = facts(rows, robustness=[robust(0, 35)])
    (control,) = fact.controls
    assert fact.n_directions == (2, 5)
    assert (fact.robust, control.robust) == pytest.approx((0.1, 0.5))
    assert control.robust_difference.value == pytest.approx(-0.4)
    assert (fact.untouched_robust, fact.untouched_clean) == (0.7, 0.9)
    beside = beside_random(conform("interventions", rows))
    assert beside.select("n_directions", "robust_accuracy", "robust_accuracy_leading").rows() == [
        (2, pytest.approx(0.6), pytest.approx(0.2)),
        (5, pytest.approx(0.4), 0.0),
    ]


def robust(label: int, n_robust: int) -> dict[str, Any]:
    return {
        "model": "net", "attack": "pgd", "parameters": "", "strength": 0.1, "iterate": "last", "class_index": label,
        "n_images": 50, "n_clean_correct": 45, "n_robust": n_robust, "clean_accuracy": 0.9,
        "robust_accuracy": n_robust / 50,
    }  # fmt: skip


def test_what_has_no_outcome_does_not_count_and_what_has_no_partner_is_no_fact() -> None:
    empty = {"n_images": None, "n_robust": None, "robust_accuracy": None, "clean_accuracy": None, "iterate": None}
    rows = [row("leading", 0, 10), row("random", 0, 20), {**row("leading", 0, 0, k=50), **empty}]
    (fact,) = facts(rows)
    assert fact.n_directions == (2,)
    assert fact.untouched_robust is None
    assert facts([row("leading", 0, 10)]) == []
    assert facts([]) == []


def test_of_two_iterates_the_last_counts_and_a_network_at_chance_level_is_marked() -> None:
    rows = [row("leading", 0, 10), row("random", 0, 20)]
    rows += [{**each, "iterate": "any", "n_robust": 0, "robust_accuracy": 0.0} for each in rows]
    models = [{"model": "net", "clean_accuracy": 0.1, "n_classes": 10}]
    (fact,) = facts(rows, models=models)
    assert fact.robust == 0.2
    assert fact.at_chance


def test_classes_that_all_differ_alike_do_not_make_an_interval_of_no_width() -> None:
    found = paired(np.full(5, 0.2), np.full(5, 0.6), np.full(5, 20.0))
    assert found.value == pytest.approx(-0.4)
    assert -0.55 < found.low < -0.45
    assert -0.3 < found.high < -0.2


def test_the_interval_holds_the_mean_difference_of_all_classes_in_95_of_100_studies() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        gaps = random.normal(0.1, 0.15, size=10)
        one = random.binomial(40, np.clip(0.5 + gaps, 0, 1)) / 40
        other = random.binomial(40, 0.5, size=10) / 40
        found = paired(one, other, np.full(10, 40.0))
        held += found.low <= 0.1 <= found.high
    assert held / 400 > 0.93  # 95% less three standard errors of 400 draws would be 92%
    assert held < 400
