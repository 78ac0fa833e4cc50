"""Outputs: a folder is ours by its mark, and only what was written here is ever replaced or removed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from manifoldscope.errors import StoreError
from manifoldscope.study.store import Store


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "run")
    made.prepare()
    return made


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("theirs", ["report.html", "tables/geometry.parquet", ".hidden", "units/x"])
def test_a_folder_with_files_of_others_is_refused_and_left_as_it_was(tmp_path, theirs):
    (tmp_path / theirs).parent.mkdir(exist_ok=True)
    (tmp_path / theirs).write_text("theirs")
    before = content(tmp_path)
    with pytest.raises(StoreError, match=r"not results of manifoldscope .* give a new or an empty folder with --out"):
        Store(tmp_path).prepare()
    assert content(tmp_path) == before


def test_an_empty_folder_and_what_a_run_killed_at_its_start_left_are_taken(tmp_path):
    (tmp_path / "locks").mkdir()
    (tmp_path / ".draft-0123-0").write_text("{")
    Store(tmp_path).prepare()
    Store(tmp_path).prepare()
    assert not list(tmp_path.glob(".draft-*"))


def test_a_damaged_or_unknown_mark_is_one_sentence(store):
    mark = store.folder / "manifoldscope.json"
    for text, message in (("[]", "is damaged"), ('{"manifoldscope": "results", "format": 99}', "in format 99")):
        mark.write_text(text)
        with pytest.raises(StoreError, match=message):
            Store(store.folder).prepare()


def test_only_what_was_written_here_is_replaced_or_removed(store):
    theirs = store.folder / "figures" / "a.svg"
    theirs.write_text("theirs")
    with pytest.raises(StoreError, match=r"a\.svg is in the way: it was not written by manifoldscope"):
        store.outputs.write({"figures/b.svg": b"1", "figures/a.svg": b"2"})
    assert theirs.read_text() == "theirs"
    assert not (store.folder / "figures" / "b.svg").exists()
    store.outputs.write({"figures/b.svg": b"1"})
    store.outputs.write({"figures/b.svg": b"2"})
    assert store.outputs.read("figures/b.svg") == b"2"
    store.outputs.remove(["figures/a.svg", "figures/b.svg"])
    assert [path.name for path in (store.folder / "figures").iterdir()] == ["a.svg"]


def test_an_output_that_was_changed_is_not_believed(store):
    store.outputs.write({"tables/x.parquet": b"1"})
    (store.folder / "tables" / "x.parquet").write_bytes(b"2")
    assert store.outputs.problems() == {"tables/x.parquet": "it has changed since it was written"}
    with pytest.raises(StoreError, match="has changed since it was written, and is not believed"):
        store.outputs.read("tables/x.parquet")


@pytest.mark.parametrize("damage", ["lost", "[]", "{", '{"../../x": "1", "/etc/passwd": "1"}'])
def test_where_the_record_is_damaged_nothing_is_lost_and_nothing_outside_is_touched(store, damage):
    store.outputs.write({"report.html": b"old", "tables/a": b"old table"})
    record = store.folder / "outputs.json"
    record.unlink() if damage == "lost" else record.write_text(damage)
    if damage.startswith("{"):
        outside = store.folder.parent.parent / "x"
        outside.write_text("theirs")
        store.outputs.remove(["../../x"])
        assert outside.read_text() == "theirs"
    if damage.startswith('{"'):
        return  # a record that is well formed and does not name the report: the report counts as theirs
    store.outputs.write({"report.html": b"new"})
    store.outputs.write({"tables/a": b"new table"})
    assert store.outputs.read("report.html") == b"new"
    assert store.outputs.read("tables/a") == b"new table"
    assert {b"old", b"old table"} <= set(content(store.folder / "damaged").values())


@pytest.mark.parametrize("stopped_at", range(4))
def test_outputs_that_were_being_written_when_a_run_was_killed_are_not_called_changed(store, monkeypatch, stopped_at):
    store.outputs.write({"report.html": b"old", "tables/a": b"old"})
    n_written = 0

    def killed(*arguments):
        nonlocal n_written
        if n_written == stopped_at:
            raise KeyboardInterrupt
        n_written += 1
        return whole(*arguments)

    whole = store._drafts.file
    monkeypatch.setattr(store._drafts, "file", killed)
    with pytest.raises(KeyboardInterrupt):
        store.outputs.write({"report.html": b"new", "tables/b": b"new"})
    monkeypatch.undo()
    assert store.outputs.problems() == {}
    assert store.outputs.unfinished() is (stopped_at > 0)
    assert store.outputs.read("tables/a") == b"old"
    if stopped_at > 0:
        with pytest.raises(StoreError, match="was being replaced"):
            store.outputs.read("report.html")
    store.outputs.write({"report.html": b"new", "tables/b": b"new"})
    assert store.outputs.read("tables/b") == b"new"
    assert not store.outputs.unfinished()


def test_outputs_that_were_being_removed_when_a_run_was_killed_are_not_called_missing(store, monkeypatch):
    store.outputs.write({"report.html": b"old"})
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.outputs.remove(["report.html"])
    monkeypatch.undo()
    (store.folder / "report.html").unlink()
    assert store.outputs.problems() == {}
    store.outputs.remove(["report.html"])
    assert not store.outputs.unfinished()


def test_a_study_file_that_was_edited_is_kept(store):
    store.remember("name = 'a'", [], {"versions": {}})
    (store.folder / "study.toml").write_text("# mine\nname = 'a'")
    kept = store.remember("name = 'b'", [], {"versions": {}})
    assert kept is not None
    assert kept.read_text() == "# mine\nname = 'a'"
    assert (store.folder / "study.toml").read_text() == "name = 'b'"


def test_drafts_of_a_process_that_was_killed_are_removed_and_those_of_one_that_lives_are_not(store):
    store.close()
    code = """
import sys
from manifoldscope.study.store import Store
store = Store(sys.argv[1])
for place in ("figures/a.svg", "units/attack/k"):
    draft = store._drafts.beside(store.folder / place)
    draft.parent.mkdir(exist_ok=True)
    draft.write_text("half")
print("ready", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(store.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    Store(store.folder).prepare()
    assert len(list(store.folder.rglob(".draft-*"))) == 2
    child.kill()
    child.communicate()
    Store(store.folder).prepare()
    assert not list(store.folder.rglob(".draft-*"))
    assert not list((store.folder / "locks").glob("writer-*"))


def test_results_can_be_read_by_whom_the_umask_allows(tmp_path):
    from tests.study.test_store import UNIT, payload

    before = os.umask(0o027)
    try:
        store = Store(tmp_path / "run")
        store.prepare()
        store.publish(UNIT, payload(), {})
        store.outputs.write({"report.html": b""})
    finally:
        os.umask(before)
    modes = {
        path.relative_to(store.folder): stat.S_IMODE(path.stat().st_mode)
        for path in store.folder.rglob("*")
        if "locks" not in path.parts
    }
    assert {mode for path, mode in modes.items() if (store.folder / path).is_dir()} == {0o750}
    assert {mode for path, mode in modes.items() if (store.folder / path).is_file()} == {0o640}
    assert Path("units") / UNIT.kind / UNIT.key / "manifest.json" in modes
