"""Rows of measured points: the same for a class alone and among others, and never NaN without a reason."""

from __future__ import annotations

import math

import torch

from manifoldscope.geometry import ClassManifold, Estimate, Null
from manifoldscope.recordings.measured import curves, measured
from manifoldscope.recordings.rows import class_rows, curve_rows, estimate_row, joint_rows, reliability_row
from manifoldscope.seeds import generator
from manifoldscope.tables import TABLES

WANTED = [("participation_ratio", {}), ("two_nn", {})]


def classes(*sizes: int) -> list[ClassManifold]:
    drawing = generator(0, "classes")
    return [
        ClassManifold(torch.randn(size, 12, generator=drawing), label=10 + place) for place, size in enumerate(sizes)
    ]


def test_a_class_has_the_same_rows_alone_and_among_others():
    manifolds = classes(20, 30, 25)
    together = measured(manifolds, WANTED, split_halves=2, null=5, seed=3).filter(label="11").drop("label", "other")
    alone = class_rows(manifolds[1], WANTED, label=11, split_halves=2, null=5, seed=3)
    assert together.to_dicts() == alone
    curve = curves(manifolds, WANTED, draws=2, seed=3).filter(label="11").drop("label")
    assert curve["value"].to_list() == [
        row["value"] for row in curve_rows(manifolds[1], WANTED, label=11, draws=2, seed=3)
    ]


def test_rows_have_the_columns_of_their_tables():
    manifolds = classes(20, 20, 20)
    made = {
        "geometry": class_rows(manifolds[0], WANTED, label=10, split_halves=1, seed=0),
        "pairs": [
            row
            for row in joint_rows(manifolds, [("centroid_distance", {})], split_halves=1, seed=0)
            if row["other_place"]
        ],
        "curves": curve_rows(manifolds, [("centroid_distance", {})], draws=1, seed=0),
        "reliability": [reliability_row("two_nn", {}, manifolds, splits=1, seed=0)],
    }
    named = {"model", "layer", "pool", "class_index", "other_class_index", "class_name", "attack", "strength", "split"}
    for table, rows in made.items():
        assert rows
        assert set(TABLES[table].columns) - named <= set(rows[0])


def test_a_value_that_describes_the_sample_is_flagged():
    def flags(value: float, halved: bool | None) -> tuple[bool, bool | None]:
        row = estimate_row("m", Estimate(value, 50, 100, ceiling=49, falls_when_halved=halved))
        return row["describes_sample"], row["falls_when_halved"]

    assert flags(44.0, None) == (False, None)
    assert flags(44.2, False) == (True, False)  # within 10% of its ceiling
    assert flags(20.0, True) == (True, True)
    assert flags(20.0, False) == (False, False)

    def falls(n_points: int, n_features: int) -> bool | None:
        points = ClassManifold(torch.randn(n_points, n_features, generator=generator(0, "points")), label=10)
        (found,) = class_rows(points, [("participation_ratio", {})], label=10, split_halves=3, seed=0)
        return found["falls_when_halved"]

    assert falls(200, 3) is False
    assert falls(20, 500) is True


def test_what_gives_no_value_gives_its_reason():
    few = classes(3, 3, 3)
    unreliable = reliability_row("participation_ratio", {}, few, splits=2, seed=0)
    assert math.isnan(unreliable["reliability"])
    assert "expected at least 4" in unreliable["note"]
    (row,) = curve_rows(few, [("pca_dimension", {"fraction": 0.9})], draws=2, seed=0)
    assert math.isnan(row["value"])
    assert row["parameters"] == "fraction=0.9"
    assert "says nothing of several classes as a whole" in row["note"]


def test_a_null_without_values_says_why_beside_the_value():
    chance = Null(2.5, (), note="9 of 9 draws have no value: all distances are 0")
    row = estimate_row("two_nn", Estimate(2.5, n_points=20, n_features=3, note="of few points"), chance)
    assert math.isnan(row["null"])
    assert math.isnan(row["null_p"])
    assert row["note"] == "of few points; null: 9 of 9 draws have no value: all distances are 0"
