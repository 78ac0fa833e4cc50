"""The facts of a page: positions, numbers and words, equal to the tables they come from."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import study_pictures, study_tables
from manifoldscope.evidence import wilson, with_attack_name
from manifoldscope.report import words
from manifoldscope.report.contents import Contents, gather
from manifoldscope.report.explore import Selection, explore, select
from manifoldscope.report.explore.numbers import short
from manifoldscope.report.explore.page import packed
from manifoldscope.report.regression import regression


@pytest.fixture(scope="module")
def contents() -> Contents:
    return gather({}, study_tables(), study_pictures())


@pytest.fixture(scope="module")
def selection(contents: Contents) -> Selection:
    return select(contents)


@pytest.fixture(scope="module")
def facts(contents: Contents, selection: Selection) -> dict[str, Any]:
    return explore(contents, selection, name="a", question="b")


def test_values_and_counts_equal_the_tables(contents: Contents, selection: Selection, facts: dict[str, Any]) -> None:
    geometry = contents.tables["geometry"].filter(
        (pl.col("class_index") >= 0) & pl.col("value").is_finite() & (pl.col("attack").fill_null("") == "")
    )
    seen = 0
    for row in geometry.iter_rows(named=True):
        n, layer = selection.networks.index(row["model"]), selection.layers.index(row["layer"])
        m = selection.measures.index((row["measure"], row["parameters"] or ""))
        place = selection.classes.index(row["class_index"])
        assert facts["geometry"][f"{n}.{layer}.{m}"]["value"][place] == short(row["value"])
        seen += 1
    assert seen > 100
    for row in with_attack_name(contents.tables["robustness"]).iter_rows(named=True):
        n, a = selection.networks.index(row["model"]), selection.attacks.index(row["attack_name"])
        attack = facts["attacks"][a]
        s = [each["value"] for each in attack["strengths"]].index(row["strength"])
        i = [each["name"] for each in attack["iterates"]].index(row["iterate"])
        counts = facts["accuracy"][f"{n}.{a}.{s}.{i}"]
        place = selection.classes.index(row["class_index"])
        assert counts["k"][place] == row["n_robust"]
        low, high = wilson(np.array([row["n_robust"]]), np.array([row["n_images"]]))
        ends = facts["intervals"][f"{row['n_robust']}/{row['n_images']}"]
        np.testing.assert_allclose(ends, [low[0], high[0]], rtol=1e-3)


def test_the_words_of_a_cell_are_those_of_its_association(
    contents: Contents, selection: Selection, facts: dict[str, Any]
) -> None:
    rows = contents.tables["associations"].filter(
        (pl.col("method") == "pearson") & (pl.col("controls").fill_null("") == "") & pl.col("coefficient").is_finite()
    )
    seen = 0
    for row in rows.iter_rows(named=True):
        attack = selection.attacks.index(row["attack"])
        known = facts["attacks"][attack]
        key = [
            selection.networks.index(row["model"]),
            selection.layers.index(row["layer"]),
            selection.measures.index((row["measure"], row["parameters"] or "")),
            attack,
            [each["value"] for each in known["strengths"]].index(row["strength"]),
            [each["name"] for each in known["iterates"]].index(row["iterate"]),
            ("robust_accuracy", "log_odds").index(row["outcome"]),
        ]
        text = facts["cells"][".".join(map(str, key))]["text"]
        if "chance level" in text or "is the same for all but" in text:
            continue
        seen += 1
        assert f"Pearson r = {words.coefficient(row['coefficient'])}" in text
        if short(row["p_adjusted"]) is not None:
            assert f"adjusted p = {words.number(row['p_adjusted'], 2)}" in text
    assert seen


def test_the_line_of_a_cell_is_that_of_its_points(facts: dict[str, Any]) -> None:
    key, cell = next((key, cell) for key, cell in facts["cells"].items() if cell["line"] and key.endswith(".0"))
    n, layer, m, a, s, i, _ = key.split(".")
    x = np.array(facts["geometry"][f"{n}.{layer}.{m}"]["value"], dtype=float)
    counts = facts["accuracy"][f"{n}.{a}.{s}.{i}"]
    y = np.array(counts["k"], dtype=float) / np.array(counts["n"], dtype=float)
    line = regression(x, y)
    assert line is not None
    np.testing.assert_allclose([cell["line"]["slope"], cell["line"]["half"]], [line.slope, line.half], rtol=2e-3)


def test_the_first_choice_is_there(facts: dict[str, Any]) -> None:
    start = facts["start"]
    cell = ".".join(
        str(start[name]) for name in ("network", "layer", "measure", "attack", "strength", "iterate", "outcome")
    )
    assert facts["cells"][cell]["line"] is not None
    assert len(start["classes"]) == 1
    assert start["view"] in {view["name"] for view in facts["views"] if view["data"] is not None}


def test_a_network_at_chance_has_no_coefficient(facts: dict[str, Any]) -> None:
    chance = [place for place, network in enumerate(facts["networks"]) if network["at_chance"]]
    assert chance
    for key, cell in facts["cells"].items():
        if int(key.split(".")[0]) in chance:
            assert cell["line"] is None
            assert "chance level" in cell["text"]


def test_facts_are_packed_in_the_same_way_each_time_and_come_back(facts: dict[str, Any]) -> None:
    text = packed(facts)
    assert text == packed(facts)
    assert json.loads(gzip.decompress(base64.b64decode(text))) == json.loads(json.dumps(facts))


def test_nothing_at_all_is_a_page_too() -> None:
    empty = gather({}, {}, [])
    facts = explore(empty, select(empty))
    assert facts["networks"] == facts["classes"] == []
    assert facts["cells"] == {}
