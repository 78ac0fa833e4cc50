"""What the units that measure put into the tables: standard errors, joint measures, sensitivity, displacement."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from manifoldscope.geometry import measure
from manifoldscope.robustness import evaluate
from manifoldscope.seeds import derive
from manifoldscope.study import Store, run_units
from manifoldscope.study.bench import Bench
from manifoldscope.study.draws import draw_images
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from manifoldscope.study.units import plan_units
from manifoldscope.vision.activations import activations
from tests.study import tiny

QUIET = Progress(quiet=True)
MEASURES = ["pca_dimension", "two_nn", "centre_distance", {"name": "centre_correlation"}, "within_between_ratio"]
THREATS = [{"kind": "pgd", "epsilons": [0.1], "steps": 3, "displacement": True}]


@pytest.fixture(scope="module")
def study():
    return tiny.study(measures=MEASURES, threats=THREATS, sensitivity=4, halvings=2)


@pytest.fixture(scope="module")
def store(study, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("measuring") / "run")
    assert run_units(study, store, progress=QUIET).failed == {}
    return store


@pytest.fixture(scope="module")
def tables(store):
    return collect(store, store.plan()[0])


@pytest.fixture(scope="module")
def bench(study, store):
    draws = draw_images(study, store)
    return Bench(study, store, draws, plan_units(study, draws)[1], torch.device("cpu"))


def test_every_class_and_layer_has_every_measure_once(tables):
    clean = tables["geometry"].filter(pl.col("threat").is_null() & (pl.col("class_index") >= 0))
    counted = clean.group_by("measure").len()
    # two networks, two layers, three classes
    assert dict(counted.rows()) == dict.fromkeys(
        ["pca_dimension", "two_nn", "sensitivity", "centre_distance", "centre_correlation", "within_between_ratio"], 12
    )
    assert clean.filter(pl.col("stderr").is_null()).is_empty()
    assert set(clean["class_index"]) == {1, 4, 7}
    assert clean["class_name"].to_list() == [str(index) for index in clean["class_index"]]


def test_joint_measures_land_in_geometry_and_pairs(tables, bench):
    whole = tables["geometry"].filter(pl.col("class_index") == -1)
    assert set(whole["measure"]) == {"centre_distance", "centre_correlation", "within_between_ratio"}
    pairs = tables["pairs"].filter(
        (pl.col("model") == "random") & (pl.col("layer") == "flatten") & (pl.col("measure") == "centre_distance")
    )
    assert pairs.select("class_index", "other_class_index").rows() == [(1, 4), (1, 7), (4, 7)]
    images = bench.draws["geometry"].images
    manifolds = activations(bench.network("random"), images, layers=["flatten"], batch_size=16)
    expected = measure("centre_distance", manifolds).pairs
    assert pairs["value"].to_list() == pytest.approx([expected[key].value for key in ((0, 1), (0, 2), (1, 2))])


def test_displaced_are_the_images_that_were_attacked(tables, bench, study):
    """The size of the displacement, made again from the attack itself."""
    threat = study.threats[0].threats()[0]
    network, images = bench.network("adversarial"), bench.images("robustness", 4)
    verdicts = evaluate(network, images, threat, seed=derive(study.seed, "attack", 4), batch_size=16, keep_images=True)
    rows = {row["image"]: row for row in verdicts.table.iter_rows(named=True)}
    correct = torch.tensor([rows[name]["clean_prediction"] == 4 for name in images.names])
    (clean,) = activations(network, images, layers=["penultimate"])
    moved = type(images).of(verdicts.adversarial[0], images.labels)
    (adversarial,) = activations(network, moved, layers=["penultimate"])
    expected = (adversarial.points - clean.points)[correct].norm(dim=1).mean()
    found = tables["geometry"].filter(
        (pl.col("model") == "adversarial")
        & (pl.col("layer") == "penultimate")
        & (pl.col("class_index") == 4)
        & (pl.col("measure") == "displacement")
    )
    assert found["value"].to_list() == pytest.approx([float(expected)], rel=1e-4)  # float32 activations
    assert (found["threat"][0], found["strength"][0], found["n_points"][0]) == ("pgd", 0.1, int(correct.sum()))


def test_shares_of_a_displacement_add_up_beside_their_baselines(tables):
    shares = tables["geometry"].filter(pl.col("measure").str.contains("^displacement_(own|toward|outside)"))
    assert shares.height
    for kind in ("", "_held_out", "_random"):
        parts = [f"displacement_{part}{kind}" for part in ("own", "toward", "outside")]
        sums = (
            shares.filter(pl.col("measure").is_in(parts))
            .group_by("model", "layer", "class_index")
            .agg(pl.col("value").sum())
        )
        assert sums["value"].to_list() == pytest.approx([1.0] * sums.height)


def test_another_joint_measure_computes_the_layers_alone(study, store):
    more = tiny.study(measures=[*MEASURES, "linear_margin"], threats=THREATS, sensitivity=4, halvings=2)
    assert run_units(more, store, progress=QUIET).n_computed == 4  # two networks, two layers
    assert run_units(study, store, progress=QUIET).n_computed == 0
