"""What is read from the files is what an import would say, and nothing heavy is imported for it."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import manifoldscope
from manifoldscope import outline
from manifoldscope.cli import main
from manifoldscope.outline import Item, OutlineError
from manifoldscope.registry import Registry
from manifoldscope.study import load, preset_names

listing = importlib.import_module("manifoldscope.cli.list")

LISTED = ["studies", *(kind for kind in listing.REGISTRIES if kind != "small networks")]

LIST_ALL = f"""
import sys
from manifoldscope.cli import main
assert not any(main(["list", kind]) for kind in {LISTED})
print(*{{"torch", "numpy", "scipy", "polars", "pydantic"}} & set(sys.modules), file=sys.stderr)
"""


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Writes a room of one file beside a file of constants."""
    monkeypatch.setattr(outline, "SOURCE", tmp_path)
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "constants.py").write_text("HALF = -0.5\n")

    def write(text):
        (tmp_path / "room" / "things.py").write_text(text)

    return write


@pytest.mark.parametrize("kind", listing.REGISTRIES)
def test_the_files_say_what_an_import_says(kind):
    read, imported = outline.outline(*listing.REGISTRIES[kind]), listing._imported(kind)
    assert list(map(repr, read)) == list(map(repr, imported))  # 1, 1.0 and True are equal, and listed differently


def test_the_example_runs():
    assert doctest.testmod(outline).failed == 0


def test_every_registry_is_known():
    names = {
        name
        for module in pkgutil.walk_packages(manifoldscope.__path__, prefix="manifoldscope.")
        if module.name != "manifoldscope.__main__"
        for name, value in vars(importlib.import_module(module.name)).items()
        if isinstance(value, Registry)
    }
    assert names - {"KINDS"} == {name for _, name in listing.REGISTRIES.values()}


def test_the_questions_are_those_of_the_studies():
    assert outline.questions() == [(name, load(name).question) for name in preset_names()]


def test_listing_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIST_ALL], check=True, capture_output=True, text=True)
    assert "pca_dimension (fraction=0.95)" in done.stdout
    assert done.stderr.split() == []


@pytest.mark.parametrize("kind", LISTED)
def test_what_cannot_be_read_is_imported_and_listed_alike(kind, capsys, monkeypatch):
    assert main(["list", kind]) == 0
    read = capsys.readouterr().out

    def refuse(*_):
        raise OutlineError

    monkeypatch.setattr(listing, "outline", refuse)
    monkeypatch.setattr(listing, "questions", refuse)
    assert main(["list", kind]) == 0
    assert capsys.readouterr().out == read


def test_names_are_followed_through_the_file_and_its_imports(room):
    room("""
from room.constants import HALF as LEAST
MOST: int = 3
@THINGS.register("b")
def second(points, *, least=LEAST, most=MOST, name):
    '''Two
    lines.

    And more.'''
@dataclass(kw_only=True)
class Base(ABC):
    kind: ClassVar[str] = "base"
    size: int
    shape: str = "round"
@THINGS.register("a")
@dataclass(kw_only=True)
class First(Base):
    shape: str
    colour: str = "red"
    size: int = MOST
""")
    assert outline.outline("room.things", "THINGS") == [
        Item("a", {"size": 3, "shape": "round", "colour": "red"}, ""),
        Item("b", {"least": -0.5, "most": 3, "name": ...}, "Two lines."),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def broken(:",
        "@THINGS.register('a')\ndef a(*, size=sqrt(2)): pass",
        "@THINGS.register('a')\ndef a(*, size=UNKNOWN): pass",
        "from torch_of_nobody import SIZE\n@THINGS.register('a')\ndef a(*, size=SIZE): pass",
        "@THINGS.register('a')\n@dataclass(kw_only=True)\nclass A(Unknown): pass",
        "@THINGS.register('a')\n@dataclass(kw_only=True)\nclass A(elsewhere.Base): pass",
    ],
)
def test_what_only_an_import_understands_is_refused(room, text):
    room(text)
    with pytest.raises(OutlineError):
        outline.outline("room.things", "THINGS")


def test_studies_that_are_not_there_or_no_toml_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(outline, "SOURCE", tmp_path)
    with pytest.raises(OutlineError):
        outline.questions()
    presets = tmp_path / "manifoldscope" / "study" / "presets"
    presets.mkdir(parents=True)
    (presets / "broken.toml").write_text("question = ")
    with pytest.raises(OutlineError):
        outline.questions()
