"""Each figure is a function of results or tables, under its own name."""

from __future__ import annotations

import importlib
from types import ModuleType

import polars as pl
import pytest
from matplotlib.figure import Figure as MatplotlibFigure

import manifoldscope as ms
from manifoldscope.errors import StudyError
from manifoldscope.report import FIGURES, Figure, draw


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
    with pytest.raises(StudyError, match="there is no drawing 'histogram--pca-dimension'; did you mean"):
        histograms(tables, which="histogram--pca-dimension")
    with pytest.raises(StudyError, match=f"which = 9; expected a place from 0 to {len(drawn) - 1}"):
        histograms(tables, which=9)


def test_a_figure_is_drawn_in_a_style_at_a_width(tables: dict[str, pl.DataFrame]) -> None:
    chart = ms.report.figures.histograms(tables, style="paper", width="85mm")
    assert chart.printed_size[0] == pytest.approx(85 / 25.4)


def test_what_cannot_be_drawn_says_why() -> None:
    with pytest.raises(StudyError, match="'transfer' is not drawn: the tables hold nothing for it"):
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
