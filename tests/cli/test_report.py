"""The report again, other pages of it, and a browser."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from manifoldscope.api import open_results
from manifoldscope.cli import main
from manifoldscope.cli.printing import told
from manifoldscope.report import FIGURES


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of one's own, whose page has few figures."""
    monkeypatch.setattr(FIGURES, "_entries", {"comparison": FIGURES["comparison"]})
    return Path(shutil.copytree(finished, tmp_path / "results"))


def facts(path: Path) -> Any:
    found = re.search('id="facts">([^<]*)<', path.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def test_another_page_holds_what_was_asked_for_and_is_replaced(folder: Path, capsys: Any) -> None:
    assert main(["report", str(folder)]) == 0
    before = (folder / "report.html").read_bytes()
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    for network in ("random", "adversarial"):
        assert main(["report", str(folder), "--select", f"networks={network}", "--select", "classes=1,7"]) == 0
        page = folder / "report-selected.html"
        assert capsys.readouterr().out == f"{page}\n"
        held = facts(page)
        assert [each["name"] for each in held["networks"]] == [network]
        assert [each["name"] for each in held["classes"]] == ["1", "7"]
        assert "1 of 2 networks" in held["left_out"]
    assert (folder / "report.html").read_bytes() == before


def test_the_files_that_another_page_names_are_there_even_if_the_report_is_old(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifoldscope.report.page.FIGURE_BYTES", 0)  # no figure is in the page itself
    assert main(["report", str(folder), "--select", "networks=random"]) == 0
    text = (folder / "report-selected.html").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:figures|tables)/[\w.-]+\.(?:svg|parquet)", text))
    assert named
    assert [name for name in named if not (folder / name).is_file()] == []


def test_results_that_can_only_be_read_have_other_pages_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (folder / "locks").rename(folder / "kept")
    (folder / "locks").touch()
    assert main(["report", str(folder), "--select", "networks=random", "--out", str(tmp_path / "page.html")]) == 0
    assert "the files that the page names may be older than it: " in capsys.readouterr().err
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["notes.html", "results/report.html"])
def test_no_other_file_is_replaced(folder: Path, name: str, capsys: Any) -> None:
    path = folder.parent / name
    path.write_text('<meta name="generator" content="manifoldscope: a study">', encoding="utf-8")
    assert main(["report", str(folder), "--select", "networks=random", "--out", str(path)]) != 0
    assert "is not replaced; move it away, or give another --out" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8").endswith('a study">')


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--select", "networks=adversaril"], "adversarial"),
        (["--select", "colours=red"], "colours"),
        (["--select", "networks"], "PART=NAME"),
        (["--out", "other.html"], "--out names the page of --select"),
    ],
)
def test_what_cannot_be_selected_is_said(folder: Path, options: list[str], said: str, capsys: Any) -> None:
    assert main(["report", str(folder), *options]) != 0
    assert said in capsys.readouterr().err
    assert not (folder / "report-selected.html").exists()


@pytest.mark.parametrize("there", [True, False])
def test_it_opens_in_a_browser_where_there_is_one(
    folder: Path, there: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or there)
    assert main(["report", str(folder), "--open"]) == 0
    assert opened == [(folder / "report.html").resolve().as_uri()]
    assert ("no browser could be started" in capsys.readouterr().out) is not there


def test_what_was_not_computed_is_said_before_anything_else(folder: Path, capsys: Any) -> None:
    units = sorted((folder / "units").glob("attack/*")) or sorted((folder / "units").rglob("outcomes.parquet"))
    unit = units[0] if units[0].is_dir() else units[0].parent
    shutil.rmtree(unit)
    assert main(["report", str(folder)]) == 0
    said = "the answer is of what there is: one unit of work missing (1 not computed yet)"
    assert said in (folder / "report.html").read_text(encoding="utf-8")
    assert "every unit of work that was asked for is done" not in (folder / "report.html").read_text(encoding="utf-8")
    result = open_results(folder)
    assert said in result.story.incomplete
    assert any("one unit of work missing" in line for line in told(result.story))
    capsys.readouterr()
