"""The pages of `measure --report` and `associate --report`: what is written where, and what is left alone."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import polars as pl
import pytest

from manifoldscope.cli import main
from manifoldscope.seeds import numpy_generator


@pytest.fixture
def points(tmp_path, monkeypatch):
    """Five classes of 24 points in 12 features, and their outcome; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    numbers = numpy_generator(0, "pages of the command line")
    names = ["a", "b", "c & d", "e", "f"]
    spread = np.repeat(np.arange(1, 6), 24)[:, None] ** (-np.arange(12) / 6)
    np.save("points.npy", numbers.normal(size=(120, 12)) * spread)
    np.save("labels.npy", np.repeat(names, 24))
    pl.DataFrame({"class": [*names[:4], "g"], "accuracy": [0.9, 0.8, 0.6, 0.5, 0.1]}).write_csv("outcome.csv")
    return ["measure", "points.npy", "--labels", "labels.npy", "--measure", "participation_ratio"]


def told(page):
    """The text of a page without its drawings."""
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", " ", page.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def test_measure_prints_what_it_prints_and_writes_a_page(points, tmp_path, capsys, monkeypatch):
    assert main([*points, "--json"]) == 0
    without = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("sys.argv", ["manifoldscope", *points, "--json", "--report", "page.html"])
    assert main() == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == without
    assert printed.err == "the page is in page.html\n"
    text = told(tmp_path / "page.html")
    assert "Points 120 in five classes, 24 each" in text
    assert "Features 12" in text
    assert "manifoldscope measure points.npy --labels labels.npy --measure participation_ratio --json" in text
    assert "Spectra" in text
    assert all(f"{row['value']:.4g}" in text for row in without)
    assert "c &amp; d" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--curve"], "Against the number of points"),
        (["--extrapolate", "2"], "5 of 5 values could not be given: not extrapolated: 24 points"),
        (["--reliability"], "Split-half reliability"),
        (["--measure", "centroid_distance"], "Between classes"),
        (["--null", "5"], "Crosses are what chance gives"),
    ],
)
def test_every_table_of_measure_has_its_page(points, options, expected, tmp_path, capsys):
    assert main([*points, *options, "--report", "page.html"]) == 0
    assert expected in told(tmp_path / "page.html")


def test_an_outcome_is_shown_with_the_fact_and_the_classes_that_one_side_lacks(points, tmp_path, capsys):
    command = [*points, "--outcome", "outcome.csv", "--y", "accuracy", "--json", "--report", "page.html"]
    assert main(command) == 0
    fact = next(row for row in json.loads(capsys.readouterr().out) if row["method"] == "pearson")
    text = told(tmp_path / "page.html")
    assert f"Pearson r = {fact['coefficient']:.2f}".replace("-", "−") in text
    assert f"p = {fact['p_value']:.2g}" in text
    assert "Without an outcome: f; not measured: g." in text


def test_measure_along_time_has_lines(points, tmp_path, capsys):
    np.save("time.npy", numpy_generator(1, "pages of the command line").normal(size=(120, 6, 3)))
    axes = ["--axes", "trials,neurons,time", "--pool", "time=each", "--report", "page.html"]
    assert main(["measure", "time.npy", *points[2:], *axes]) == 0
    text = told(tmp_path / "page.html")
    assert "Along time" in text
    assert "Steps three" in text or "Steps 3" in text


def test_associate_writes_a_page(points, tmp_path, capsys):
    frame = pl.DataFrame({"name": list("abcdefgh"), "x": range(8), "y": [8, 6, 7, 5, 3, 4, 1, 2]})
    frame.write_csv("table.csv")
    assert main(["associate", "table.csv", "--x", "x", "--y", "y", "--json", "--report", "page.html"]) == 0
    fact = json.loads(capsys.readouterr().out)[0]
    text = told(tmp_path / "page.html")
    assert f"Pearson r = {fact['coefficient']:.2f}".replace("-", "−") in text
    assert "Over 8 pairs" in text
    assert "Rows 8" in text


def test_a_page_is_replaced_and_any_other_file_is_left_alone(points, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main([*points, "--report", "page.html"]) == 0
    first = page.read_bytes()
    assert main([*points, "--seed", "1", "--report", "page.html"]) == 0
    assert page.read_bytes() != first
    page.write_text("<!doctype html><p>mine")
    capsys.readouterr()
    assert main([*points, "--report", "page.html"]) == 2
    assert "page.html is in the way: it is no page of this command, and is not replaced" in capsys.readouterr().err
    assert page.read_text() == "<!doctype html><p>mine"
    before = (tmp_path / "points.npy").read_bytes()
    assert main([*points, "--report", "points.npy"]) == 2
    assert (tmp_path / "points.npy").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_page_that_cannot_be_written_is_one_sentence_before_anything_is_computed(points, tmp_path, capsys):
    assert main([*points, "--report", "nowhere/page.html"]) == 2
    error = capsys.readouterr().err
    assert "there is no folder 'nowhere'; make it, or give another --report" in error
    assert len(error.strip().splitlines()) == 1
    (tmp_path / "folder.html").mkdir()
    assert main([*points, "--report", "folder.html"]) == 2
    assert "it is a folder, not a file" in capsys.readouterr().err


def test_a_column_that_numbers_trials_is_warned_of_in_one_line_and_on_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{trial},{trial % 7 / 3},{trial * trial % 11 / 7}" for trial in range(30))
    (tmp_path / "p.csv").write_text(f"trial,n0,n1\n{rows}\n")
    words = ["measure", "p.csv", "--measure", "participation_ratio", "--json", "--report", "page.html"]
    assert main(words) == 0
    err = capsys.readouterr().err
    warned = "p.csv: column 'trial' looks like numbers of rows, trials or subjects, and counts as a feature"
    assert err.splitlines()[0] == f"warning: {warned}; to leave it out: --without trial"
    assert warned[1:] in html.unescape((tmp_path / "page.html").read_text())
    assert main([*words, "--without", "trial"]) == 0
    assert "warning" not in capsys.readouterr().err
    page = (tmp_path / "page.html").read_text()
    assert "Left out" in page
    assert "looks like numbers" not in page


def test_associate_says_that_rows_of_one_class_are_not_independent(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        f"c{place},{strength},{place * 0.7 + 0.01},{place * 0.1 + strength}"
        for place in range(6)
        for strength in (1, 2)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["class_name,epsilon,size,speed", *rows]))
    words = ["associate", "t.csv", "--x", "size", "--y", "speed", "--json"]
    assert main([*words, "--report", "page.html"]) == 0
    captured = capsys.readouterr()
    assert all(row["note"].endswith("rows are not independent") for row in json.loads(captured.out))
    assert captured.err.startswith("warning: 12 rows are of 6 different values of 'class_name'")
    assert "--cells epsilon --key class_name" in html.unescape((tmp_path / "page.html").read_text())
    assert main([*words, "--cells", "epsilon", "--key", "class_name"]) == 0
    captured = capsys.readouterr()
    assert "independent" not in captured.out + captured.err


def test_classes_of_one_point_are_named_together(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text("label,n0,n1\na,1,2\nb,2,1\nc,1,1\nc,2,3\n")
    assert main(["measure", "p.csv"]) == 2
    assert "p.csv: one point has no geometry, and a, b have no more; leave their rows out" in capsys.readouterr().err
