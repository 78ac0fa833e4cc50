"""The one door through which rows become a table."""

from __future__ import annotations

import polars as pl
import pytest

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.tables import TABLES, conform, parameters_text


@pytest.mark.parametrize("name", list(TABLES))
def test_an_empty_table_has_its_columns_and_types(name):
    table = conform(name, [])
    assert table.schema == pl.Schema(TABLES[name].columns)
    assert set(TABLES[name].identity) <= set(table.columns)


def test_rows_are_ordered_typed_and_completed():
    rows = [{"model": "b", "check": "x", "passed": True}, {"check": "x", "model": "a", "value": 1}]
    table = conform("checks", rows)
    assert table["model"].to_list() == ["a", "b"]
    assert table["value"].to_list() == [1.0, None]


@pytest.mark.parametrize("rows", [[{"modle": "a"}], pl.DataFrame({"modle": ["a"]})])
def test_an_unknown_column_is_an_error(rows):
    with pytest.raises(ManifoldscopeError, match="there is no column 'modle'; did you mean 'model'"):
        conform("checks", rows)


def test_an_unknown_table_is_an_error():
    with pytest.raises(ManifoldscopeError, match="there is no table 'geometri'; did you mean 'geometry'"):
        conform("geometri", [])


def test_parameters_have_one_text():
    assert parameters_text({"fraction": 0.95, "scaling": None, "on": True, "k": 3}) == "fraction=0.95 on=true k=3"


def test_the_examples_run():
    import doctest

    from manifoldscope import tables

    assert doctest.testmod(tables).failed == 0


def test_a_row_that_stands_twice_is_an_error():
    rows = [{"model": "a", "check": "x", "passed": passed} for passed in (True, False)]
    with pytest.raises(ManifoldscopeError, match="2 rows are told twice or more, such as that of model 'a', check 'x'"):
        conform("checks", rows)
