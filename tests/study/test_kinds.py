"""Kinds of units: their fields are their keys, and nothing but their files knows of them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import manifoldscope
from manifoldscope.study.refs import AttackRef, ClassRef, NetworkRef
from manifoldscope.study.store import Store
from manifoldscope.study.unit import kinds, unit_of
from manifoldscope.tables import TABLES
from tests.study import tiny

EVERYTHING = tiny.raw(
    measures=["pca_dimension", "centroid_distance"],
    sampling={"reliability": 2},
    checks="full",
    attacks=[
        {"kind": "pgd", "epsilons": [0.05, 0.1], "steps": 2, "displacement": True, "transfer": True},
        {"name": "swept", "kind": "pgd", "epsilons": [0.05, 0.1], "steps": 2, "iterate": "any", "sweep": "reuse"},
    ],
    minimal=[{"steps": 2}],
    interventions=[{"directions": [2]}],
    attack_free=[{"radius": 0.1, "samples": 2}],
    **tiny.OTHERS,
)
EVERYTHING["models"][1]["training"]["probe_every"] = 3
AS_NEEDS = {"weaker", "rivals"}
"""Fields that are in the key as the units that are needed."""


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """A unit of each kind that a study can ask for."""
    store = Store(tmp_path_factory.mktemp("kinds"))
    store.prepare()
    study = tiny.parse(EVERYTHING)
    context = tiny.context_of(study, store)
    drawn = [each.unit for each in [*context.draws.values(), *context.others.values()]]
    return {unit.kind: unit for unit in [*drawn, *tiny.planned(study, store)]}


def other(value):
    """Values of the same type that are others."""
    if isinstance(value, NetworkRef | ClassRef | AttackRef):
        field = {NetworkRef: "identity", ClassRef: "digest", AttackRef: "parameters"}[type(value)]
        return dataclasses.replace(value, **{field: {"x": 1} if field == "identity" else "x"})
    if isinstance(value, tuple):
        return (*value, value[0] if value else "x")
    if isinstance(value, dict):
        return {**value, "x": 1}
    return not value if isinstance(value, bool) else "x" if isinstance(value, str) or value is None else value + 1


def test_every_kind_can_be_asked_for(units):
    assert {kind.kind for kind in kinds() if "tests" not in kind.__module__} == set(units)


def test_a_key_changes_with_every_field_that_is_no_mere_name_and_with_no_other(units):
    for unit in units.values():
        for field in dataclasses.fields(unit):
            changed = dataclasses.replace(unit, **{field.name: other(getattr(unit, field.name))})
            keyed = not field.metadata.get("unkeyed") or field.name in AS_NEEDS
            assert (changed.key != unit.key) is keyed, f"{unit.kind}.{field.name}"


def test_names_are_no_part_of_a_key_and_what_they_name_is():
    network = NetworkRef({"source": "a"}, "checkpoint", "name", ("gate",))
    renamed = dataclasses.replace(network, name="other", gate=())
    for ref in (dataclasses.replace(network, identity={}), dataclasses.replace(network, checkpoint="x")):
        assert tiny.keyed(ref) != tiny.keyed(network) == tiny.keyed(renamed)


def test_a_unit_is_the_same_after_a_round_trip(units):
    for unit in units.values():
        assert unit_of(unit.to_json()) == unit
        assert unit_of(unit.to_json()).key == unit.key


def test_units_of_the_same_fields_and_another_version_are_others(units):
    for unit in units.values():
        newer = type("Newer", (type(unit),), {"version": unit.version + 1})
        assert newer(**{field.name: getattr(unit, field.name) for field in dataclasses.fields(unit)}).key != unit.key


def test_no_file_but_its_own_knows_a_kind():
    source = Path(manifoldscope.__file__).parent
    names = "|".join(kind.__name__ for kind in kinds() if kind.__module__.startswith("manifoldscope.study.kinds"))
    for path in source.rglob("*.py"):
        if path.parent.name != "kinds":
            found = re.findall(rf"study\.kinds\.\w+|isinstance\(unit, (?:{names})\)|unit.kind == ", path.read_text())
            assert [each for each in found if each != "study.kinds.__"] == [], path


def test_the_tables_of_units_are_known_without_any_unit(tmp_path):
    for kind in kinds():
        assert set(kind.rows(Store(tmp_path), [])) <= set(TABLES)
