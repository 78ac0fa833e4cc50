"""The page of measures says what the registry says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from manifoldscope.geometry import MEASURES

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
