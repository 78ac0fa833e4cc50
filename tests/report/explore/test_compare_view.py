"""Cards side by side: the classes that are suggested."""

from __future__ import annotations

import polars as pl

from conftest import study_tables
from manifoldscope.report.contents import gather
from manifoldscope.report.explore import VIEWS, Explored, select


def test_the_least_the_middle_and_the_most_robust_class_are_suggested() -> None:
    tables = study_tables(7)
    robust = pl.col("class_index").replace_strict({0: 12, 1: 3, 2: 30, 3: 8, 4: 20, 5: 25, 6: 9}, return_dtype=pl.Int64)
    contents = gather({}, tables | {"robustness": tables["robustness"].with_columns(n_robust=robust)}, [])
    page = Explored(contents, select(contents))
    found = VIEWS["compare"].target(page)["suggested"]
    assert set(found) == set(page.counts)
    assert all(classes == [1, 0, 2] for classes in found.values())


def test_two_classes_are_suggested_as_they_are_and_a_single_one_is_not_compared() -> None:
    for n, expected in ((2, {2}), (1, None)):
        contents = gather({}, study_tables(n), [])
        data = VIEWS["compare"].target(Explored(contents, select(contents)))
        assert (data if data is None else {len(classes) for classes in data["suggested"].values()}) == expected


def test_nothing_is_suggested_without_attacks() -> None:
    contents = gather({}, {"geometry": study_tables()["geometry"]}, [])
    assert VIEWS["compare"].target(Explored(contents, select(contents))) == {"suggested": {}}
