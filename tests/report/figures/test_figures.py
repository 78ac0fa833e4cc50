"""Every figure is registered with its section, and no shape of a study breaks one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from conftest import (
    arguments,
    chart_of,
    concluded_tables,
    correlation,
    drawn,
    example,
    intervened_tables,
    n_titles,
    other_tables,
    sampled_tables,
    spectrum,
    study_pictures,
    study_tables,
)
from manifoldscope.errors import ManifoldscopeError, StudyError
from manifoldscope.report import FIGURES, Chart, Figure, Section, figures, render
from manifoldscope.report.figures.panel import MOST_TOOLTIPS

NAMES = [entry.name for entry in FIGURES]
OF_PICTURES = ["examples", "spectra", "correlations"]
"""Figures of pictures, which no table holds."""


def everything(n_classes: int = 4) -> dict[str, pl.DataFrame]:
    names = tuple(f"class number {label}" for label in range(n_classes))
    tables = sampled_tables(n_classes, names) | other_tables(n_classes, names) | intervened_tables(n_classes, names)
    return tables | concluded_tables(tables)


@pytest.fixture(scope="module")
def full() -> dict[str, pl.DataFrame]:
    return everything()


def test_every_figure_has_a_summary_and_a_section_of_its_own_place() -> None:
    sections = {entry.traits["section"].name: entry.traits["section"] for entry in FIGURES}
    assert all(entry.summary.endswith(".") for entry in FIGURES)
    assert all(section.title.endswith("?") for section in sections.values())
    places = [section.place for section in sections.values()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_of_nothing_is_not_drawn(name: str) -> None:
    assert drawn(name, {}) == []


@pytest.mark.parametrize("name", NAMES)
def test_columns_of_numbers_without_any_break_no_figure(name: str, full: dict[str, pl.DataFrame]) -> None:
    known = ("strength", "largest", "epsilon")
    blank = {
        table: rows.with_columns(
            pl.lit(float("nan")).alias(column)
            for column, kind in rows.schema.items()
            if kind == pl.Float64 and column not in known
        )
        for table, rows in full.items()
    }
    assert all(figure.chart.svg() for figure in drawn(name, blank))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"minimal", "depth_profile", "number_of_classes", "defences"}))
def test_each_caption_stands_alone_and_each_figure_has_a_table(name: str, full: dict[str, pl.DataFrame]) -> None:
    figures = drawn(name, full, study_pictures())
    assert figures
    for figure in figures:
        assert not re.search(
            r"\b[Aa]s (above|figure|the first)|otherwise as|the same at", figure.caption + figure.title
        )
        assert figure.caption.endswith(".")
        assert figure.table.height
    assert len({figure.name for figure in figures}) == len(figures)


@pytest.mark.parametrize("n_classes", [1, 31, 1000])
def test_any_number_of_classes_is_drawn(n_classes: int) -> None:
    tables = study_tables(n_classes, tuple(f"class number {label}" for label in range(n_classes)))
    tables |= other_tables(n_classes)
    tables["geometry"] = tables["geometry"].filter(measure="pca_dimension", layer="penultimate")
    central, by_strength = drawn("dimension_against_accuracy", tables)
    assert n_titles(central.chart) == 3 * n_classes
    assert n_titles(by_strength.chart) == (0 if 15 * n_classes > MOST_TOOLTIPS else 15 * n_classes)
    for name in ("histograms", "accuracy", "comparison", "shifts", "ood"):
        assert len(chart_of(name, tables).svg()) < 2_500_000


@pytest.mark.parametrize("n_classes", [2, 31, 100])
def test_pairs_displacements_and_curves_of_any_number_of_classes_are_drawn(n_classes: int) -> None:
    tables = sampled_tables(n_classes, tuple(f"class number {label}" for label in range(n_classes)))
    for name in ("pairs", "displacement", "curves"):
        assert len(chart_of(name, tables).svg()) < 2_500_000
    named = chart_of("pairs", tables).flat[0].get_xticklabels()
    assert len(named) == (n_classes if n_classes <= 30 else 0)


def test_one_network_one_layer_and_many_networks_are_drawn(tables: dict[str, pl.DataFrame]) -> None:
    alone = pl.col("model") == "standard"
    one = {name: tables[name].filter(alone) for name in ("geometry", "robustness")}
    one["geometry"] = one["geometry"].filter(measure="pca_dimension")
    few = one | {"geometry": one["geometry"].filter(layer="flatten")}
    names = [f"a network with a long name {place}" for place in range(9)]
    many = {
        name: pl.concat([table.with_columns(pl.lit(each).alias("model")) for each in names])
        for name, table in one.items()
    }
    for shape in (few, many):
        for name in ("dimension_against_accuracy", "histograms", "accuracy", "comparison"):
            assert all(figure.chart.svg() for figure in drawn(name, shape))


def test_pictures_that_are_degenerate_are_drawn() -> None:
    flat, lone = spectrum(np.zeros(5)), spectrum(np.array([2.0]), class_name="one")
    holed = spectrum(np.array([2.0, np.nan, 0.0]), model="b")
    constant = correlation(np.full((3, 3), np.nan), mean=float("nan"))
    still = example(np.ones((4, 4, 1)), np.ones((4, 4, 1)), attack="noise", last_prediction=0)
    colour = example(np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.03), strength=8 / 255)
    for pictures in ([flat], [lone], [flat, lone, holed], [constant], [constant] * 30, [still], [still, colour]):
        (figure,) = (each for name in OF_PICTURES for each in drawn(name, {}, pictures))
        assert figure.chart.svg()
        assert figure.table.height == len(pictures)


def test_an_unknown_figure_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(StudyError, match="there is no figure 'transfers'; did you mean 'transfer'"):
        drawn("transfers", {})


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is registered in a test is forgotten after it."""
    monkeypatch.setattr(FIGURES, "_entries", dict(FIGURES._entries))
    return


@pytest.mark.usefixtures("registered")
def test_a_figure_without_a_section_is_refused_by_name() -> None:
    FIGURES.register("lost")(lambda contents: [])
    with pytest.raises(ManifoldscopeError, match="the figure 'lost' is in no section; register it with section="):
        render(**arguments(tables={}, pictures=[]))


@pytest.mark.usefixtures("registered")
def test_the_example_of_the_docs_draws(tables: dict[str, pl.DataFrame]) -> None:
    assert figures.__doc__
    exec(re.sub(r"^    ", "", "\n".join(re.findall(r"^(?:    .*)?$", figures.__doc__, re.M)), flags=re.M), {})
    (figure,) = drawn("sizes", tables)
    assert isinstance(figure, Figure)
    assert isinstance(figure.chart, Chart)
    assert isinstance(FIGURES["sizes"].traits["section"], Section)
