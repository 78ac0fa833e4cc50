"""The files of the studies on record, and their pages from the tables that they keep."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

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
