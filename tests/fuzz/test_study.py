"""Mutated study files: a study, or one sentence; never another error, and never a hang."""

from __future__ import annotations

import datetime
import random
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from manifoldscope.cli import main
from manifoldscope.errors import StudyError
from manifoldscope.study.loading import load, parse, preset_names, preset_text
from manifoldscope.study.plan import Study
from tests.fuzz.mutate import budget, mutations

ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**400,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "\x00",
    "\x1b[2J",
    "x" * 100_000,
    "../..",
    "[",
    "雪\udcff",
    [],
    [[]],
    [[0.2]],
    [[[[[[]]]]]],
    [0.1, "a"],
    [{}],
    {},
    {"a": {}},
    {"kind": []},
    {"name": {}},
    datetime.date(2020, 1, 1),
    datetime.time(1),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested tables and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def put(raw: Any, path: tuple[Any, ...], value: Any) -> None:
    for step in path[:-1]:
        raw = raw[step]
    raw[path[-1]] = value


def refused_or_a_study(action: Any) -> Study | None:
    try:
        return action()
    except StudyError as error:
        said = str(error)
    assert len(said) < 2000
    return None


@pytest.mark.parametrize("name", preset_names())
def test_a_study_with_an_odd_value_at_any_place_is_a_study_or_one_sentence(name):
    chance = random.Random(name)
    whole = preset_text(name)
    every = list(places(tomllib.loads(whole)))
    for _ in range(budget(150)):
        raw = tomllib.loads(whole)
        path = chance.choice(every)
        put(raw, path, chance.choice(ODD))
        if isinstance(path[-1], str) and chance.random() < 0.2:
            put(raw, (*path[:-1], path[-1] + chance.choice("sx_\x00")), chance.choice(ODD))
        found = refused_or_a_study(lambda raw=raw: parse(raw))
        if found is not None:
            assert parse(tomllib.loads(found.text())) == found


def test_mutated_study_files_are_studies_or_one_sentence(tmp_path):
    path = tmp_path / "study.toml"
    for content in mutations(preset_text("digits").encode(), budget(300), seed=1):
        path.write_bytes(content)
        refused_or_a_study(lambda: load(path))


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 3000,
        "x = " + "[" * 200 + "]" * 200,
        "x = " + "{a=" * 3000,
        "seed = " + "9" * 5000,
        "seed = 0x" + "f" * 5000,
        ".".join(["a"] * 20_000) + " = 1",
        "[" + ".".join(["a"] * 20_000) + "]",
        "seed = true",
        "[data]\nsource = 'digits'\nclasses = true",
        "name = 'x'" + " " * 2**21,
    ],
    ids=range(10),
)
def test_what_expands_without_end_is_one_sentence(text, tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text(text)
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("manifoldscope: ")
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change",
    [
        ".".join(["a"] * 20_000) + "=1",
        "seed=" + "9" * 5000,
        "attacks.0.epsilons=[[0.2]]",
        "attacks.0.epsilons=" + "[" * 3000,
        "models.99999999999999999999.name=x",
        "models.٣.name=x",
        "models.-1.name=x",
        "data.classes=true",
        "batch_size=true",
    ],
    ids=range(9),
)
def test_a_change_without_sense_is_one_sentence(change, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "digits", "--set", change]) == 2
    error = capsys.readouterr().err
    assert len(error) < 1000
    assert len(error.strip().splitlines()) == 1
