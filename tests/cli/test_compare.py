"""manifoldscope compare: the page it writes, what it prints, and what it refuses."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from manifoldscope.cli import compare
from manifoldscope.errors import StoreError, StudyError


def compared(*words: str) -> int:
    parser = argparse.ArgumentParser()
    compare.arguments(parser)
    return compare.execute(parser.parse_args(words))


def test_two_studies_make_a_page_and_a_summary(
    finished: Path, another: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "compared.html"
    assert compared(str(finished), str(another), "--out", str(file)) == 0
    text = file.read_text(encoding="utf-8")
    assert "adversarial in tiny and in another" in text
    printed = capsys.readouterr().out
    assert printed.startswith("two studies: tiny and another\ntwo settings differ: name and seed\n")
    assert "three classes are in more than one study" in printed
    assert f"the page is in {file}" in printed
    assert compared(str(finished), str(another), "--out", str(file)) == 0  # it replaces its own page
    assert file.read_text(encoding="utf-8") == text


def test_results_of_one_name_are_called_by_their_folders(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    copy.symlink_to(finished, target_is_directory=True)
    with pytest.raises(StudyError, match="is given twice"):
        compared(str(finished), str(finished), "--out", str(tmp_path / "page.html"))
    assert compared(str(finished), str(copy), "--out", str(tmp_path / "page.html")) == 0
    assert "no setting differs" in capsys.readouterr().out


def test_a_file_of_somebody_else_is_not_replaced(finished: Path, another: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("mine")
    message = "mine.html is in the way: it is no page of this command, and is not replaced"
    with pytest.raises(StoreError, match=message):
        compared(str(finished), str(another), "--out", str(tmp_path / "mine.html"))
    assert (tmp_path / "mine.html").read_text() == "mine"
    with pytest.raises(StoreError, match="there is no folder"):
        compared(str(finished), str(another), "--out", str(tmp_path / "none" / "page.html"))


def test_one_study_cannot_be_compared(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="one study cannot be compared; give 2 to 8"):
        compared(str(finished), "--out", str(tmp_path / "page.html"))


def test_one_folder_given_twice_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is given twice; give each folder of results once"):
        compared(str(finished), f"{finished}/", "--out", str(tmp_path / "page.html"))
