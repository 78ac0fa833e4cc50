"""The view of specifications: every coefficient of the tables by rank, with what it is a coefficient of."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import STUDY, concluded_tables, study_tables
from manifoldscope.report.contents import gather
from manifoldscope.report.explore import VIEWS, Explored, select
from manifoldscope.report.explore.cells import OUTCOMES
from manifoldscope.report.explore.views import specifications as view
from manifoldscope.report.findings.phrases import signed
from manifoldscope.tables import conform


def page_of(tables: dict[str, pl.DataFrame], **wanted: list[str]) -> Explored:
    contents = gather(STUDY, tables, [])
    return Explored(contents, select(contents, wanted))


def shown(page: Explored) -> Any:
    return VIEWS["specifications"].target(page)


@pytest.fixture(scope="module")
def concluded() -> dict[str, pl.DataFrame]:
    tables = study_tables()
    return tables | concluded_tables(tables)


def test_each_mark_is_a_row_of_the_table_with_its_choices(concluded: dict[str, pl.DataFrame]) -> None:
    page = page_of(concluded)
    data = shown(page)
    assert set(data["networks"]) == {"1", "2"}  # the untrained one is at chance level
    assert "random" in data["at_chance"]
    plain, *given = data["networks"]["1"]
    assert [each["given"] for each in given] == ["Given the margin", "Given clean accuracy"]
    assert plain["r"] == sorted(plain["r"])
    parts = {part["name"]: part for part in data["choices"]}
    for i, r in enumerate(plain["r"]):
        at = {name: parts[name]["at"][plain["chosen"][name][i]] for name in parts}
        chosen = {name: place for each in at.values() for name, place in each.items()}
        measure, parameters = page.measures[chosen["measure"]]
        attack = page.attacks[chosen["attack"]]
        (row,) = (
            concluded["associations"]
            .filter(
                model="standard", layer=page.layers[chosen["layer"]], measure=measure, parameters=parameters,
                attack=attack, strength=page.strengths(attack)[chosen["strength"]], iterate=chosen["iterate"],
                outcome=list(OUTCOMES)[chosen["outcome"]], method="pearson", controls="",
            )
            .to_dicts()
        )  # fmt: skip
        assert (r, plain["low"][i], plain["high"][i], plain["p"][i]) == pytest.approx(
            (row["coefficient"], row["low"], row["high"], row["p_adjusted"]), abs=6e-3
        )
    (median,) = concluded["specifications"].filter(model="standard", method="pearson").to_dicts()
    assert (plain["n"], plain["median"]) == (median["n_cells"], pytest.approx(median["median"], abs=1e-4))
    assert plain["seen"] == "0" * plain["n"]
    assert f"the median r is {signed(median['median'])} (p = 0.2), with {median['n_negative']} below 0" in plain["text"]


def test_what_the_page_does_not_hold_is_shown_and_cannot_be_chosen(concluded: dict[str, pl.DataFrame]) -> None:
    layers = next(
        part for part in shown(page_of(concluded, layers=["penultimate"]))["choices"] if part["name"] == "layer"
    )
    assert dict(zip(layers["labels"], layers["at"], strict=True)) == {"penultimate": {"layer": 0}, "flatten": None}


def test_a_gate_leaves_a_curve_that_says_why(concluded: dict[str, pl.DataFrame]) -> None:
    gate = pl.when(pl.col("controls") == "margin").then(pl.lit("few_classes")).otherwise(pl.lit(""))
    gated = concluded | {"associations": concluded["associations"].with_columns(gate=gate)}
    _, margin, clean = shown(page_of(gated))["networks"]["1"]
    assert (margin["answers"], clean["answers"]) == (False, True)
    assert margin["text"].startswith("Given the margin, nothing can be said of standard: fewer than")


def test_long_curves_are_thinned_evenly_with_both_ends() -> None:
    models = [f"net{at}" for at in range(12)]
    n = 800
    r = np.linspace(-0.9, 0.9, n)
    each = pl.DataFrame({"layer": [f"layer{at % 20}" for at in range(n)], "strength": np.arange(1, n + 1) / n})
    each = each.with_columns(coefficient=r, low=r - 0.1, high=r + 0.1, p_adjusted=pl.lit(0.123456))
    told = {"measure": "pca_dimension", "attack": "pgd", "iterate": "last", "outcome": "log_odds"}
    each = each.with_columns(pl.lit(value).alias(name) for name, value in told.items())
    ways = pl.DataFrame({"method": ["pearson", "two_draws", "two_draws"], "controls": ["", "margin", "clean_accuracy"]})
    rows = pl.DataFrame({"model": models}).join(ways, how="cross").join(each, how="cross")
    known = pl.DataFrame({"model": models, "clean_accuracy": [0.9] * 12, "n_classes": [10] * 12})
    page = page_of({"associations": conform("associations", rows), "models": conform("models", known)})
    data = shown(page)
    curves = [curve for every in data["networks"].values() for curve in every]
    assert len(curves) == 36
    assert sum(len(curve["r"]) for curve in curves) <= view.MOST_OF_ALL
    assert all((curve["n"], curve["rank"][0], curve["rank"][-1]) == (n, 1, n) for curve in curves)
    assert curves[0]["r"][0] == -0.9
    assert len(json.dumps(data)) < 800_000
    assert "at most 250 specifications" in data["left_out"]


def test_there_is_none_without_associations() -> None:
    assert shown(page_of({name: table for name, table in study_tables().items() if name != "associations"})) is None
