"""Training within a study: interrupted and gone on with, probed on its way, and saved for use without this package."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import polars as pl
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from manifoldscope.api import status
from manifoldscope.attacks import PGD, evaluate
from manifoldscope.geometry import MEASURES, measure
from manifoldscope.study import Store, run_units
from manifoldscope.study.kinds.training_probe import STEPS, attack_of
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from manifoldscope.study.verify import verify
from manifoldscope.training import saving
from manifoldscope.training.saving import STATE, epoch_file
from manifoldscope.vision.activations import activations
from manifoldscope.vision.network import logits
from manifoldscope.vision.weights import fit as fit_weights
from tests.study import tiny

QUIET = Progress(quiet=True)
TRAINING = {"objective": "adversarial", "epsilon": 0.1, "steps": 2, "epochs": 6, "batch_size": 20}
MEASURED = ["pca_dimension", "centroid_distance"]


def probed(**changes):
    models = [
        {"name": "untrained", "source": "small:cnn", "training": {"objective": "random", "probe_every": 1}},
        {"name": "adversarial", "source": "small:cnn", "training": {**TRAINING, "probe_every": 4, **changes}},
    ]
    return tiny.study(
        models=models,
        measures=MEASURED,
        layers=["penultimate"],
        attacks=[{"kind": "pgd", "epsilons": [0.05], "steps": 2}],
        sampling={"split_halves": 1, "second_draw": False},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("probed") / "run")
    outcome = run_units(probed(), store, progress=QUIET)
    assert outcome.failed == {}
    return store, collect(store, outcome.units), outcome.units


def trained(units):
    return next(unit for unit in tiny.of_kind(units, "train") if unit.network.name == "adversarial")


def test_a_training_is_probed_before_it_after_some_epochs_and_at_the_end(finished):
    _, tables, units = finished
    assert [unit.epoch for unit in tiny.of_kind(units, "training_probe")] == [0, 4, 6]
    probes, accuracy = tables["training_probes"], tables["training_accuracy"]
    assert set(probes["model"]) == set(accuracy["model"]) == {"adversarial"}
    assert len(accuracy) == 3 * 3  # epochs, classes
    assert len(probes) == 3 * (3 + 3 + 1)  # epochs; classes, classes again and the whole for the joint measure
    assert set(accuracy["epsilon"]) == {0.1}
    assert set(accuracy["n_images"]) == {10}


def test_a_probe_of_the_last_epoch_says_what_the_study_says_of_the_trained_network(finished):
    _, tables, _ = finished
    by = ["layer", "measure", "parameters", "class_index"]
    last = tables["training_probes"].filter(epoch=6).sort(by)
    whole = tables["geometry"].filter(model="adversarial").sort(by)
    assert last.select(*by, "n_points").equals(whole.select(*by, "n_points"))
    assert last["value"].to_list() == pytest.approx(whole["value"].to_list(), rel=1e-5)  # batches are others
    clean = tables["robustness"].filter(model="adversarial", iterate="any")
    counted = tables["training_accuracy"].filter(epoch=6).sort("class_index")
    assert counted["n_clean_correct"].to_list() == clean.sort("class_index")["n_clean_correct"].to_list()
    assert (counted["n_robust"] <= counted["n_clean_correct"]).all()


@pytest.mark.parametrize("epoch", [0, 4])
def test_a_probe_measures_and_attacks_the_weights_of_its_epoch(finished, epoch):
    store, tables, units = finished
    context = tiny.context_of(probed(), store)
    network = context.untrained("adversarial")
    path, _ = store.checkpoint(trained(units).key, epoch_file(epoch))
    fit_weights(network.module, path, "the network")
    if epoch == 0:
        first = context.untrained("adversarial", seed=trained(units).initialisation).module.state_dict()
        assert all(torch.equal(value, first[name]) for name, value in network.module.state_dict().items())
    manifolds = activations(network, context.draws["geometry"].images, layers=["penultimate"])
    rows = tables["training_probes"].filter(epoch=epoch, measure="pca_dimension")
    found = dict(rows.select("class_index", "value").iter_rows())
    assert found == {each.label: measure("pca_dimension", each).value for each in manifolds}
    (whole,) = tables["training_probes"].filter(epoch=epoch, measure="centroid_distance", class_index=-1)["value"]
    settings = MEASURES["centroid_distance"].validate({})
    assert whole == pytest.approx(measure("centroid_distance", manifolds, **settings).whole.value, rel=1e-5)
    images = context.draws["robustness"].images
    outcomes = evaluate(network, images, PGD(epsilon=0.1, steps=STEPS), iterate="any", batch_size=16).table
    counted = tables["training_accuracy"].filter(epoch=epoch).sort("class_index")
    expected = outcomes.group_by("label").agg(pl.col("robust_any").sum()).sort("label")["robust_any"]
    assert counted["n_robust"].to_list() == expected.to_list()


def test_networks_are_attacked_in_the_ball_of_their_training_or_of_the_study():
    def chosen(training, *attacks):
        study = tiny.study(models=[{"source": "small:cnn", "training": training}], attacks=list(attacks))
        return attack_of(study, study.models[0].training)

    standard = {"objective": "standard"}
    noise = {"kind": "noise", "epsilons": [0.5]}
    l2 = {"kind": "pgd", "norm": "l2", "epsilons": [0.5, 1.5, 1.0], "steps": 40}
    assert chosen(TRAINING, l2) == PGD(epsilon=0.1, steps=10)
    assert chosen(standard, noise, l2, {"kind": "fgsm", "epsilons": [0.2]}) == PGD(epsilon=1.5, norm="l2", steps=10)
    assert chosen(standard, noise) is None


def test_without_an_attack_accuracy_is_that_of_clean_images(tmp_path):
    models = [{"source": "small:mlp", "training": {"objective": "standard", "epochs": 1, "probe_every": 1}}]
    store = Store(tmp_path / "run")
    outcome = run_units(tiny.study(models=models, attacks=[], measures=[]), store, progress=QUIET)
    assert outcome.failed == {}
    tables = collect(store, outcome.units)
    assert tables["training_probes"].is_empty()
    counted = tables["training_accuracy"].filter(epoch=1)
    assert counted["n_robust"].null_count() == 3
    assert counted["epsilon"].null_count() == 3
    (accuracy,) = tables["models"]["clean_accuracy"]
    assert counted["n_clean_correct"].sum() / 30 == pytest.approx(accuracy)


def test_probing_changes_no_weights_and_is_in_the_key(finished, tmp_path):
    store, _, units = finished
    (other := Store(tmp_path / "run")).prepare()
    unit = trained(tiny.planned(probed(probe_every=0), other))
    assert unit.key != trained(units).key
    found = unit.compute(tiny.context_of(probed(probe_every=0), other), lambda share: None)
    assert found.files == {}
    kept = load_file(store.checkpoint(trained(units).key)[0])
    assert all(torch.equal(found.tensors[name], value) for name, value in kept.items())


def test_what_training_cost_is_a_table(finished):
    _, tables, units = finished
    (row,) = tables["training_costs"].to_dicts()
    assert (row["model"], row["objective"]) == ("adversarial", "adversarial")
    assert row["parameters"] == "epsilon=0.1 ramp=0.3 steps=2"
    assert (row["epochs"], row["n_trained_images"], row["gradient_passes"]) == (6, 6 * 60, 6 * 60 * 3.5)
    assert row["n_parameters"] == tables["models"].filter(model="adversarial")["n_parameters"].item()
    assert 0 < row["seconds"] < 600
    assert "seconds" not in json.dumps(trained(units).inputs)


# --- interruptions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A run that is stopped in the fourth epoch of a training, whose state was saved after each step."""
    monkeypatch.setattr(saving, "SHARE", float("inf"))
    module = importlib.import_module("manifoldscope.study.kinds.train")
    real = module.fit

    def stopped(*arguments, saving, on_progress, **settings):
        def tick(share):
            if share > 0.6:
                raise KeyboardInterrupt

        patched = type(saving)(folder=saving.folder, seconds=0, every=saving.every)
        return real(*arguments, saving=patched, on_progress=tick, **settings)

    monkeypatch.setattr(module, "fit", stopped)
    store = Store(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run_units(probed(), store, progress=QUIET)
    monkeypatch.setattr(module, "fit", real)
    return store


def everything(folder):
    place = folder / "unfinished"
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*"))


def test_an_interrupted_study_goes_on_within_the_training(interrupted, finished):
    units = interrupted.plan()[0]
    key = trained(units).key
    assert everything(interrupted.folder) == [key, f"{key}/{epoch_file(0)}", f"{key}/{STATE}"]
    assert verify(interrupted.folder).problems == ()
    assert verify(interrupted.folder).strangers == ()
    assert not status(interrupted.folder).failed
    outcome = run_units(probed(), interrupted, progress=QUIET)
    assert outcome.failed == {}
    assert everything(interrupted.folder) == []
    assert verify(interrupted.folder).problems == ()
    store, tables, whole = finished
    found = collect(interrupted, outcome.units)
    for name in ("training", "training_probes", "training_accuracy", "geometry", "outcomes"):
        assert found[name].equals(tables[name]), name
    paths = [at.checkpoint(trained(of).key)[0] for at, of in ((store, whole), (interrupted, outcome.units))]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_a_finished_unit_left_unfinished_is_swept_and_links_are_not_followed(finished, tmp_path):
    store, _, units = finished
    unit = trained(units)
    left, other = store.unfinished(unit), store.folder / "unfinished" / ("0" * 64)
    (left / STATE).write_bytes(b"x")
    other.mkdir()
    with store.claim(unit):
        Store(store.folder).prepare()
        assert left.exists()
    Store(store.folder).prepare()
    assert not left.exists()
    assert other.exists()
    other.rmdir()
    (tmp_path / "mine").mkdir()
    left.symlink_to(tmp_path / "mine")
    assert not store.unfinished(unit).is_symlink()
    assert (tmp_path / "mine").is_dir()
    Store(store.folder).prepare()


# --- files of weights -------------------------------------------------------------------------------------------------

PLAIN = """
import json, sys
from collections import OrderedDict
sys.modules["manifoldscope"] = None
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

path, pixels, expected = sys.argv[1:]
recipe = json.loads(safe_open(path, "pt").metadata()["recipe"])

net = nn.Sequential(
    OrderedDict(
        conv1=nn.Conv2d(1, 32, kernel_size=4, stride=2, padding=1),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(32, 64, kernel_size=4, stride=2, padding=1),
        relu2=nn.ReLU(),
        flatten=nn.Flatten(),
        dense=nn.Linear(256, 128),
        relu3=nn.ReLU(),
        logits=nn.Linear(128, 10),
    )
)
assert str(net) == recipe["architecture"]
net.load_state_dict(load_file(path))
mean, std = (torch.tensor(recipe["input"][name]).view(1, -1, 1, 1) for name in ("mean", "std"))
with torch.no_grad():
    logits = net.eval()((torch.from_numpy(np.load(pixels)) - mean) / std)
assert list(recipe["input"]["shape"]) == list(np.load(pixels).shape[1:])
assert np.abs(logits.numpy() - np.load(expected)).max() < 1e-5
"""


def test_a_file_of_weights_opens_in_plain_torch(finished, tmp_path):
    store, _, units = finished
    context = tiny.context_of(probed(), store)
    network, images = context.network("adversarial"), context.draws["robustness"].images
    np.save(tmp_path / "pixels.npy", network.pixels(images).numpy())
    np.save(tmp_path / "logits.npy", logits(network, images).numpy())
    path = store.checkpoint(trained(units).key)[0]
    command = [sys.executable, "-c", PLAIN, str(path), str(tmp_path / "pixels.npy"), str(tmp_path / "logits.npy")]
    subprocess.run(command, check=True)


def test_a_file_of_weights_says_how_it_was_made(finished):
    store, _, units = finished
    unit = trained(units)
    opened = safe_open(store.checkpoint(unit.key)[0], "pt")
    told = json.loads(opened.metadata()["recipe"])
    assert told["source"] == unit.network.identity
    assert told["training"] == {**unit.training, "initialisation": unit.initialisation, "seed": unit.seed}
    assert told["training"]["settings"] == {"epsilon": 0.1, "steps": 2, "ramp": 0.3}
    assert (told["images"]["sha256"], told["images"]["n"]) == (unit.images, 60)
    assert told["images"]["classes"] == {"1": "1", "4": "4", "7": "7"}
    assert told["versions"]["torch"] == version("torch")
