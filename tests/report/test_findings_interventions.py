"""Interventions in words: differences with intervals, and nothing of what they leave open."""

from __future__ import annotations

import polars as pl

from conftest import intervened_tables, study_tables
from manifoldscope.report.findings import Finding, diagnose


def found(**only: str) -> Finding:
    tables = study_tables() | intervened_tables()
    tables["interventions"] = tables["interventions"].filter(**only)
    (finding,) = [finding for finding in diagnose(tables) if finding.kind == "interventions"]
    return finding


def test_a_difference_is_said_with_its_interval_beside_both_controls_and_the_untouched_network() -> None:
    finding = found(model="adversarial", of="all", keep="without")
    assert finding.title == (
        "With leading instead of random directions of layer penultimate, robust accuracy changes by −21.5 points"
    )
    for said in (
        "adversarial, without the 1, 5 and 20 leading directions of all classes together (PGD, ε = 0.1; means over 10 "
        "classes and 3 numbers of directions): robust accuracy is 74.7%",
        "against 96.1% with random ones, a difference of −21.5 points (95%: −26.2 to −16.8)",
        "with random ones rescaled to an equal change, a difference of −14.0 points",
        "Clean accuracy is 76.2%, against",
        "Untouched, the network has 96.2% robust",
    ):
        assert said in finding.text
    assert not any("true class" in caveat for caveat in finding.caveats)
    assert any("true class" in caveat for caveat in found(model="adversarial", of="class").caveats)
    assert len(finding.numbers) == 2 * 3 * 10  # controls, numbers, classes


def test_what_intervals_leave_open_is_not_claimed() -> None:
    tables = study_tables() | intervened_tables()
    rows = tables["interventions"].filter(model="standard", of="all", n_directions=1, keep="without")
    same = rows.with_columns(pl.lit(20).alias("n_robust"), pl.lit(0.5).alias("robust_accuracy"))
    (finding,) = [each for each in diagnose(tables | {"interventions": same}) if each.kind == "interventions"]
    assert finding.title == (
        "Robust accuracy does not clearly differ between leading and random directions of layer penultimate"
    )
    assert "a difference of +0.0 points (95%: −" in finding.text


def test_of_many_differences_as_many_are_clear_as_chance_makes() -> None:
    tables = study_tables() | intervened_tables()
    rows = tables["interventions"].filter(model="adversarial", of="all", keep="without")
    each = [rows.with_columns(model=pl.lit(f"net{place}")) for place in range(20)]
    same = pl.concat([each[0], *(one.with_columns(robust_accuracy=pl.lit(0.5)) for one in each[1:])])
    (finding,) = [one for one in diagnose(tables | {"interventions": same}) if one.kind == "interventions"]
    assert finding.title.startswith("Robust accuracy does not clearly differ")
    assert found(model="adversarial", of="all", keep="without").title.startswith("With leading instead")


def test_of_many_the_lowest_and_the_highest_are_told_and_how_many_are_clear() -> None:
    finding = found()
    assert (
        "Of 16 differences of robust accuracy, 14 have an interval that leaves out 0, where chance alone"
        in finding.text
    )
    assert finding.text.count("Untouched") == 2
    assert "Close to chance level without intervention: random." in finding.text
    assert found(model="random").title.startswith("No network is far enough above chance level")
