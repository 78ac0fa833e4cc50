"""Networks trained on more and fewer classes: compared on those that all of them know, seed by seed."""

from __future__ import annotations

import polars as pl
import pytest
from scipy import stats

from manifoldscope.evidence.number_of_classes import numbers_of_classes
from manifoldscope.report.findings.number_of_classes import found
from manifoldscope.tables import conform

VALUES = {  # by network: number of classes, and the value of each class that it knows
    "three/0": (3, [4.0, 5.0, 6.0]),
    "three/1": (3, [6.0, 7.0, 8.0]),
    "five": (5, [9.0, 9.0, 12.0, 1.0, 1.0]),
    "loaded": (None, [100.0, 100.0, 100.0]),
}


def tables(values=VALUES):
    models = [
        {"model": model, "n_trained_classes": n, "recipe": None if n is None else "small:cnn standard"}
        for model, (n, _) in values.items()
    ]
    geometry = [
        {"model": model, "layer": "penultimate", "measure": "pca_dimension", "class_index": label, "value": value}
        for model, (_, classes) in values.items()
        for label, value in enumerate(classes)
    ]
    return {"models": conform("models", models), "geometry": conform("geometry", geometry)}


def test_the_classes_that_all_networks_know_are_compared():
    (fact,) = numbers_of_classes(tables())
    assert (fact.n_common, fact.recipe) == (3, "small:cnn standard")
    three, five = fact.trained
    assert (three.n_classes, three.n_networks, three.value) == (3, 2, 6.0)
    assert three.seed_deviation == pytest.approx(2**0.5)
    assert (five.n_classes, five.value, five.seed_deviation) == (5, 10.0, None)
    expected = stats.ttest_1samp([4.0, 3.0, 5.0], 0).confidence_interval()
    assert (fact.change_low, fact.change_high) == pytest.approx((expected.low, expected.high))
    assert (fact.change, fact.n_rising) == (4.0, 3)
    assert [row["n_classes"] for row in fact.rows] == [3, 5]


def test_it_is_said_what_is_clear_and_what_is_not():
    (finding,) = found(tables())
    assert finding.title.startswith("From 3 to 5 training classes dimension at penultimate grows from 6 to 10")
    (unclear,) = found(tables({**VALUES, "five": (5, [9.0, 2.0, 7.0])}))
    assert unclear.title.startswith("No clear change of dimension")
    assert "one training of each" not in " ".join(finding.caveats)


def test_one_class_has_no_interval_and_one_number_no_fact():
    (fact,) = numbers_of_classes(tables({"one": (2, [1.0]), "two": (4, [3.0, 5.0])}))
    assert (fact.change, fact.change_low, fact.trained[0].low) == (2.0, None, None)
    assert numbers_of_classes(tables({"a": (3, [1.0, 2.0]), "b": (3, [1.0, 2.0])})) == []
    assert (
        numbers_of_classes({"models": pl.DataFrame(schema=tables()["models"].schema), "geometry": tables()["geometry"]})
        == []
    )
