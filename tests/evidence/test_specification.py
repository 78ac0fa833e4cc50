"""Specification curves as facts: which cells they hold, that gates close them, and who is left out."""

from __future__ import annotations

import itertools
from typing import Any

import polars as pl

from manifoldscope.evidence.specification import CHOICES, Curve, specification_curves
from manifoldscope.tables import conform

METHODS = {"": "pearson", "margin": "two_draws", "clean_accuracy": "two_draws"}


def study(**changes: dict[str, Any]) -> dict[str, pl.DataFrame]:
    """Two layers, two strengths and two outcomes, with each control; rows of one control can be changed."""
    rows, medians = [], []
    for model, (control, method) in itertools.product(("net", "random", "*"), METHODS.items()):
        told = {"model": model, "method": method, "controls": control}
        cells = itertools.product(("early", "late"), (0.1, 0.2), ("robust_accuracy", "log_odds"))
        rows += [
            told
            | {"layer": layer, "measure": "m", "parameters": "", "attack": "pgd", "strength": strength}
            | {"iterate": "last", "outcome": outcome, "coefficient": 0.1 * (place - 5), "p_adjusted": 0.01 * place}
            | changes.get(control, {})
            for place, (layer, strength, outcome) in enumerate(cells)
        ]
        medians.append(told | {"n_cells": 8, "median": -0.15, "p_median": 0.03, "n_negative": 5})
    models = [
        {"model": "net", "clean_accuracy": 0.9, "n_classes": 10},
        {"model": "random", "clean_accuracy": 0.1, "n_classes": 10},
    ]
    tables = {"associations": rows, "specifications": medians, "models": models}
    return {name: conform(name, each) for name, each in tables.items()}


def curves_of(tables: dict[str, pl.DataFrame]) -> dict[str, Curve]:
    fact = specification_curves(tables)
    assert fact is not None
    assert list(fact.curves) == ["net"]
    return {curve.control: curve for curve in fact.curves["net"]}


def test_each_control_has_a_curve_of_its_cells_by_rising_coefficient() -> None:
    fact = specification_curves(study())
    assert fact is not None
    assert fact.at_chance == {"random": 0.1}
    curves = curves_of(study())
    assert list(curves) == list(METHODS)
    plain = curves[""]
    values = [cell.r.value for cell in plain.cells]
    assert values == sorted(values)
    assert len(values) == 8
    assert [cell.r.seen for cell in plain.cells] == [True] * 5 + [False] * 3
    assert plain.median is not None
    assert (plain.median.value, plain.median.p_value, plain.n_negative) == (-0.15, 0.03, 5)
    assert plain.answers
    assert plain.seen
    sizes = {choice: len(plain.values(choice)) for choice in CHOICES}
    assert sizes == {"measure": 1, "layer": 2, "attack": 2, "iterate": 1, "outcome": 2}
    assert [row["controls"] for row in fact.rows] == list(METHODS)


def test_a_gate_of_any_cell_closes_a_curve() -> None:
    tables = study()
    one = (pl.col("controls") == "margin") & (pl.col("layer") == "late") & (pl.col("strength") == 0.2)
    gate = pl.when(one).then(pl.lit("few_classes unreliable_control")).otherwise(pl.lit(""))
    curves = curves_of(tables | {"associations": tables["associations"].with_columns(gate=gate)})
    assert curves["margin"].gates == ("few_classes", "unreliable_control")
    assert not curves["margin"].answers
    assert not curves["margin"].seen
    assert curves["clean_accuracy"].answers


def test_images_that_are_shared_leave_an_empty_curve_that_says_so() -> None:
    none = {"coefficient": None, "p_adjusted": None, "gate": "same_images"}
    margin = curves_of(study(margin=none))["margin"]
    assert (margin.cells, margin.gates, margin.answers) == ((), ("same_images",), False)


def test_fewer_than_four_cells_are_no_curve() -> None:
    tables = study()
    few = tables["associations"].filter((pl.col("controls") != "margin") | (pl.col("coefficient") < -0.25))
    assert list(curves_of(tables | {"associations": few})) == ["", "clean_accuracy"]
    assert specification_curves(tables | {"associations": few.clear()}) is None


def test_a_median_that_was_not_tested_is_none() -> None:
    tables = study()
    curve = curves_of(tables | {"specifications": tables["specifications"].clear()})[""]
    assert curve.median is None
    assert not curve.answers
