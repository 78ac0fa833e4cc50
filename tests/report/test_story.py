"""The story: the answer first, with its numbers, its doubts, and one picture."""

from __future__ import annotations

import polars as pl
import pytest

from conftest import study_tables
from manifoldscope.cli.printing import WIDTH, told
from manifoldscope.report import diagnose, draw
from manifoldscope.report.central_pair import central_pair
from manifoldscope.report.findings.phrases import signed
from manifoldscope.report.story import LONGEST, Story, story
from manifoldscope.tables import TABLES, conform


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    given = study_tables()
    return {name: conform(name, given.get(name, [])) for name in TABLES}


def test_the_answer_is_the_weightiest_finding_and_its_coefficient_has_an_interval(
    tables: dict[str, pl.DataFrame],
) -> None:
    findings = [found for found in diagnose(tables) if found.kind == "association"]
    found = story({"question": "Why?"}, tables, findings)
    assert (found.question, found.answer) == ("Why?", findings[0].title)
    pair = central_pair(tables)
    assert pair is not None
    assert pair.plain is not None
    assert f"r = {signed(pair.plain.value)}" in found.sure[0]
    assert f"{pair.model}, {pair.layer}" in found.sure[0]
    assert "checks of the evaluation" in found.sure[-1]
    assert found.change == tuple(
        text[: len(said)] if said == text else said
        for said, text in zip(found.change, findings[0].caveats, strict=False)
    )


def test_the_central_picture_is_of_the_pair_with_the_largest_coefficient(tables: dict[str, pl.DataFrame]) -> None:
    (figure,), pair = draw("central", tables), central_pair(tables)
    assert figure is not None
    assert pair is not None
    assert figure.table["model"].unique().to_list() == [pair.model]
    assert figure.table["strength"].unique().to_list() == [pair.strength]
    assert figure.table.height == pair.n


def test_the_numbers_of_a_finding_are_a_plain_table(tables: dict[str, pl.DataFrame]) -> None:
    told = [finding for finding in diagnose(tables) if finding.numbers]
    assert len(told) > 5
    for finding in told:  # what is nested has no place in a CSV file
        assert not any(isinstance(value, list | tuple | dict) for row in finding.numbers for value in row.values())


def test_without_findings_it_says_so() -> None:
    empty = {name: conform(name, []) for name in TABLES}
    found = story({}, empty, [])
    assert found.answer == "No conclusion could be drawn"
    assert draw("central", empty) == []


def test_a_terminal_shows_it_in_fifteen_lines_at_most() -> None:
    long = "a clause of some length, and another one; " * 40
    lines = told(Story(long, long, (long,) * 3, (long,) * 3, also=(long, long)))
    assert len(lines) == 15
    assert all(len(line) <= WIDTH for line in lines)


def test_long_paragraphs_end_at_a_clause(tables: dict[str, pl.DataFrame]) -> None:
    findings = diagnose(tables)
    told_long = story({}, tables, [type(findings[0])(kind="x", title="t", text="word, " * 300, weight=1)])
    assert len(told_long.sure[0]) <= LONGEST + 2
    assert told_long.sure[0].endswith("word …")
