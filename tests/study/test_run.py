"""A run: what it computes, what it computes again, and what survives a kill."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import safetensors.torch
import tomli_w
import torch
from PIL import Image

from manifoldscope.api import run
from manifoldscope.attacks import load_saved_images
from manifoldscope.errors import DataError, ModelError, StoreError, StudyError
from manifoldscope.study import Store, run_units
from manifoldscope.study.loading import parse
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from manifoldscope.study.size import size_of
from manifoldscope.tables import TABLES
from manifoldscope.vision.sources import network
from tests.study import tiny

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the tiny study done; tests only read it."""
    store = Store(tmp_path_factory.mktemp("runs") / "tiny")
    outcome = run_units(tiny.study(), store, progress=QUIET)
    assert outcome.failed == {}
    return store, outcome


def copy_of(finished, tmp_path):
    import shutil

    shutil.copytree(finished[0].folder, tmp_path / "copy")
    return Store(tmp_path / "copy")


def tables(store):
    return collect(store, store.plan()[0])


def test_every_unit_is_computed_once(finished):
    store, outcome = finished
    # 3 draws; a network: train, inspect, of 3 classes margins, geometry, a pair of draws and 2 attacks, and points
    assert len(outcome.units) == 3 + 2 * (1 + 1 + 3 * (1 + 1 + 1 + 2) + 1)
    assert outcome.n_computed == 36
    assert run_units(tiny.study(), store, progress=QUIET).n_computed == 0


def test_the_tables_hold_every_combination(finished):
    found = tables(finished[0])
    assert len(found["models"]) == 2
    assert len(found["geometry"]) == 2 * 2 * 3 * 2  # networks, layers, classes, measures
    assert len(found["outcomes"]) == 2 * 2 * 30
    assert len(found["robustness"]) == 2 * 2 * 3 * 2  # networks, strengths, classes, iterates
    assert set(found["geometry"]["n_features"]) == {256, 128}
    assert found["geometry"]["ceiling"].null_count() == 0
    clean = found["robustness"].filter(pl.col("strength") == 0)
    assert (clean["robust_accuracy"] == clean["clean_accuracy"]).all()
    assert set(found["checks"]["check"]) >= {"state", "determinism", "epsilon 0", "above chance"}


def test_an_evaluation_checks_itself_from_what_its_units_noted(finished):
    checks = tables(finished[0])["checks"]
    of = {model: set(rows["check"]) for (model,), rows in checks.group_by("model")}
    assert {"feasibility (pgd)", "fast path (pgd)", "training loss"} <= of["adversarial"]
    assert of["adversarial"] - of["random"] == {"training loss", "training collapse", "above chance"}
    kept = checks.filter(pl.col("check") == "feasibility (pgd)")
    assert kept["passed"].all()
    assert set(kept["note"]) == {"60 images of the classes with examples, stored as float32"}  # 2 strengths, 3 classes


def test_full_checks_attack_each_network_harder(finished, tmp_path):
    store = copy_of(finished, tmp_path)
    assert run_units(tiny.study(checks="full"), store, progress=QUIET).failed == {}
    added = set(tables(store)["checks"]["check"]) - set(tables(finished[0])["checks"]["check"])
    assert added == {
        f"{what} (pgd at 0.1)"
        for what in ("rescaled logits", "convergence", "second loss", "restarts", "gradient-free")
    }
    curves = tables(store)["convergence"]
    ways = curves.group_by("model", "attack", "strength", "n_steps").agg(pl.col("step").sort())
    assert sorted(ways.rows()) == [
        (model, "pgd", 0.1, n_steps, list(range(n_steps + 1)))
        for model in ("adversarial", "random")
        for n_steps in (3, 6)
    ]
    assert set(curves["n_images"]) == {30}


def test_the_three_draws_share_no_image(finished):
    store, _ = finished
    draws = [unit for unit in store.plan()[0] if unit.kind == "draw"]
    names = [set(store.table(unit, "images")["image"]) for unit in draws]
    assert [len(each) for each in names] == [30, 36, 60]
    assert len(set.union(*names)) == 126


def test_a_manifest_traces_a_number_to_its_settings(finished):
    store, _ = finished
    unit = next(unit for unit in store.plan()[0] if unit.kind == "attack")
    manifest = store.manifest(unit)
    assert manifest["inputs"]["attack"]["parameters"].startswith("loss=ce steps=3")
    assert manifest["inputs"]["network"]["identity"]["source"] == "small:cnn"
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0]
    assert manifest["seed"] == 0
    assert manifest["needs"]


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"measures": ["pca_dimension"]}, {"geometry", "draw_pair"}),
        ({"attacks": [{"kind": "pgd", "epsilons": [0, 0.1, 0.2], "steps": 3}]}, {"attack"}),
        ({"checks": "full"}, {"check"}),
        ({"associations": {"permutations": 100}}, set()),
        ({"name": "renamed", "question": "why?"}, set()),
    ],
)
def test_a_changed_setting_recomputes_only_what_depends_on_it(finished, tmp_path, changes, kinds):
    store = copy_of(finished, tmp_path)
    before = {unit.key for unit in store.plan()[0]}
    outcome = run_units(tiny.study(**changes), store, progress=QUIET)
    assert {unit.kind for unit in outcome.units if unit.key not in before} == kinds
    assert outcome.n_computed == sum(unit.key not in before for unit in outcome.units)


def test_one_more_class_or_more_images_to_measure_leave_the_other_attacks_alone(finished, tmp_path):
    store = copy_of(finished, tmp_path)
    before = {unit.key for unit in store.plan()[0]}
    data = tiny.raw()["data"]
    more = {**data, "geometry": {"images_per_class": 14}}
    models = tiny.raw()["models"][:1]  # untrained, so that no training images change
    outcome = run_units(tiny.study(data=more, models=models), store, progress=QUIET)
    assert {unit.kind for unit in outcome.units if unit.key not in before} <= {
        "draw",
        "geometry",
        "margins",
        "draw_pair",
    }


def test_renaming_a_network_computes_nothing_and_renames_the_rows(finished, tmp_path):
    store = copy_of(finished, tmp_path)
    models = tiny.raw()["models"]
    models[0]["name"] = "untrained"
    assert run_units(tiny.study(models=models), store, progress=QUIET).n_computed == 0
    assert set(tables(store)["geometry"]["model"]) == {"untrained", "adversarial"}


def in_a_process_of_its_own(tmp_path):
    """A process that computes the tiny study into tmp_path/run."""
    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(tiny.raw()))
    code = (
        "import sys; from manifoldscope.study import Store, load, run_units;"
        "sys.exit(bool(run_units(load(sys.argv[1]), Store(sys.argv[2])).failed))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(path), str(tmp_path / "run")], stderr=subprocess.DEVNULL)


def test_a_killed_run_goes_on_and_ends_with_the_same_tables(finished, tmp_path):
    out = tmp_path / "run"
    process = in_a_process_of_its_own(tmp_path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(out.glob("units/geometry/[!.]*/manifest.json"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = Store(out)
    before = set(out.glob("units/*/[!.]*/manifest.json"))  # an unfinished attempt has a dot before its name
    assert before
    assert len(before) < 39
    outcome = run_units(tiny.study(), store, progress=QUIET)
    assert outcome.failed == {}
    assert outcome.n_computed == 39 - len(before)
    expected, found = tables(finished[0]), tables(store)
    for name, table in expected.items():
        assert found[name].drop("seconds", strict=False).equals(table.drop("seconds", strict=False)), name


def test_two_processes_share_a_store(finished, tmp_path):
    both = [in_a_process_of_its_own(tmp_path) for _ in range(2)]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
    expected, found = tables(finished[0]), tables(Store(tmp_path / "run"))
    for name, table in expected.items():
        assert found[name].drop("seconds", strict=False).equals(table.drop("seconds", strict=False)), name


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path):
    """Two classes of eight small images, one of them damaged."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cats", "dogs")):
        folder = tmp_path / "photographs" / name
        folder.mkdir(parents=True)
        for index in range(8):
            image = rng.integers(0, 128, (12, 12, 3), dtype=np.uint8) + np.uint8(100 * label)
            Image.fromarray(image).save(folder / f"{index}.png")
    (tmp_path / "photographs" / "dogs" / "3.png").write_text("not an image")
    return tmp_path / "photographs"


def of_photographs(root, **changes):
    data = {
        "source": "folder",
        "root": str(root),
        "geometry": {"images_per_class": 3},
        "robustness": {"images_per_class": 3},
    }
    models = [{"name": "random", "source": "small:cnn", "training": {"objective": "random"}}]
    return tiny.study(**{"data": data, "models": models, **changes})


def test_an_unreadable_image_is_skipped_and_named(photographs, tmp_path):
    store = Store(tmp_path / "run")
    data = {"source": "folder", "root": str(photographs), "robustness": {"images_per_class": 7}, "same_images": True}
    data["geometry"] = data["robustness"]
    outcome = run_units(of_photographs(photographs, data=data), store, progress=QUIET)
    assert outcome.failed == {}
    aside = tables(store)["skipped_images"]
    assert aside["image"].to_list() == ["dogs/3.png"]
    assert "cannot be read" in aside["reason"][0]


def test_a_class_without_enough_images_stops_before_anything_is_computed(photographs, tmp_path):
    for index in range(7):
        (photographs / "dogs" / f"{index}.png").unlink()
    study = of_photographs(photographs)
    with pytest.raises(
        DataError, match=r"class 'dogs' of folder .* has 0 readable images left .* out of data\.classes"
    ):
        run_units(study, Store(tmp_path / "run"), progress=QUIET)
    with pytest.raises(DataError, match=r"data\.geometry: class 'dogs' .* has \d images, of which 0 are left"):
        size_of(study)  # before a run
    for path in (photographs / "dogs").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="dogs"):
        run_units(of_photographs(photographs), Store(tmp_path / "run"), progress=QUIET)


BROKEN = """
import torch
from torch import nn

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)
    def forward(self, pixels):
        return self.linear(pixels.flatten(1)) {tail}

def make():
    torch.manual_seed(0)
    return Broken()
"""


def own_network(tmp_path, tail):
    path = tmp_path / "own.py"
    path.write_text(BROKEN.format(tail=tail))
    return {"name": "own", "source": f"python:{path}:make", "channels": 1, "layers": ["penultimate"]}


def test_a_network_that_gives_nan_stops_the_run_with_one_sentence(tmp_path):
    models = [own_network(tmp_path, "* float('nan')")]
    with pytest.raises(ModelError, match="own gave NaN or infinite outputs for 16 of the first 16 images"):
        run_units(tiny.study(models=models), Store(tmp_path / "run"), progress=QUIET)


def test_a_layer_that_does_not_exist_is_found_before_the_run(tmp_path):
    with pytest.raises(ModelError, match="did you mean 'flatten'"):
        run_units(tiny.study(layers=["flaten"]), Store(tmp_path / "run"), progress=QUIET)


def test_loaded_weights_near_chance_stop_that_network_and_no_other(tmp_path):
    models = [own_network(tmp_path, ""), tiny.raw()["models"][0]]
    store = Store(tmp_path / "run")
    outcome = run_units(tiny.study(models=models), store, progress=QUIET)
    assert list(outcome.failed) == ["own · inspect"]
    assert "near chance" in outcome.failed["own · inspect"]
    assert "order of the labels" in outcome.failed["own · inspect"]
    assert tables(store)["models"]["model"].to_list() == ["random"]
    assert set(tables(store)["outcomes"]["model"]) == {"random"}


def test_weights_near_chance_that_expect_other_pixels_are_told_which(tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "import manifoldscope as ms\n"
        "from torch import nn\n"
        "def make():\n"
        "    digits = ms.images('digits')\n"
        "    pixels = 255 * ms.vision.as_network(nn.Identity()).pixels(digits).flatten(1)\n"
        "    means = torch.stack([pixels[digits.labels == label].mean(0) for label in range(10)])\n"
        "    linear = nn.Linear(64, 10)\n"
        "    linear.weight.data, linear.bias.data = means, -means.square().sum(1) / 2\n"
        "    return nn.Sequential(nn.Flatten(), linear)\n"
    )
    own = {"name": "own", "source": f"python:{tmp_path / 'own.py'}:make", "channels": 1, "layers": ["penultimate"]}
    outcome = run_units(tiny.study(models=[own]), Store(tmp_path / "run"), progress=QUIET)
    assert "is pixels to 255 what it was trained with? If so, give it as" in outcome.failed["own · inspect"]


def test_what_cannot_fit_into_memory_is_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr("manifoldscope.vision.memory.available_memory", lambda: 1000)
    with pytest.raises(StudyError, match=r"may take [\d.]+ GiB; reduce .*, or allow more with --memory"):
        run_units(tiny.study(), Store(tmp_path / "run"), progress=QUIET)


def test_a_full_disk_stops_the_run_and_keeps_what_is_stored(finished, tmp_path, monkeypatch):
    store = copy_of(finished, tmp_path)
    original = Store.publish

    def full(self, unit, payload, record):
        raise StoreError(f"cannot write to {self.folder}: No space left on device")

    monkeypatch.setattr(Store, "publish", full)
    with pytest.raises(StoreError, match="No space left"):
        run_units(tiny.study(measures=["pca_dimension"]), store, progress=QUIET)
    monkeypatch.setattr(Store, "publish", original)
    assert run_units(tiny.study(), store, progress=QUIET).n_computed == 0


def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(StudyError, match="use --device cpu or auto"):
        run_units(tiny.study(), Store(Path(tmp_path) / "run"), device="nonsense", progress=QUIET)


def test_other_labels_for_the_same_pixels_are_other_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8)
    labels = np.arange(40) % 2
    np.savez(tmp_path / "own.npz", images=pixels, labels=labels)
    data = {"source": "arrays", "root": str(tmp_path / "own.npz"), "geometry": {"images_per_class": 3}}
    study = tiny.study(data={**data, "robustness": {"images_per_class": 3}}, models=tiny.raw()["models"][:1])
    first = run_units(study, Store(tmp_path / "run"), progress=QUIET)
    np.savez(tmp_path / "own.npz", images=pixels, labels=1 - labels)
    second = run_units(study, Store(tmp_path / "run"), progress=QUIET)
    keys = [{unit.key for unit in outcome.units if unit.kind != "train"} for outcome in (first, second)]
    assert not keys[0] & keys[1]


def test_swapped_names_swap_the_rows_and_compute_nothing(finished, tmp_path):
    store = copy_of(finished, tmp_path)
    before = tables(store)["models"]
    models = tiny.raw()["models"]
    models[0]["name"], models[1]["name"] = models[1]["name"], models[0]["name"]
    assert run_units(tiny.study(models=models), store, progress=QUIET).n_computed == 0
    after = tables(store)["models"]
    assert after["clean_accuracy"].to_list() == before["clean_accuracy"].to_list()[::-1]
    for row in after.iter_rows(named=True):
        assert f'"replicate_of": "{row["model"]}"' in row["provenance"]


def test_a_small_network_takes_colour_if_any_image_has_it_and_refuses_unequal_sizes(photographs, tmp_path):
    (photographs / "dogs" / "3.png").unlink()
    for path in (photographs / "cats").iterdir():
        Image.open(path).convert("L").save(path)
    store = Store(tmp_path / "run")
    outcome = run_units(of_photographs(photographs), store, progress=QUIET)
    assert next(unit for unit in outcome.units if unit.kind == "train").network.identity["build"]["channels"] == 3
    Image.new("RGB", (12, 20)).save(photographs / "dogs" / "tall.png")
    data = {"source": "folder", "root": str(photographs), "same_images": True}
    with pytest.raises(DataError, match="have sides of 12 to 20 pixels"):
        run_units(of_photographs(photographs, data=data, seed=1), Store(tmp_path / "two"), progress=QUIET)


def test_a_link_to_nothing_is_skipped(photographs, tmp_path):
    (photographs / "cats" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    store = Store(tmp_path / "run")
    data = {"source": "folder", "root": str(photographs), "same_images": True}
    assert run_units(of_photographs(photographs, data=data), store, progress=QUIET).failed == {}
    assert tables(store)["skipped_images"]["image"].to_list() == ["cats/gone.png", "dogs/3.png"]


def test_a_draw_that_leaves_nothing_says_which_draw_and_what_to_reduce(photographs, tmp_path):
    data = {"source": "folder", "root": str(photographs), "robustness": {"images_per_class": 8}}
    with pytest.raises(DataError, match=r"data\.geometry: class 'cats' .* reduce images_per_class of data.robustness"):
        run_units(of_photographs(photographs, data=data), Store(tmp_path / "run"), progress=QUIET)


def test_attacked_images_are_kept_with_their_unit_and_judged_as_its_table_says(finished, tmp_path):
    store = copy_of(finished, tmp_path)
    changed = tiny.study(attacks=[{"kind": "pgd", "epsilons": [0.1], "steps": 3, "save": "uint8"}])
    outcome = run_units(changed, store, progress=QUIET)
    assert outcome.failed == {}
    attacks = [unit for unit in outcome.units if unit.kind == "attack"]
    assert outcome.n_computed == len(attacks) == 6
    for unit in attacks:
        kept, outcomes = load_saved_images(store.images(unit)), store.table(unit, "outcomes")
        assert kept.tensors["images"].dtype == torch.uint8
        said = dict(zip(outcomes["image"], outcomes["last_prediction"], strict=True))
        names = json.loads(kept.metadata["names"])
        differ = sum(said[name] != now for name, now in zip(names, kept.tensors["predictions"].tolist(), strict=True))
        assert store.manifest(unit)["facts"]["saved"] == {"as": "uint8", "n_changed": kept.n_changed}
        assert kept.n_changed <= differ


def test_images_that_stop_early_are_not_kept():
    with pytest.raises(StudyError, match="expected iterate = 'both'"):
        tiny.study(attacks=[{"kind": "pgd", "epsilons": [0.1], "save": "float", "iterate": "any"}])


def test_transfer_between_networks_agrees_with_their_attacks(finished, tmp_path):
    store = copy_of(finished, tmp_path)
    attacks = [{"kind": "pgd", "epsilons": [0, 0.1], "steps": 3, "transfer": True}]
    outcome = run_units(tiny.study(attacks=attacks), store, progress=QUIET)
    assert outcome.failed == {}
    assert outcome.n_computed == 2 * 2  # networks, strengths: the attacks themselves are there
    found = tables(store)
    assert len(found["transfer"]) == 2 * 2 * 2
    own = found["transfer"].filter(pl.col("source_model") == pl.col("target_model"))
    attacks = (
        found["robustness"]
        .filter(iterate="last")
        .group_by("model", "strength")
        .agg(pl.col("n_images").sum(), pl.col("n_clean_correct").sum(), pl.col("n_robust").sum())
    )
    both = own.join(attacks, left_on=["source_model", "strength"], right_on=["model", "strength"])
    assert len(both) == 4
    assert (both["n_clean_correct"] == both["n_clean_correct_right"]).all()
    assert (both["n_clean_correct"] - both["n_misclassified"] == both["n_robust"]).all()


def test_the_history_of_training_is_a_table(finished):
    found = tables(finished[0])
    history = found["training"]
    assert history.select("model", "epoch").rows() == [("adversarial", epoch) for epoch in range(1, 7)]
    assert history["n_images"].to_list()[-1] == 60
    assert history["n_robust_pgd"].to_list()[-1] is not None
    assert {"training loss", "training collapse"} <= set(found["checks"].filter(model="adversarial")["check"])


def test_a_sweep_that_reuses_outcomes_falls_by_construction_and_says_so(finished, tmp_path):
    store = copy_of(finished, tmp_path)
    attack = {"kind": "pgd", "epsilons": [0.1, 0.02, 0.2], "steps": 3, "iterate": "any"}
    alone = tiny.study(attacks=[attack])
    assert run_units(alone, store, progress=QUIET).failed == {}
    apart = tables(store)
    outcome = run_units(tiny.study(attacks=[{**attack, "sweep": "reuse"}]), store, progress=QUIET)
    assert outcome.failed == {}
    assert outcome.n_computed == 2 * 2 * 3  # networks, strengths above the smallest, classes
    found = tables(store)
    by = ["model", "image"]
    sweep = found["outcomes"].sort("strength").group_by(by).agg("robust_any")["robust_any"].to_list()
    assert all(one >= other for each in sweep for one, other in itertools.pairwise(each))
    assert len({tuple(each) for each in sweep}) > 2  # some images fall between the strengths
    smallest = [each["outcomes"].filter(strength=0.02) for each in (apart, found)]
    assert smallest[0].equals(smallest[1])
    curve = pl.col("check") == "epsilon curve (pgd, any)"
    assert apart["checks"].filter(curve)["passed"].to_list() == [True, True]
    rows = found["checks"].filter(curve)
    assert rows["passed"].null_count() == 2
    assert rows["note"].str.contains("monotone by construction, which proves nothing").all()


def test_minimal_perturbations_are_told_by_class_and_are_no_attack_at_a_strength(finished, tmp_path):
    store = copy_of(finished, tmp_path)
    before = tables(store)
    outcome = run_units(tiny.study(minimal=[{"steps": 3, "tolerance": 0.2}]), store, progress=QUIET)
    assert outcome.failed == {}
    assert outcome.n_computed == 2 * 3  # networks, classes
    found = tables(store)
    assert found["robustness"].equals(before["robustness"])
    own = found["checks"].filter(check="minimal epsilon (minimal_pgd)")
    assert own["passed"].to_list() == [True, True]  # networks
    assert found["checks"].join(own, on=["model", "check"], how="anti").equals(before["checks"])
    images = found["outcomes"].filter(attack="minimal_pgd")
    assert len(found["outcomes"]) - len(images) == len(before["outcomes"])
    assert images["minimal_epsilon"].null_count() == 0
    assert len(found["minimal"]) == 6
    for row in found["minimal"].iter_rows(named=True):
        mine = images.filter(model=row["model"], label=row["class_index"])["minimal_epsilon"].sort()
        assert (row["n_images"], row["norm"], row["largest"]) == (10, "linf", 0.5)
        assert (row["lower_quartile"], row["median"], row["upper_quartile"]) == (mine[2], mine[4], mine[7])
        assert row["n_found"] == ((mine > 0) & mine.is_finite()).sum()


def test_a_driver_names_whom_it_waits_for(tmp_path):
    store = Store(tmp_path / "run")
    store.prepare()
    units = tiny.planned(tiny.study(), store)
    held = next(unit for unit in units if unit.kind == "attack")
    lines = StringIO()
    with Store(store.folder).claim(held):
        driver = threading.Thread(target=run_units, args=(tiny.study(), store), kwargs={"progress": Progress(lines)})
        driver.start()
        for _ in range(600):
            if "waiting for" in lines.getvalue():
                break
            time.sleep(0.1)
    driver.join(60)
    assert f"waiting for process {os.getpid()} on" in lines.getvalue()
    assert lines.getvalue().count(f"which computes {held.label}") == 1
    assert all(store.done(unit) for unit in units)


@pytest.mark.parametrize("what", ["weights", "code"])
def test_nothing_is_stored_of_files_that_were_replaced_after_the_plan(what, tmp_path, monkeypatch):
    def weights(seed):
        made = network("small:cnn", channels=1, size=8, n_classes=10, seed=seed)
        safetensors.torch.save_file(made.module.state_dict(), tmp_path / "w.safetensors")

    weights(0)
    code = "from manifoldscope.vision.small import build\n\n\ndef make():\n    return build('cnn', **SHAPE)\n"
    code = f"SHAPE = {{'channels': 1, 'size': 8, 'n_classes': 10, 'seed': 0}}\n{code}"
    (tmp_path / "mine.py").write_text(code)
    source = "small:cnn" if what == "weights" else f"python:{tmp_path / 'mine.py'}:make"
    model = {"name": "m", "source": source, "weights": str(tmp_path / "w.safetensors")}
    study = tiny.study(models=[model if what == "weights" else {**model, "channels": 1}])
    module = importlib.import_module("manifoldscope.study.run")
    forecast = module.forecast

    def replaced(*arguments):
        found = forecast(*arguments)
        if what == "weights":
            weights(1)
        else:
            (tmp_path / "mine.py").write_text(code + "# another\n")
        return found

    monkeypatch.setattr(module, "forecast", replaced)
    store = Store(tmp_path / "run")
    outcome = run_units(study, store, progress=QUIET)
    assert outcome.n_computed == 0
    assert any(f"the {what} of m changed after the study was planned" in error for error in outcome.failed.values())


def test_a_study_says_how_positions_become_points_and_tables_say_what_was_done(tmp_path):
    layers = ["conv2", {"name": "conv2", "pool": "mean"}, {"name": "conv2", "pool": 3}, "conv2 [positions]"]
    study = tiny.study(layers=layers, models=tiny.raw()["models"][:1], measures=["pca_dimension", "centroid_distance"])
    assert study.layers == ["conv2", "conv2 [mean]", "conv2 [3]", "conv2 [positions]"]
    outcome = run_units(study, Store(tmp_path / "run"), progress=QUIET)
    assert outcome.failed == {}
    found = tables(Store(tmp_path / "run"))["geometry"].filter(measure="pca_dimension")
    shapes = {(row["layer"], row["pool"]): (row["n_points"], row["n_features"]) for row in found.to_dicts()}
    assert shapes == {  # 64 channels at 2 x 2 positions, 12 images per class
        ("conv2", "flatten"): (12, 256),
        ("conv2 [mean]", "mean"): (12, 64),
        ("conv2 [3]", "3"): (12, 64),
        ("conv2 [positions]", "positions"): (48, 64),
    }


@pytest.mark.parametrize(
    "changes",
    [{"ood": tiny.OOD}, {"attacks": [{"kind": "pgd", "epsilons": [0.1], "steps": 2, "displacement": True}]}],
)
def test_what_needs_a_point_for_each_image_is_refused_where_positions_are_points(changes):
    with pytest.raises(
        StudyError, match=r"needs one point for each image, and layer 'conv2 \[positions\]' has one for"
    ):
        tiny.study(layers=["conv2 [positions]"], **changes)


def test_a_study_may_have_geometry_alone_or_attacks_alone(tmp_path):
    models = tiny.raw()["models"][:1]
    alone = {"geometry": {"attacks": [], "points": {"images_per_class": 0}}, "attack": {"measures": []}}
    for kind, changes in alone.items():
        result = run(tiny.study(models=models, **changes), out=tmp_path / kind, progress=QUIET)
        assert result.failed == {}
        units = {unit.kind for unit in Store(tmp_path / kind).plan()[0]}
        assert units == {"draw", "train", "inspect", kind}
        assert result.report.exists()
        assert not [finding for finding in result.findings if finding.kind == "missing"]
        assert result.findings


def test_networks_of_any_source_are_trained_here_or_stand_untrained(tmp_path):
    module = tmp_path / "own.py"
    module.write_text(
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    source = f"python:{module}:make"
    models = [
        {
            "name": "trained",
            "source": source,
            "training": {"objective": "standard", "epochs": 100, "learning_rate": 0.05, "seeds": [0, 1]},
        },
        {"name": "untrained", "source": source, "training": {"objective": "random"}},
    ]
    study = tiny.study(models=models, layers=["penultimate"])
    result = run(study, out=tmp_path / "run", progress=QUIET)
    assert result.failed == {}
    accuracy = dict(result.table("models").select("model", "clean_accuracy").iter_rows())
    assert accuracy["trained/0"] > 0.8
    assert accuracy["trained/0"] != accuracy["untrained"]


def test_a_network_at_chance_is_measured_where_that_is_asked_for_by_name(tmp_path):
    module = tmp_path / "own.py"
    module.write_text(
        "import torch\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    models = [{"name": "own", "source": f"python:{module}:make"}]
    study = {"models": models, "layers": ["penultimate"]}
    refused = run_units(tiny.study(**study), Store(tmp_path / "refused"), progress=QUIET)
    assert "at_chance = 'measure'" in next(iter(refused.failed.values()))
    study["models"] = [{**models[0], "at_chance": "measure"}]
    outcome = run_units(tiny.study(**study), Store(tmp_path / "measured"), progress=QUIET)
    assert outcome.failed == {}


def attacked_by(monkeypatch, *, refuse=()):
    """How many images each call of the attack kind's `evaluate` is given; it refuses images of some labels."""
    module = importlib.import_module("manifoldscope.study.kinds.attack")
    real, sizes = module.evaluate, []

    def watched(network, images, *rest, **settings):
        sizes.append(len(images))
        if set(images.labels.tolist()) & set(refuse):
            raise DataError("these are refused")
        return real(network, images, *rest, **settings)

    monkeypatch.setattr(module, "evaluate", watched)
    return sizes


def test_classes_are_attacked_together_and_stored_one_by_one(finished, tmp_path, monkeypatch):
    sizes = attacked_by(monkeypatch)
    store = Store(tmp_path / "run")
    assert run_units(tiny.study(), store, progress=QUIET).failed == {}
    assert sizes == [30] * 4  # networks, strengths
    assert tables(store)["outcomes"].equals(tables(finished[0])["outcomes"])


def test_at_most_a_minute_of_work_is_attacked_together(finished, tmp_path, monkeypatch):
    sizes = attacked_by(monkeypatch)
    monkeypatch.setattr("manifoldscope.study.unit.Unit.at_a_time", 0.0)
    store = Store(tmp_path / "run")
    assert run_units(tiny.study(), store, progress=QUIET).failed == {}
    assert sizes == [10] * 12
    columns = ["model", "attack", "strength", "image", "clean_prediction", "robust_last", "robust_any"]
    assert tables(store)["outcomes"].select(columns).equals(tables(finished[0])["outcomes"].select(columns))


def test_a_class_that_fails_costs_no_other(tmp_path, monkeypatch):
    sizes = attacked_by(monkeypatch, refuse=[4])
    outcome = run_units(tiny.study(models=tiny.raw()["models"][:1]), Store(tmp_path / "run"), progress=QUIET)
    assert sizes == [30, 10, 10, 10] * 2
    assert sorted(outcome.failed) == [f"random · class 4 · pgd {strength} · attack" for strength in ("0", "0.1")]
    assert set(outcome.failed.values()) == {"these are refused"}


def test_an_image_more_attacks_what_is_new_and_the_rest_of_its_chunk_alone(tmp_path, monkeypatch):
    def study(n_images):
        data = {**tiny.raw()["data"], "robustness": {"images_per_class": n_images}}
        return tiny.study(data=data, models=tiny.raw()["models"][:1], minimal=[{"steps": 3, "tolerance": 0.2}])

    sizes = attacked_by(monkeypatch)
    store, columns = Store(tmp_path / "run"), ["model", "attack", "strength", "image", "robust_last", "minimal_epsilon"]
    outcome = run_units(study(30), store, progress=QUIET)
    labels = [unit.label for unit in outcome.units if unit.kind == "attack" and unit.attack.strength == 0]
    assert [label.split(" · ")[1] for label in labels[:3]] == ["class 1", "class 1 from image 26", "class 4"]
    fewer = tables(store)
    run_units(study(55), store, progress=QUIET)
    assert sizes == [90, 90, 3 * 30, 3 * 30]  # strengths; of each class 25 and 5 images instead of the 5 before
    more = tables(store)
    kept = more["outcomes"].join(fewer["outcomes"].select("image").unique(), on="image", how="semi")
    assert kept.select(columns).equals(fewer["outcomes"].select(columns))
    assert more["robustness"]["n_images"].unique().to_list() == [55]
    fresh = Store(tmp_path / "fresh")
    run_units(study(55), fresh, progress=QUIET)
    assert tables(fresh)["outcomes"].select(columns).equals(more["outcomes"].select(columns))
    assert tables(fresh)["minimal"].equals(more["minimal"])


@pytest.mark.parametrize(("changes", "other"), [({"attacks": []}, "robustness"), ({"measures": []}, "geometry")])
def test_where_nothing_is_attacked_or_measured_one_draw_is_for_both(changes, other, tmp_path):
    raw = tiny.raw(**changes, models=tiny.raw()["models"])
    del raw["data"][other]
    study = parse(raw)
    assert (study.data.same_images, study.data.geometry) == (True, study.data.robustness)
    assert parse(study.model_dump(exclude_none=True)) == study
    outcome = run_units(study, Store(tmp_path / "run"), progress=QUIET)
    assert outcome.failed == {}
    assert {unit.role for unit in Store(tmp_path / "run").plan()[0] if unit.kind == "draw"} == {
        "robustness",
        "training",
    }


def test_two_names_for_one_network_have_a_row_each(tmp_path):
    training = {"objective": "standard", "epochs": 1, "batch_size": 20}
    models = [{"name": name, "source": "small:cnn", "training": training} for name in ("a", "b")]
    result = run(tiny.study(models=models), out=tmp_path / "run", progress=QUIET)
    assert result.failed == {}
    found = {name: result.table(name) for name in TABLES}
    named = {name: rows for name, rows in found.items() if "model" in rows.columns and len(rows)}
    assert {"models", "geometry", "robustness", "outcomes", "margins", "layers", "training"} <= set(named)
    for name, rows in named.items():
        mine, other = (rows.filter(model=model).drop("model") for model in ("a", "b"))
        assert len(mine) == len(other), name
        assert name == "models" or mine.equals(other), name  # where each comes from is its own
