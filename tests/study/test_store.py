"""The store: done means whole, a key changes with what changes the answer, and nobody loses a finished unit."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manifoldscope.errors import ManifoldscopeError, StoreError
from manifoldscope.study.drafts import Drafts
from manifoldscope.study.refs import unkeyed
from manifoldscope.study.store import FLUSHED, Store
from manifoldscope.study.unit import KINDS, Payload, Unit, canonical, kind


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "run")
    made.prepare()
    return made


def payload(value=1.0):
    return Payload(
        tables={"rows": pl.DataFrame({"value": [value]})},
        arrays={"spectrum/layer": np.arange(3.0)},
        tensors={"weight": torch.ones(2)},
        facts={"note": "ü"},
    )


@kind("tried")
@dataclass(frozen=True, kw_only=True)
class Tried(Unit):
    """A unit that asks no network."""

    fraction: float = 0.95
    settings: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ("a",)
    read: tuple[str, ...] = ()
    name: str = unkeyed("m")

    @property
    def needs(self):
        return self.read


UNIT = Tried()


def test_a_payload_without_a_promised_file_is_told_with_what_it_has(store, monkeypatch):
    monkeypatch.setattr(Tried, "files", ("row.parquet",))
    has = r"has arrays\.safetensors, checkpoint\.safetensors, rows\.parquet; a table 'name' is stored as name\.parquet"
    with pytest.raises(
        ManifoldscopeError, match=rf"'tried' promises row\.parquet in its `files`, and its payload {has}"
    ):
        store.publish(UNIT, payload(), {"seconds": 1})
    assert not store.done(UNIT)


def test_what_is_published_is_read_back(store):
    assert not store.done(UNIT)
    store.publish(UNIT, payload(), {"seconds": 1})
    assert store.done(UNIT)
    assert store.table(UNIT, "rows")["value"].to_list() == [1.0]
    assert store.arrays(UNIT)["spectrum/layer"].tolist() == [0, 1, 2]
    manifest = store.manifest(UNIT)
    assert manifest["inputs"] == {
        "code": KINDS["tried"].code,
        "version": 1,
        "fraction": 0.95,
        "settings": {},
        "layers": ["a"],
        "read": [],
    }
    assert manifest["facts"] == {"note": "ü"}
    assert set(manifest["payload"]) == {"rows.parquet", "arrays.safetensors", "checkpoint.safetensors"}


@given(st.permutations(["a", "b", "c"]))
def test_a_key_does_not_depend_on_the_order_of_settings_or_on_names(order):
    unit = Tried(settings={name: name for name in order}, name="x")
    assert unit.key == Tried(settings={name: name for name in "abc"}, name="y").key


@pytest.mark.parametrize(
    "other",
    [
        Tried(fraction=0.9),
        Tried(layers=("a", "b")),
        Tried(read=("k",)),
    ],
)
def test_a_key_changes_with_whatever_changes_the_answer(other):
    assert other.key != UNIT.key


def test_not_a_number_has_no_place_in_a_key():
    with pytest.raises(ValueError, match="Out of range"):
        canonical({"x": float("nan")})


@pytest.mark.parametrize("damage", ["payload", "manifest", "missing"])
def test_a_damaged_unit_is_not_done_and_is_made_anew(store, damage):
    store.publish(UNIT, payload(), {})
    home = store.folder / "units" / UNIT.kind / UNIT.key
    if damage == "payload":
        (home / "rows.parquet").write_bytes(b"torn")
    elif damage == "manifest":
        (home / "manifest.json").write_text("{")
    else:
        (home / "arrays.safetensors").unlink()
    assert not store.done(UNIT)
    store.publish(UNIT, payload(2.0), {})
    assert store.table(UNIT, "rows")["value"].to_list() == [2.0]


def test_a_half_written_attempt_is_not_done(store):
    home = store.folder / "units" / UNIT.kind
    (home / ".attempt-x").mkdir(parents=True)
    (home / ".attempt-x" / "rows.parquet").write_bytes(b"half")
    assert not store.done(UNIT)


def test_only_what_cost_something_is_flushed_to_the_disk(store, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    store.publish(UNIT, payload(), {"seconds": FLUSHED / 2})
    assert store.done(UNIT)
    assert not flushed
    costly = Tried(fraction=0.5)
    store.publish(costly, payload(), {"seconds": FLUSHED})
    assert store.done(costly)
    assert len(flushed) == 6  # a table, arrays, weights and the manifest; the folder, and the one that it is in


def test_the_first_of_two_processes_to_publish_wins(store):
    store.publish(UNIT, payload(1.0), {})
    store.publish(UNIT, payload(2.0), {})
    assert store.table(UNIT, "rows")["value"].to_list() == [1.0]
    assert [path.name for path in (store.folder / "units" / UNIT.kind).iterdir()] == [UNIT.key]


def test_a_unit_is_claimed_once(store):
    other = Store(store.folder)
    with store.claim(UNIT) as mine:
        assert mine
        assert other.running(UNIT)
        with other.claim(UNIT) as theirs:
            assert not theirs
    assert not other.running(UNIT)
    with other.claim(UNIT) as theirs:
        assert theirs


def test_a_failure_is_remembered_until_the_unit_succeeds(store):
    store.fail(UNIT, "no luck", "trace")
    assert store.failure(UNIT) == "no luck"
    store.publish(UNIT, payload(), {})
    assert store.failure(UNIT) is None


def test_the_plan_survives_a_round_trip(store):
    units = [UNIT, Tried(fraction=0.5, layers=("b", "c"), name="other")]
    store.remember("name = 'x'", units, {"versions": {}})
    assert store.plan() == (units, {"versions": {}, "study": "name = 'x'"})
    assert (store.folder / "study.toml").read_text() == "name = 'x'"


def test_a_plan_whose_units_have_other_fields_is_of_another_version_and_not_damaged(store):
    store.remember("name = 'x'", [UNIT], {"versions": {}})
    path = store.folder / "plan.json"
    before = path.read_text().replace('"fraction": 0.95', '"fraction": {}')
    store.outputs.write({"plan.json": before.encode()})
    with pytest.raises(StoreError, match=r"was computed by another version of manifoldscope \(its units have other"):
        store.plan()
    path.write_text(before + " ")
    with pytest.raises(StoreError, match="is damaged"):
        store.plan()


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="holds no study; run one first"):
        Store(tmp_path).plan()
    with pytest.raises(StoreError, match="is not there yet"):
        Store(tmp_path).read_table("geometry")
    with pytest.raises(StoreError, match="holds no study; run one first"), Store(tmp_path / "typo").concluding():
        pass
    assert list(tmp_path.iterdir()) == []  # a name with a typo makes no folder


def test_a_file_is_no_folder_of_results(tmp_path):
    (tmp_path / "study.toml").write_text("")
    with pytest.raises(StoreError, match="holds no study; run one first"):
        Store(tmp_path / "study.toml").plan()
    assert not Store(tmp_path / "study.toml").outputs.marked()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_sentence(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StoreError, match="cannot write to"):
        Store(tmp_path / "run").prepare()


def test_a_path_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(StoreError, match="choose another folder"):
        Store(tmp_path / "run").prepare()


def test_a_full_disk_is_one_sentence_and_keeps_what_was_there(store, monkeypatch):
    store.publish(UNIT, payload(), {})

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    other = Tried(fraction=0.5)
    with pytest.raises(StoreError, match="No space left on device; choose another folder"):
        store.publish(other, payload(), {})
    assert store.done(UNIT)
    assert [path.name for path in (store.folder / "units" / UNIT.kind).iterdir()] == [UNIT.key]


def test_text_appears_whole_or_not_at_all(tmp_path):
    path, drafts = tmp_path / "x.json", Drafts(tmp_path)
    for content in ([1], [2]):
        with drafts.file(path) as draft:
            draft.write_text(json.dumps(content))
    with pytest.raises(FileNotFoundError), drafts.file(path):  # nothing was written
        pass
    assert json.loads(path.read_text()) == [2]
    drafts.close()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["locks", "x.json"]
    assert not list((tmp_path / "locks").iterdir())
