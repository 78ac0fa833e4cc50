"""The worst class, the spread and the sinks of each network, at the strength where its classes differ most."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from manifoldscope.evidence import class_by_class, telling_classes, wilson
from manifoldscope.tables import conform

TABLES = ("models", "robustness", "outcomes")


def row(label: int, n_robust: int, *, n_images: int = 50, strength: float = 0.1, **more: Any) -> dict[str, Any]:
    return {
        "model": "net", "attack": "pgd", "parameters": "", "strength": strength, "iterate": "last",
        "class_index": label, "class_name": f"c{label}", "n_images": n_images, "n_clean_correct": n_images,
        "n_robust": n_robust, "clean_accuracy": 1.0, "robust_accuracy": n_robust / n_images, **more,
    }  # fmt: skip


def study(robustness: list[dict[str, Any]], **tables: list[dict[str, Any]]) -> dict[str, pl.DataFrame]:
    given = {"robustness": robustness, **tables}
    return {name: conform(name, given.get(name, [])) for name in TABLES}


def test_a_class_without_robust_images_is_the_worst_with_both_of_its_intervals() -> None:
    found = class_by_class(study([row(label, 0 if label == 3 else 40) for label in range(10)]))
    assert found is not None
    (net,) = found.networks
    worst = net.worst
    assert (worst.class_index, worst.class_name, worst.robust.value, worst.n_tied) == (3, "c3", 0, 0)
    low, high = wilson(np.array([0.0]), np.array([50.0]))
    assert (worst.robust.low, worst.robust.high) == (low[0], high[0])
    tail = (1 - 0.95 ** (1 / 10)) / 2
    assert (worst.low, worst.high) == (0, pytest.approx(1 - tail ** (1 / 50)))
    assert worst.high > worst.robust.high
    assert net.spread.max_minus_min == 0.8
    assert net.spread.seen
    assert net.sinks is None


def test_the_interval_of_the_worst_holds_for_a_class_of_few_images_that_may_be_worse() -> None:
    found = class_by_class(study([row(0, 40, n_images=100), row(1, 2, n_images=4)]))
    assert found is not None
    worst = found.networks[0].worst
    assert (worst.class_name, worst.robust.value) == ("c0", 0.4)
    assert worst.low < 0.05  # that of c1, of which two of four images are robust


def test_the_strength_is_that_at_which_classes_differ_most_and_the_attack_one_that_searches() -> None:
    rows = [row(label, n, strength=s) for s, of in ((0.1, (45, 40)), (0.2, (40, 10)), (0.3, (1, 0))) for label, n in
            enumerate(of)]  # fmt: skip
    rows += [each | {"iterate": "any", "n_robust": 0, "robust_accuracy": 0.0} for each in rows]
    rows += [row(label, 50 * label, attack="noise", strength=0.2) for label in range(2)]
    rows += [row(0, 50, strength=0.0), row(1, 0, strength=0.0)]
    found = telling_classes(conform("robustness", rows))
    assert found.select("attack", "strength", "iterate", "n_robust", "n_settings").rows() == [
        ("pgd", 0.2, "last", 40, 3),
        ("pgd", 0.2, "last", 10, 3),
    ]


def test_networks_at_chance_level_are_named_and_nothing_is_nothing() -> None:
    rows = [row(label, 5 * label, model=model) for label in range(5) for model in ("net", "random")]
    models = [{"model": name, "clean_accuracy": x, "n_classes": 5} for name, x in (("net", 0.9), ("random", 0.21))]
    found = class_by_class(study(rows, models=models))
    assert found is not None
    assert found.at_chance == {"random": 0.21}
    assert [net.model for net in found.networks] == ["net"]
    assert class_by_class(study([])) is None
    assert class_by_class(study([row(0, 5) | {"robust_accuracy": None, "n_robust": None}])) is None


def test_sinks_are_those_of_the_same_attack_and_strength_among_the_outputs_of_the_network() -> None:
    rows = [row(label, n, strength=s) for label in range(4) for s, n in ((0.1, 20 + 5 * label), (0.2, 0))]
    outcomes = [
        {
            "model": "net", "attack": "pgd", "parameters": "", "strength": strength, "image": f"{label}/{image}",
            "label": label, "clean_prediction": label, "last_prediction": into, "targeted": False,
        }
        for label in range(4)
        for image in range(12)
        for strength, into in ((0.1, 17), (0.2, (label + 1) % 4))
    ]  # fmt: skip
    models = [{"model": "net", "clean_accuracy": 0.9, "n_classes": 20}]
    found = class_by_class(study(rows, outcomes=outcomes, models=models))
    assert found is not None
    (net,) = found.networks
    assert net.sinks is not None
    (sink,) = net.sinks.found
    assert (net.strength, net.sinks.n_classes, sink.class_index, sink.n_into) == (0.1, 20, 17, 48)
    assert net.named(17) == "class 17"
    assert not net.targeted
