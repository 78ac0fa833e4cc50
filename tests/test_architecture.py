"""Imports point one way, and every room stands where the architecture says."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import manifoldscope

ROOT = Path(manifoldscope.__file__).parent

BASE = {
    "errors",
    "chance",
    "files",
    "footers",
    "frames",
    "seeds",
    "registry",
    "settings",
    "outline",
    "tables",
    "pictures",
    "stopping",
    "plugins",
}
MAY_IMPORT = {
    "errors": set(),
    "files": {"errors"},
    "seeds": {"errors"},
    "chance": set(),
    "registry": {"errors"},
    "settings": {"errors"},
    "outline": {"errors"},
    "tables": {"errors"},
    "pictures": set(),
    "plugins": {"errors", "files", "outline", "registry"},
    "stopping": set(),
    "footers": set(),
    "frames": {"errors", "files", "footers"},
    "geometry": BASE,
    "recordings": BASE | {"geometry"},
    "vision": BASE | {"geometry"},
    "attacks": BASE | {"geometry", "vision"},
    "training": BASE | {"geometry", "vision", "attacks"},
    "study": BASE | {"geometry", "recordings", "vision", "attacks", "training"},
    "evidence": BASE,
    "report": BASE | {"evidence"},
    "api": BASE | {"report", "evidence", "study", "recordings"},
    "cli": BASE | {"api", "report", "evidence", "study", "training", "attacks", "vision", "recordings", "geometry"},
    "__main__": {"cli"},
}


def rooms():
    found = {path.stem: [path] for path in ROOT.glob("*.py") if path.stem != "__init__"}
    for path in ROOT.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            found[path.name] = sorted(path.rglob("*.py"))
    return found


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            names = [node.module or ""]
        for name in names:
            if name.startswith("manifoldscope."):
                yield name.split(".")[1]


def test_every_room_is_known():
    assert set(rooms()) == set(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_point_one_way(room):
    for path in rooms()[room]:
        wrong = set(imported_rooms(path)) - MAY_IMPORT[room] - {room}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_every_module_says_what_it_is_and_imports():
    for module in pkgutil.walk_packages([str(ROOT)], prefix="manifoldscope."):
        if module.name != "manifoldscope.__main__":
            assert importlib.import_module(module.name).__doc__, module.name


def test_every_public_name_exists_is_documented_and_stands_once():
    rooms = {name for name in manifoldscope.__all__ if isinstance(getattr(manifoldscope, name), ModuleType)}
    assert rooms == {room for room in MAY_IMPORT if (ROOT / room).is_dir()} - {"cli"}
    assert len(set(manifoldscope.__all__) - rooms) <= 15
    for name in manifoldscope.__all__:
        assert getattr(manifoldscope, name).__doc__, name
    source = Path(manifoldscope.__file__).read_text(encoding="utf-8")
    code = source.split('"""', 2)[2]
    assert all(len(re.findall(rf"\bas {name}\b", code)) == 1 for name in manifoldscope.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = manifoldscope.nothing


def test_no_file_is_a_drawer_for_odds_and_ends():
    assert not [path for path in ROOT.rglob("*.py") if path.stem in {"utils", "helpers", "misc", "common"}]
