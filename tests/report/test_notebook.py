"""What a notebook shows of a study."""

from __future__ import annotations

import html
import re
from pathlib import Path

from tests.report.conftest import study_tables

from manifoldscope.report import diagnose
from manifoldscope.report.notebook import central, link, shown
from manifoldscope.tables import TABLES, conform

STUDY = {"name": "three", "question": "Are <b>small</b> classes robust?"}


def tables(**changes):
    """Every table, filled as far as the study that never ran has it."""
    given = study_tables() | changes
    return {name: conform(name, given.get(name, [])) for name in TABLES}


def page(every, **changes):
    arguments = {
        "study": STUDY,
        "tables": every,
        "findings": diagnose(every),
        "figure": central(STUDY, every),
        "report": Path("runs/three/report.html"),
    }
    return shown(**arguments | changes)


def test_the_question_the_answer_its_numbers_its_caveats_and_the_figure_are_shown():
    every = tables()
    findings = diagnose(every)
    text = html.unescape(re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page(every), flags=re.DOTALL))
    assert findings[0].title in text
    assert all(finding.title in text for finding in findings[1:])
    assert findings[0].caveats[0] in text
    assert re.search(r"\([^)]*−?[-0-9.]+ to \+?−?[-0-9.]+\)", text)  # an interval
    assert page(every).count("<svg") == 1
    assert 'href="runs/three/report.html"' in page(every)


def test_names_are_text_and_nothing_is_loaded_or_run():
    text = page(tables(), study={"name": "<script>alert(1)</script>", "question": "<img src=x onerror=alert(1)>"})
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text
    assert "<img" not in text
    hostile = page(tables(**study_tables(names=tuple("</svg><script>x</script>" for _ in range(10)))))
    assert "<script" not in hostile
    assert not re.search(r'(?:src|href)="https?:', text)


def test_two_figures_of_one_notebook_share_no_name():
    one = page(tables())
    other = page(tables(**study_tables(n_classes=7)))
    names = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, other)]
    assert all(names)
    assert not names[0] & names[1]


def test_a_study_without_an_association_has_words_and_no_figure():
    every = tables() | {name: conform(name, []) for name in ("geometry", "associations", "specifications")}
    figure = central(STUDY, every)
    assert figure is None
    text = page(every, n_failed=2)
    assert "<svg" not in text
    assert "two units of work missing (2 failed)" in text
    assert "not complete" in text


def test_the_colours_are_those_of_the_notebook():
    style = re.search(r"<style>(.*?)</style>", page(tables()), re.DOTALL).group(1)
    assert all(rule.lstrip().startswith(".manifoldscope") for rule in style.split("}") if rule.strip())
    assert not re.search(r"[{;]color:(?!inherit)", style)


def test_a_report_outside_of_the_folder_is_linked_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert link(tmp_path / "runs" / "a b" / "report.html") == "runs/a%20b/report.html"
    assert link(tmp_path.parent / "report.html").startswith("file://")
