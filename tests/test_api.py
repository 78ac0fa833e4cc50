"""What a finished study draws, and when its report is made again."""

from __future__ import annotations

import html

import pytest

import manifoldscope as ms
from manifoldscope import run
from manifoldscope.errors import ManifoldscopeError, StoreError, StudyError
from manifoldscope.report import FIGURES, Chart, Figure, Section
from manifoldscope.report.explore import VIEWS
from manifoldscope.study.progress import Progress
from tests.study import tiny

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return run(tiny.study(), out=tmp_path_factory.mktemp("runs") / "tiny", progress=QUIET)


def test_a_figure_of_a_result_is_that_of_its_report(result):
    for name in ("histograms", "spectra", "correlations", "examples"):
        figures = result.draw(name)
        assert figures
        for figure in figures:
            assert figure.chart.svg() == (result.folder / "figures" / f"{figure.name}.svg").read_text()
            assert figure.caption in html.unescape(result.report.read_text())
            assert figure.chart._repr_svg_() == figure.chart.svg()  # what a notebook shows
    assert result.draw("transfer") == []  # not asked for


def test_a_figure_of_ones_own_is_in_the_report_of_the_next_run_which_computes_nothing(result, monkeypatch):
    monkeypatch.setattr(FIGURES, "_entries", dict(FIGURES._entries))

    @FIGURES.register("mine", section=Section("mine", "What do I see?", place=1))
    def mine(contents):
        """A figure of my own."""
        yield Figure("mine", "Mine", "An empty panel.", Chart(), contents.tables["models"])

    again = run(tiny.study(), out=result.folder, progress=QUIET)
    assert again.n_computed == 0
    assert (result.folder / "figures" / "mine.svg").is_file()
    assert "What do I see?" in result.report.read_text()
    monkeypatch.undo()
    run(tiny.study(), out=result.folder, progress=QUIET)
    assert not (result.folder / "figures" / "mine.svg").exists()


def test_a_view_whose_script_has_changed_is_in_the_page_of_the_next_run(result, monkeypatch, tmp_path):
    monkeypatch.setattr(VIEWS, "_entries", dict(VIEWS._entries))
    script = tmp_path / "mine.js"
    traits = {"title": "Mine", "caption": "Nothing.", "place": 90, "missing": "there is nothing"}

    @VIEWS.register("mine", script=script, **traits)
    def mine(page):
        """A view of my own."""
        return 1

    for told in ("the first", "the second"):
        script.write_text(f'export const view = {{ mount: () => "{told}" }};\n')
        run(tiny.study(), out=result.folder, progress=QUIET)
        assert told in result.report.read_text()
    script.unlink()
    with pytest.raises(ManifoldscopeError, match=r"the script mine\.js cannot be read"):
        run(tiny.study(), out=result.folder, progress=QUIET)
    monkeypatch.undo()
    run(tiny.study(), out=result.folder, progress=QUIET)


def test_results_are_opened_again_and_show_themselves_shortly(result):
    again = ms.open(result.folder)
    assert again.table("geometry").equals(result.table("geometry"))
    for name, message in (("geometri", "did you mean 'geometry'"), ("nope", "there is no table 'nope'; there are: ")):
        with pytest.raises(StudyError, match=message):
            again.table(name)
    assert again.status.failed == {}
    assert repr(again) == f"Result({str(result.folder)!r})"
    shown = again._repr_html_()
    assert all(html.escape(finding.title) in shown for finding in again.findings)
    with pytest.raises(StoreError, match="holds no study; run one first"):
        ms.open(result.folder.parent)
