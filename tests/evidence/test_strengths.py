"""At which strength answers and figures are given."""

from __future__ import annotations

import polars as pl
import pytest

from manifoldscope.evidence.strengths import telling_attack, telling_setting, telling_strengths


def classes(*rows: tuple[str, str, float, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["model", "threat", "strength", "accuracy"], orient="row")


def test_each_network_is_taken_where_its_classes_differ_most_and_clean_only_where_there_is_no_other() -> None:
    table = classes(
        ("a", "pgd", 0.0, 0.0),
        ("a", "pgd", 0.0, 1.0),
        ("a", "pgd", 0.1, 0.4),
        ("a", "pgd", 0.1, 0.6),
        ("a", "pgd", 0.2, 0.3),
        ("a", "pgd", 0.2, 0.8),
        ("b", "pgd", 0.0, 0.9),
        ("b", "pgd", 0.0, 0.8),
    )
    assert telling_strengths(table).select("model", "strength").unique().sort("model").rows() == [("a", 0.2), ("b", 0)]


def test_the_smaller_strength_wins_a_tie() -> None:
    table = classes(*(("a", "pgd", strength, accuracy) for strength in (0.3, 0.1, 0.2) for accuracy in (0.1, 0.7)))
    assert telling_strengths(table)["strength"].unique().to_list() == [0.1]


def test_the_attack_of_the_most_strengths_is_taken_if_any_of_them_tells_classes_apart() -> None:
    long = [("a", "pgd", strength, accuracy) for strength in (0.1, 0.2) for accuracy in (0.5, 0.6)]
    short = [("a", "fgsm", 0.1, 0.0), ("a", "fgsm", 0.1, 1.0)]
    assert telling_attack(classes(*long, *short)) == "pgd"
    flat = [(model, threat, strength, 0.0) for model, threat, strength, _ in long]
    assert telling_attack(classes(*flat, *short)) == "fgsm"


@pytest.mark.parametrize(("leave_out", "expected"), [((), ("pgd", 0.2)), (("guesser",), ("pgd", 0.1))])
def test_networks_that_guess_do_not_choose_the_setting(leave_out: tuple[str, ...], expected: tuple[str, float]) -> None:
    rows = {
        "network": ["a", "b", "guesser"] * 2,
        "strength": [0.1] * 3 + [0.2] * 3,
        "accuracy": [0.2, 0.8, 0.5, 0.6, 0.8, 0.0],
    }
    table = pl.DataFrame(rows).with_columns(threat=pl.lit("pgd"))
    assert telling_setting(table, leave_out=leave_out) == expected


def test_the_setting_that_the_most_networks_share_is_taken_and_all_count_where_all_guess() -> None:
    rows = {
        "network": ["a", "b", "c", "a", "b"],
        "strength": [0.1] * 3 + [0.2] * 2,
        "accuracy": [0.5, 0.5, 0.6, 0.0, 1.0],
    }
    table = pl.DataFrame(rows).with_columns(threat=pl.lit("pgd"))
    assert telling_setting(table) == ("pgd", 0.1)
    assert telling_setting(table, leave_out=("a", "b", "c")) == ("pgd", 0.1)
