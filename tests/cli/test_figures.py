"""manifoldscope figures: which files it writes, and what it says."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from manifoldscope.cli import figures
from manifoldscope.errors import StoreError, StudyError
from manifoldscope.report import FIGURES


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are these figures alone, since all take long to draw."""
    kept = ("classes", "histograms", "training", "transfer")
    assert set(kept) <= set(FIGURES.names())
    monkeypatch.setattr(FIGURES, "_entries", {name: FIGURES[name] for name in kept})


def drawn(*words: str) -> int:
    parser = argparse.ArgumentParser()
    figures.arguments(parser)
    return figures.execute(parser.parse_args(words))


def test_figures_are_drawn_in_every_format_at_their_width(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(finished), "--width", "85mm", "--format", "pdf,svg,png", "--only", "classes", "histograms"]
    assert drawn(*words, "--out", str(tmp_path / "drawn")) == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "drawn").iterdir()}
    names = {Path(name).stem for name in files}
    assert names == {"classes", "histograms--pca_dimension--fraction-0.95", "histograms--participation_ratio"}
    assert len(files) == 9
    assert files["classes.pdf"].startswith(b"%PDF-")
    assert files["classes.png"].startswith(b"\x89PNG")
    assert b'<svg width="85.00mm"' in files["classes.svg"]
    printed = capsys.readouterr().out
    assert "classes: 85 x " in printed
    assert f"3 figures (pdf, svg, png) in {tmp_path / 'drawn'}" in printed


def test_one_drawing_is_asked_for_by_the_name_of_its_file(finished: Path, tmp_path: Path) -> None:
    assert drawn(str(finished), "--only", "histograms--participation_ratio", "--out", str(tmp_path)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["histograms--participation_ratio.pdf"]


def test_what_is_taller_than_a_page_has_a_file_for_each_and_one_pdf(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifoldscope.report.settling.TALLEST", 90 / 25.4)
    words = [str(finished), "--only", "histograms--participation_ratio", "--width", "85mm", "--format", "pdf,svg"]
    assert drawn(*words, "--out", str(tmp_path)) == 0
    name = "histograms--participation_ratio"
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.pdf", f"{name}.svg", f"{name}--page-2.svg"}
    assert ", 2 pages" in capsys.readouterr().out
    assert (tmp_path / f"{name}.pdf").read_bytes().count(b"/MediaBox") == 2


def test_what_a_study_has_nothing_for_is_said_with_the_reason_where_it_was_asked_for(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drawn(str(finished), "--only", "transfer", "classes", "--out", str(tmp_path)) == 1
    printed = capsys.readouterr()
    assert printed.err == (
        "not drawn: transfer: no adversarial examples were shown to other networks (transfer = true in [[attacks]])\n"
    )
    assert "1 figure (pdf)" in printed.out
    assert drawn(str(finished), "--only", "transfer", "--out", str(tmp_path)) == 1
    assert "no figure was drawn" in capsys.readouterr().out
    assert drawn(str(finished), "--out", str(tmp_path)) == 0
    printed = capsys.readouterr()
    assert "this study has nothing for: transfer (--only NAME says why)" in printed.out
    assert not printed.err


def test_a_drawing_that_is_asked_for_beside_its_figure_is_drawn_once(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drawn(str(finished), "--only", "histograms--participation_ratio", "histograms", "--out", str(tmp_path)) == 0
    assert "2 figures (pdf)" in capsys.readouterr().out


def test_a_figure_without_room_is_named_and_the_others_are_drawn(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = drawn(str(finished), "--width", "37mm", "--out", str(tmp_path))
    printed = capsys.readouterr()
    assert status == 1
    assert "not drawn: histograms: a width of 37 mm is too small" in printed.err
    assert "give at least --width 39mm" in printed.err
    assert (tmp_path / "classes.pdf").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "clases"], "--only: there is no figure 'clases'; did you mean 'classes'"),
        (["--only", "histogram--participation_ratio"], "no figure 'histogram'; did you mean 'histograms'"),
        (["--only", "histograms--dimension"], "no figure 'histograms--dimension'; did you mean 'histograms--p"),
        (["--only", "nope"], "there is no figure 'nope'; there are: classes, histograms, "),
        (["--width", "85"], "the width '85' cannot be read: it has no unit"),
        (["--style", "pape"], "there is no style 'pape'; did you mean 'paper'"),
        (["--format", "pfd"], "--format pfd: there is no format 'pfd'; did you mean 'pdf'"),
        (["--format", ","], "--format names none; expected any of pdf, svg, png"),
    ],
)
def test_a_mistake_is_said_before_anything_is_written(
    words: list[str], message: str, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match=message):
        drawn(str(finished), *words, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_said(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write to .*; choose a folder with --out"):
        drawn(str(finished), "--only", "classes", "--out", str(tmp_path / "file"))


def test_a_folder_without_results_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no study; run one first"):
        drawn(str(tmp_path))
