"""A mutated store: what is wrong is named, nothing is believed that was changed, and no foreign error is raised."""

from __future__ import annotations

import random
import shutil

import pytest

from manifoldscope.cli import main
from manifoldscope.errors import StoreError
from manifoldscope.study.store import Store
from manifoldscope.study.verify import verify
from tests.fuzz.mutate import budget, mutations
from tests.study.test_store import UNIT, payload


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "run")
    made.prepare()
    made.publish(UNIT, payload(), {})
    made.remember("name = 'x'", [UNIT], {"versions": {}})
    made.outputs.write({"tables/x.parquet": b"1"})
    made.close()
    return made


@pytest.mark.parametrize("name", ["manifest.json", "rows.parquet", "arrays.safetensors"])
def test_a_unit_is_done_only_as_it_was_written(store, name):
    path = store.folder / "units" / UNIT.kind / UNIT.key / name
    whole = path.read_bytes()
    for content in mutations(whole, budget(300), seed=2):
        path.write_bytes(content)
        fresh = Store(store.folder)
        manifest = fresh.manifest(UNIT)
        assert manifest is None or manifest["facts"] == {"note": "ü"}
        if content != whole and name != "manifest.json":
            assert manifest is None
            assert UNIT.label in fresh.damaged
        assert len(verify(store.folder).problems) == (manifest is None)


@pytest.mark.parametrize("name", ["plan.json", "outputs.json", "manifoldscope.json", "tables/x.parquet", "study.toml"])
def test_status_verify_and_the_next_run_go_on_or_say_why(store, name, capsys):
    path = store.folder / name
    whole = path.read_bytes()
    for content in mutations(whole, budget(100), seed=3):
        path.write_bytes(content)
        for command in ("status", "verify"):
            assert main([command, str(store.folder)]) in (0, 1, 2)
        fresh = Store(store.folder)
        try:
            fresh.prepare()
            fresh.remember("name = 'x'", [UNIT], {"versions": {}})
        except StoreError:
            pass
        else:
            assert fresh.done(UNIT)
        finally:
            fresh.close()
        assert "Traceback" not in capsys.readouterr().err
        path.unlink(missing_ok=True)
        path.write_bytes(whole)


def test_names_in_a_manifest_lead_nowhere_else(store, tmp_path):
    import json

    from manifoldscope.study.store import manifest_digest

    (tmp_path / "outside").write_text("theirs")
    path = store.folder / "units" / UNIT.kind / UNIT.key / "manifest.json"
    manifest = json.loads(path.read_text())
    chance = random.Random(0)
    for name in ("../../../../outside", "/etc/passwd", "a/b", "..", ".", "", "\x00"):
        manifest["payload"] = {**manifest["payload"], name: str(chance.random())}
        path.write_text(json.dumps({**manifest, "digest": manifest_digest(manifest)}))
        assert not Store(store.folder).done(UNIT)
        manifest["payload"].pop(name)
    shutil.rmtree(store.folder / "units")
    assert not Store(store.folder).done(UNIT)
