"""Verify and remake: what was changed in a folder of results is named, is not believed, and is computed anew."""

from __future__ import annotations

import json
import shutil
from io import StringIO

import polars as pl
import pytest

from manifoldscope.api import run
from manifoldscope.errors import StoreError
from manifoldscope.study.progress import Progress
from manifoldscope.study.store import Store, manifest_digest
from manifoldscope.study.verify import verify
from tests.study import tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "run"
    run(tiny.study(), out=folder, progress=Progress(quiet=True))
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def everything(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def of_kind(folder, kind):
    return sorted((folder / "units" / kind).iterdir())


def swap(folder):
    first, second = of_kind(folder, "attack")[:2]
    first.rename(folder / "x")
    second.rename(first)
    (folder / "x").rename(second)
    return 2


def edit_a_number(folder):
    path = of_kind(folder, "inspect")[0] / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "seconds": manifest["seconds"] + 1}))
    return 1


def empty_the_payload(folder):
    path = of_kind(folder, "attack")[0] / "manifest.json"
    manifest = {**json.loads(path.read_text()), "payload": {}}
    path.write_text(json.dumps({**manifest, "digest": manifest_digest(manifest)}))
    return 1


def edit_the_payload(folder):
    path = of_kind(folder, "attack")[0] / "outcomes.parquet"
    pl.read_parquet(path).with_columns(label=99).write_parquet(path)
    return 1


def manifest_of_a_list(folder):
    (of_kind(folder, "geometry")[0] / "manifest.json").write_text("[]")
    return 1


def nested_without_end(folder):
    (of_kind(folder, "geometry")[0] / "manifest.json").write_text("[" * 100_000)
    return 1


def a_link(folder):
    home = of_kind(folder, "geometry")[0]
    home.rename(folder.parent / "elsewhere")
    home.symlink_to(folder.parent / "elsewhere")
    return 1


def a_file(folder):
    home = of_kind(folder, "geometry")[0]
    shutil.rmtree(home)
    home.write_text("a file")
    return 1


def a_draw(folder):
    (of_kind(folder, "draw")[0] / "images.parquet").write_bytes(b"")
    return 1


def a_checkpoint(folder):
    trained = [path for path in folder.glob("units/train/*/manifest.json") if '"loss"' in path.read_text()]
    path = trained[0].with_name("checkpoint.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    return 1


DAMAGES = [
    swap,
    edit_a_number,
    empty_the_payload,
    edit_the_payload,
    manifest_of_a_list,
    nested_without_end,
    a_link,
    a_file,
    a_draw,
    a_checkpoint,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_changed_is_named_and_computed_anew_and_nothing_else_is(finished, copy, damage):
    n_damaged = damage(copy)
    before = everything(copy)
    found = verify(copy)
    assert len(found.problems) == n_damaged
    assert all(problem.label for problem in found.problems)
    assert everything(copy) == before
    lines = StringIO()
    result = run(tiny.study(), out=copy, progress=Progress(lines))
    assert result.failed == {}
    assert result.n_computed == (n_damaged if damage is not a_draw else 0)
    assert lines.getvalue().count("damaged: ") == n_damaged
    assert len(list((copy / "damaged").iterdir())) == n_damaged
    again = verify(copy)
    assert again.problems == ()
    assert again.n_whole == verify(finished).n_whole
    for table in ("robustness", "outcomes", "geometry"):
        assert Store(copy).read_table(table).equals(Store(finished).read_table(table))


def test_what_rests_on_a_damaged_unit_is_named(copy):
    a_checkpoint(copy)
    (problem,) = verify(copy).problems
    assert problem.label == "adversarial · train"
    assert {label.split(" · ")[0] for label in problem.dependents} == {"adversarial"}
    # inspect and points; of three classes margins, geometry, a pair of draws, and attacks at two epsilons
    assert len(problem.dependents) == 2 + 3 * (1 + 1 + 1 + 2)


def test_changed_outputs_are_named_and_made_anew(finished, copy):
    for name in ("tables/geometry.parquet", "report.html", "plan.json"):
        (copy / name).write_bytes(b"[]")
    assert {problem.path for problem in verify(copy).problems} == {
        "tables/geometry.parquet",
        "report.html",
        "plan.json",
    }
    run(tiny.study(), out=copy, progress=Progress(quiet=True))
    assert verify(copy).problems == ()
    assert Store(copy).read_table("geometry").equals(Store(finished).read_table("geometry"))


def test_leftovers_and_files_of_others_are_told_apart(copy):
    (copy / "units" / "attack" / ".draft-0123-0").mkdir()
    (of_kind(copy, "inspect")[0] / "notes.txt").write_text("mine")
    found = verify(copy)
    assert found.problems == ()
    assert found.leftovers == ("units/attack/.draft-0123-0",)
    assert [path.split("/")[-1] for path in found.strangers] == ["notes.txt"]


def test_a_folder_without_results_is_one_sentence(tmp_path):
    with pytest.raises(StoreError, match="holds no results"):
        verify(tmp_path)
