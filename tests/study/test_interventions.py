"""Interventions: a network that is known to use two directions, what enters keys, and a study file that asks."""

from __future__ import annotations

import itertools
import re
import shutil

import numpy as np
import polars as pl
import pytest
import tomli_w
import torch

from manifoldscope.attacks import PGD, evaluate
from manifoldscope.cli import main
from manifoldscope.errors import StudyError
from manifoldscope.study import Store, run_units
from manifoldscope.study.loading import parse
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from manifoldscope.vision import with_projection
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.sources import network as source
from tests.study import tiny

QUIET = Progress(quiet=True)
SETTINGS = {"directions": [1, 3], "draws": 2}

PLANE = """
import torch
from torch import nn


def plane():
    \"\"\"Six features of 4 x 4 images, of which the classifier uses two; where they say nothing, it says 0.\"\"\"
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 6, bias=False), nn.Linear(6, 3))
    features = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0))).Q[:6]
    angles = torch.tensor([0.0, 2.0, 4.0])
    with torch.no_grad():
        module[1].weight.copy_(features)
        module[2].weight.zero_()
        module[2].weight[:, 0], module[2].weight[:, 1] = angles.cos(), angles.sin()
        module[2].bias.copy_(torch.tensor([0.1, 0.0, 0.0]) - module[2].weight @ (features @ torch.full((16,), 0.5)))
    return module
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """A network that uses two directions of its layer, and images in three classes that differ along these."""
    folder = tmp_path_factory.mktemp("plane")
    (folder / "plane.py").write_text(PLANE)
    made = source(f"python:{folder / 'plane.py'}:plane")
    features, head = made.module[1].weight.detach(), made.module[2].weight.detach()
    random, labels = torch.Generator().manual_seed(1), torch.arange(120) % 3
    activations = 0.7 * head[labels] + 0.02 * torch.randn(120, 6, generator=random) * (head.abs().sum(0) == 0)
    pixels = 0.5 + activations @ features
    assert 0 < float(pixels.min()) < float(pixels.max()) < 1
    np.savez(folder / "plane.npz", images=pixels.view(120, 4, 4).numpy(), labels=labels.numpy())
    return folder, made, ImageSet.of(pixels.view(120, 1, 4, 4), labels)


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_without_the_two_directions_that_are_used_a_network_is_at_chance_and_without_others_as_it_was(plane, epsilon):
    _, network, images = plane
    attack, shape = PGD(epsilon=epsilon, steps=5), (1, 4, 4)
    centre = network.module[1](torch.full((16,), 0.5)).detach()  # where the classifier says 0

    def attacked(basis, keep):
        changed = with_projection(network, "penultimate", basis, centre, keep=keep, pixels_shape=shape)
        return evaluate(changed, images, attack, seed=1).table

    used, others = torch.eye(6)[:2], torch.eye(6)[2:]
    before = evaluate(network, images, attack, seed=1)
    assert before.clean_accuracy == 1
    assert (before.robust_accuracy == 1) is (epsilon < 0.1)
    for same in (attacked(others, "without"), attacked(used, "only")):
        assert same["robust_last"].to_list() == before.table["robust_last"].to_list()
    for blind in (attacked(used, "without"), attacked(others, "only")):
        assert blind["clean_prediction"].to_list() == [0] * 120
        assert blind.filter("robust_last")["label"].to_list() == [0] * 40


def test_a_study_of_that_network_says_so(plane, tmp_path):
    folder, _, _ = plane
    study = parse(
        {
            "data": {
                "source": "arrays",
                "root": str(folder / "plane.npz"),
                "geometry": {"images_per_class": 20},
                "robustness": {"images_per_class": 20},
            },
            "models": [{"source": f"python:{folder / 'plane.py'}:plane"}],
            "attacks": [{"kind": "pgd", "epsilons": [0.05], "steps": 5}],
            "interventions": [{"of": ["all"], "directions": [1, 2, 4]}],
        }
    )
    store = Store(tmp_path / "run")
    assert run_units(study, store, progress=QUIET).failed == {}
    found = collect(store, store.plan()[0])
    table = found["interventions"].filter(directions="leading", iterate="last", n_directions=2)
    untouched = found["robustness"].filter(iterate="last").sort("class_index")
    only, without = (table.filter(keep=keep).sort("class_index") for keep in ("only", "without"))
    assert untouched["clean_accuracy"].to_list() == [1.0] * 3
    assert only["n_robust"].to_list() == untouched["n_robust"].to_list()
    for name in ("clean_accuracy", "robust_accuracy"):
        assert sorted(without[name].to_list()) == [0.0, 0.0, 1.0]
    assert (without["share_of_variance"] > 0.98).all()
    # a class does not vary along the two; what is left of it after four of six is at most two-dimensional
    four = found["interventions"].filter(directions="leading", n_directions=4, keep="without")
    assert set(four["dimension"]) <= {1, 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The tiny study with interventions, run from its file by the command line; tests only read it."""
    folder = tmp_path_factory.mktemp("interventions")
    (folder / "tiny.toml").write_text(tomli_w.dumps(tiny.raw(interventions=[SETTINGS])))
    assert main(["run", str(folder / "tiny.toml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder


def test_a_study_file_that_asks_for_them_has_their_table_figure_and_finding(finished):
    table = pl.read_parquet(finished / "run" / "tables" / "interventions.parquet")
    ways = [("leading", 0), *itertools.product(("random", "random_rescaled"), range(2))]
    of_one = itertools.product(("class", "all"), ("without", "only"), (1, 3), ways, ("last", "any"), (1, 4, 7))
    expected = {(of, keep, k, *way, iterate, label) for of, keep, k, way, iterate, label in of_one}
    columns = ("of", "keep", "n_directions", "directions", "draw", "iterate", "class_index")
    for _, rows in table.group_by("model"):
        assert set(rows.select(columns).rows()) == expected
        assert len(rows) == len(expected)
    assert set(table["layer"]) == {"penultimate"}  # the last one that is measured
    assert table.drop("note").null_count().sum_horizontal().item() == 0
    assert len(list((finished / "run" / "figures").glob("interventions--*.svg"))) == 2
    assert "directions of layer penultimate" in (finished / "run" / "report.html").read_text(encoding="utf-8")


def test_rescaled_directions_change_the_points_by_as_much_as_the_leading_ones(finished):
    table = pl.read_parquet(finished / "run" / "tables" / "interventions.parquet").filter(of="class", iterate="last")
    by = ["model", "keep", "n_directions", "class_index"]
    for (directions,), rows in table.filter(pl.col("directions") != "leading").group_by(["directions"]):
        beside = rows.join(table.filter(directions="leading"), on=by, suffix="_leading")
        pair = (beside["mean_squared_change"].to_list(), beside["mean_squared_change_leading"].to_list())
        if directions == "random_rescaled":
            assert pair[0] == pytest.approx(pair[1], rel=1e-4)  # float32
        else:
            assert (rows["scale"] == 1).all()
            gap = np.array(pair[0]) - np.array(pair[1])
            assert (gap * np.where(beside["keep"] == "without", 1, -1) < 0).all()


def test_a_unit_finds_alone_what_it_finds_among_others_and_what_is_lost_is_computed_again(finished, tmp_path):
    shutil.copytree(finished / "run", tmp_path / "run")
    store = Store(tmp_path / "run")
    study = tiny.study(interventions=[SETTINGS])
    units = tiny.of_kind(store.plan()[0], "intervention")
    assert len(units) == 2 * 2 * 2 * 2 * 3  # networks, of, keep, numbers, classes
    context = tiny.context_of(study, store)
    for unit in (units[0], units[-1]):
        alone = unit.compute(context, lambda done: None).tables["interventions"]
        assert alone.equals(store.table(unit, "interventions"))
    before = collect(store, store.plan()[0])["interventions"]
    for unit in units[3:9]:
        shutil.rmtree(store.folder / "units" / "intervention" / unit.key)
    outcome = run_units(study, Store(store.folder), progress=QUIET)
    assert (outcome.failed, outcome.n_computed) == ({}, 6)
    assert collect(store, store.plan()[0])["interventions"].equals(before)


def test_one_number_of_directions_more_computes_that_alone_and_one_that_is_too_large_says_so(finished, tmp_path):
    shutil.copytree(finished / "run", tmp_path / "run")
    store = Store(tmp_path / "run")
    more = tiny.study(interventions=[{**SETTINGS, "directions": [1, 3, 12], "of": ["class"], "name": "renamed"}])
    outcome = run_units(more, store, progress=QUIET)
    assert (outcome.failed, outcome.n_computed) == ({}, 2 * 2 * 3)
    rows = collect(store, store.plan()[0])["interventions"].filter(n_directions=12)
    assert set(rows["note"]) == {"12 directions; the points span 11"}
    assert rows["n_images"].null_count() == len(rows) == 12
    assert set(rows["intervention"]) == {"renamed"}


def test_each_setting_changes_keys_and_the_name_does_not(tmp_path):
    store = Store(tmp_path / "plan")
    store.prepare()

    def keys(**settings):
        return {unit.key for unit in tiny.planned(tiny.study(interventions=[{**SETTINGS, **settings}]), store)}

    known = keys()
    assert keys(name="other") == keys(layer="penultimate") == keys(attack="pgd", strength=0.1) == known
    for change in (
        {"layer": "flatten"},
        {"of": ["all"]},
        {"keep": ["only"]},
        {"directions": [1]},
        {"draws": 3},
        {"strength": 0.0},
    ):
        assert keys(**change) != known, change


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attack": "fgsm"}, "attack = 'fgsm'; expected one of pgd"),
        ({"strength": 0.2}, "strength = 0.2; pgd has 0, 0.1"),
        ({"directions": [1, 1]}, "directions = [1, 1]: one is listed twice"),
        ({"directions": [0]}, "directions = [0]; expected numbers from 1"),
        ({"layer": "flatten [max]"}, "the maximum over positions is no linear function of them"),
        ({"keep": ["half"]}, "keep"),
        ({"draws": 0}, "draws = 0: input should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_intervened_on_is_refused_in_one_sentence(settings, message):
    with pytest.raises(StudyError, match=re.escape(message)) as caught:
        tiny.study(interventions=[settings])
    assert "\n" not in str(caught.value)
    with pytest.raises(StudyError, match="the study has no attack; add one"):
        tiny.study(interventions=[{}], attacks=[])
