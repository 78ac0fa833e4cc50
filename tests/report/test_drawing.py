"""Each figure is a function of results or tables, under its own name."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from types import ModuleType

import polars as pl
import pytest
from matplotlib.figure import Figure as MatplotlibFigure

import manifoldscope as ms
from conftest import concluded_tables, other_tables, study_pictures
from manifoldscope.errors import StudyError
from manifoldscope.registry import Entry
from manifoldscope.report import FIGURES, Chart, Figure, draw
from manifoldscope.report.figure import why_not


class Stored:
    """Results whose tables are these."""

    def __init__(self, tables: dict[str, pl.DataFrame]) -> None:
        self.tables = tables

    def draw(self, figure: str) -> list[Figure]:
        return draw(figure, self.tables)


def test_every_registered_name_is_a_function_with_its_summary() -> None:
    assert set(dir(ms.report.figures)) == set(FIGURES.names())
    for entry in FIGURES:
        function = getattr(ms.report.figures, entry.name)
        assert function.__name__ == entry.name
        assert function.__doc__.startswith(entry.summary)


def test_drawings_are_named_after_their_figure(sampled: dict[str, pl.DataFrame]) -> None:
    tables = sampled | concluded_tables(sampled) | other_tables()
    pictures = study_pictures()
    n_drawn = 0
    for entry in FIGURES:
        names = [figure.name for figure in draw(entry.name, tables, pictures=pictures)]
        n_drawn += bool(names)
        assert len(set(names)) == len(names)
        assert all(name == entry.name or name.startswith(f"{entry.name}--") for name in names), names
    assert n_drawn > 15


def test_a_drawing_that_is_called_otherwise_gets_the_name_of_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes(contents: object) -> Iterator[Figure]:
        for name in ("sizes", "standard/0", "sizes--standard/0", "sizes--Größe 1"):
            yield Figure(name, "", "", Chart(), pl.DataFrame())

    entry = Entry("figure", "sizes", sizes, {})
    monkeypatch.setattr(FIGURES, "_entries", {**FIGURES._entries, "sizes": entry})
    names = [figure.name for figure in draw("sizes", {})]
    assert names == ["sizes", "sizes--standard-0", "sizes--standard-0--2", "sizes--gr-e-1"]


def test_every_figure_says_why_it_is_not_drawn(tables: dict[str, pl.DataFrame]) -> None:
    for entry in FIGURES:
        assert draw(entry.name, {}) == []
        assert len(why_not(entry.name)) > 15
        with pytest.raises(StudyError, match=re.escape(f"{entry.name!r} is not drawn: {why_not(entry.name)}")):
            getattr(ms.report.figures, entry.name)({})


def test_the_picture_that_opens_the_report_is_drawn_by_its_name(tables: dict[str, pl.DataFrame]) -> None:
    (figure,) = draw("central", tables)
    assert figure.name == "central"
    assert ms.report.figures.central(tables).svg() == figure.chart.svg()


def test_a_single_drawing_is_asked_for_by_its_name(tables: dict[str, pl.DataFrame]) -> None:
    (figure,) = draw("histograms--participation_ratio", tables)
    assert figure.name == "histograms--participation_ratio"
    with pytest.raises(
        StudyError, match="no figure 'histograms--ratio'; did you mean 'histograms--participation_ratio'"
    ):
        draw("histograms--ratio", tables)
    with pytest.raises(StudyError, match="there is no figure 'histogram'; did you mean 'histograms'"):
        draw("histogram--participation_ratio", tables)


def test_results_and_tables_give_the_same_figure(sampled: dict[str, pl.DataFrame]) -> None:
    (first, *_) = draw("transfer", sampled)
    for source in (sampled, Stored(sampled)):
        chart = ms.report.figures.transfer(source)
        assert isinstance(chart, MatplotlibFigure)
        assert chart.svg() == first.chart.svg()


def test_of_several_drawings_one_can_be_asked_for_or_all(tables: dict[str, pl.DataFrame]) -> None:
    drawn = draw("histograms", tables)
    histograms = ms.report.figures.histograms
    assert len(drawn) > 1
    assert len(histograms(tables, which="all")) == len(drawn)
    assert histograms(tables, which=1).svg() == drawn[1].chart.svg()
    assert histograms(tables, which=drawn[1].name).svg() == drawn[1].chart.svg()
    with pytest.raises(StudyError, match="there is no drawing 'histogram--pca_dimension'; did you mean"):
        histograms(tables, which="histogram--pca_dimension")
    with pytest.raises(StudyError, match=f"which = 9; expected a place from 0 to {len(drawn) - 1}"):
        histograms(tables, which=9)


def test_a_figure_is_drawn_in_a_style_at_a_width(tables: dict[str, pl.DataFrame]) -> None:
    chart = ms.report.figures.histograms(tables, style="paper", width="85mm")
    assert chart.printed_size[0] == pytest.approx(85 / 25.4)


def test_what_cannot_be_drawn_says_why() -> None:
    with pytest.raises(StudyError, match="'transfer' is not drawn: no adversarial examples were shown"):
        ms.report.figures.transfer({})
    with pytest.raises(StudyError, match="'examples' is not drawn: no adversarial examples were saved"):
        ms.report.figures.examples({})
    with pytest.raises(StudyError, match=r"not str; give ms.open\(DIR\)"):
        ms.report.figures.transfer("runs/digits")
    with pytest.raises(AttributeError, match="there is no figure 'transfers'; did you mean 'transfer'"):
        _ = ms.report.figures.transfers


def test_files_of_the_package_are_imported_as_usual() -> None:
    from manifoldscope.report.figures import panel
    from manifoldscope.report.figures.transfer import transfer_table

    assert isinstance(panel, ModuleType)
    assert transfer_table.__module__ == "manifoldscope.report.figures.transfer"
    assert isinstance(importlib.import_module("manifoldscope.report.figures.transfer"), ModuleType)
