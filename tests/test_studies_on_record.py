"""The files of the studies on record, and their pages from the tables that they keep."""

from __future__ import annotations

import importlib.util
import shutil
import tomllib
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from manifoldscope.report.words import real_minus
from manifoldscope.study.loading import parse

RECORDED = Path(__file__).parent.parent / "docs" / "studies"


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*/*.toml")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_its_file_is_a_study(path: Path) -> None:
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    tables = [Path(model["from"]) for model in told["models"] if "from" in model]
    if missing := [table.name for table in tables if not table.exists()]:
        pytest.skip(f"{missing[0]}, a table of networks, lies outside the project")
    study = parse(told)
    assert study.name.startswith(path.parent.name)
    assert study.question


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in RECORDED.glob("*/tables")), ids=lambda path: path.name
)
def test_it_has_a_page_that_is_listed(folder: Path) -> None:
    assert f"({folder.name}/README.md)" in (RECORDED / "README.md").read_text(encoding="utf-8")
    assert (folder / "README.md").exists()


@pytest.mark.parametrize("page", sorted(RECORDED.glob("**/*.md")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_negative_numbers_have_a_real_minus(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == real_minus(text)


def test_pages_are_those_of_their_tables(tmp_path: Path) -> None:
    """Of the three whose words and numbers rest on no test by chance."""
    shaping = Path(shutil.copytree(RECORDED / "shaping", tmp_path / "shaping"))
    made = _module(RECORDED / "make.py")
    made.write(shaping, made.page_of(shaping))
    assert (shaping / "README.md").read_text("utf-8") == (RECORDED / "shaping" / "README.md").read_text("utf-8")
    for name, tables in (("original-table", ("raw", "halves")), ("ood-geometry", ("out_of_distribution", "corrupted"))):
        stored = (pl.read_csv(RECORDED / name / "tables" / f"{table}.csv") for table in tables)
        page = real_minus(_module(RECORDED / name / "make.py").page(*stored))
        assert page == (RECORDED / name / "README.md").read_text("utf-8")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"made_by_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
