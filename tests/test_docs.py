"""The page of measures says what the registry says, and the pages say what is there."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from operator import attrgetter
from pathlib import Path

import pytest

import manifoldscope
from manifoldscope.geometry import MEASURES
from manifoldscope.study.loading import parse
from manifoldscope.study.plan import PointsPlan, SamplingPlan

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_measures_is_that_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("make_docs", DOCS / "make.py")
    make = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, make)  # where its dataclasses look for their names
    spec.loader.exec_module(make)
    written = (DOCS / "measures.md").read_text(encoding="utf-8")
    assert written == make.text(), "docs/measures.md is not up to date; run: make docs (or python docs/make.py --text)"


def test_every_measure_has_its_figure_and_every_link_its_file() -> None:
    page = (DOCS / "measures.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((images/[^)]+)\)", page)
    assert {f"images/measures/{name}.png" for name in MEASURES.names()} <= set(links)
    assert all((DOCS / link).is_file() for link in links)


def test_the_study_file_of_the_readme_is_one() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (DOCS.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    study = parse(tomllib.loads(text))
    assert study.layers == ["penultimate", "layer3 [mean]"]
    (points,) = re.findall(r"\[points\].*?\n.*?# (\d+) if omitted", text, re.DOTALL)
    assert int(points) == PointsPlan().images_per_class
    (default,) = re.findall(r"\[sampling\].*\n# (.*?) +# these two are on by default", text)
    own = SamplingPlan().model_dump()
    assert tomllib.loads(default.replace(", ", "\n")) == {name: value for name, value in own.items() if value}


def test_every_link_to_a_file_has_its_file() -> None:
    pages = [*DOCS.glob("*.md"), *DOCS.parent.glob("*.md")]
    links = {(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))}
    assert [(page.name, link) for page, link in sorted(links) if not (page.parent / link).is_file()] == []


def test_every_name_that_the_pages_call_is_there() -> None:
    pages = [DOCS.parent / "README.md", *(DOCS / name for name in ("measures.md", "recordings.md", "robustness.md"))]
    names = {name for page in pages for name in re.findall(r"\bms((?:\.[A-Za-z_]+)+)", page.read_text("utf-8"))}
    assert len(names) > 20
    for name in names:
        attrgetter(name.lstrip("."))(manifoldscope)


def test_the_table_of_checks_names_each_check() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = re.search(r"\| check \| from \| flagged if \|\n\|---.*?\n(.*?)\n\n", page, re.DOTALL)
    assert rows is not None
    cells = [row.split(" | ")[0].removeprefix("| ") for row in rows[1].splitlines()]
    listed = {name for cell in cells for name in re.split(r", | \(or |\)", cell) if name}
    package = Path(manifoldscope.__file__).parent
    files = [*(package / "attacks" / "checks").glob("*.py"), *(package / "study" / "kinds").glob("*.py")]
    text = "\n".join(path.read_text("utf-8") for path in [*files, package / "attacks" / "selftest.py"])
    made = re.findall(r'\b(?:check|_row|_search|_not_run)\(\s*f?"([\w -]+?)(?: \(\{|")', text)
    named = re.findall(r'\bname(?:, expected)? = "([a-z][\w ]+)"', text)
    assert len(made) > 20
    assert {*made, *named} - listed == set()
    assert listed - {*made, *named} == {"epsilon curve", "severity curve"}  # called after the setting that is swept
