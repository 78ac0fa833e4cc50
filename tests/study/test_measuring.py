"""What the units that measure put into the tables: standard errors, joint measures, sensitivity, displacement."""

from __future__ import annotations

import math

import polars as pl
import pytest
import torch

from manifoldscope.attacks import evaluate
from manifoldscope.geometry import gaussian_null, measure, reliability
from manifoldscope.seeds import derive, generator
from manifoldscope.study import Store, run_units
from manifoldscope.study.kinds.margins import margins_of
from manifoldscope.study.loading import parse
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from manifoldscope.vision.activations import activations
from manifoldscope.vision.fast import FastNetwork
from manifoldscope.vision.network import logits
from tests.study import tiny

QUIET = Progress(quiet=True)
MEASURES = ["pca_dimension", "two_nn", "centroid_distance", {"name": "centroid_cosine"}, "within_between_ratio"]
ATTACKS = [{"kind": "pgd", "epsilons": [0.1], "steps": 3, "displacement": True}]


@pytest.fixture(scope="module")
def study():
    return tiny.study(measures=MEASURES, attacks=ATTACKS, jacobian_norm=4, sampling={"split_halves": 2})


@pytest.fixture(scope="module")
def store(study, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("measuring") / "run")
    assert run_units(study, store, progress=QUIET).failed == {}
    return store


@pytest.fixture(scope="module")
def tables(store):
    return collect(store, store.plan()[0])


@pytest.fixture(scope="module")
def context(study, store):
    return tiny.context_of(study, store)


@pytest.mark.parametrize(("gradients", "means"), [("copy", ("watched",)), ("own", ())])
def test_a_study_says_whose_gradients_attacks_take(study, store, monkeypatch, gradients, means):
    monkeypatch.setattr(
        "manifoldscope.study.context.faster", lambda network, pixels: FastNetwork(network, ("watched",))
    )
    chosen = study.model_copy(update={"gradients": gradients})
    assert tiny.context_of(chosen, store).fast("random").means == means


def test_every_class_and_layer_has_every_measure_once(tables):
    clean = tables["geometry"].filter(pl.col("attack").is_null() & (pl.col("class_index") >= 0))
    counted = clean.group_by("measure").len()
    # two networks, two layers, three classes
    assert dict(counted.rows()) == dict.fromkeys(
        ["pca_dimension", "two_nn", "jacobian_norm", "centroid_distance", "centroid_cosine", "within_between_ratio"], 12
    )
    assert clean.filter(pl.col("stderr").is_null()).is_empty()
    assert set(clean["class_index"]) == {1, 4, 7}
    assert clean["class_name"].to_list() == [str(index) for index in clean["class_index"]]


def test_joint_measures_land_in_geometry_and_pairs(tables, context):
    whole = tables["geometry"].filter((pl.col("class_index") == -1) & (pl.col("attack").fill_null("") == ""))
    assert set(whole["measure"]) == {"centroid_distance", "centroid_cosine", "within_between_ratio"}
    pairs = tables["pairs"].filter(
        (pl.col("model") == "random") & (pl.col("layer") == "flatten") & (pl.col("measure") == "centroid_distance")
    )
    assert pairs.select("class_index", "other_class_index").rows() == [(1, 4), (1, 7), (4, 7)]
    images = context.draws["geometry"].images
    manifolds = activations(context.network("random"), images, layers=["flatten"], batch_size=16)
    expected = measure("centroid_distance", manifolds).pairs
    assert pairs["value"].to_list() == pytest.approx([expected[key].value for key in ((0, 1), (0, 2), (1, 2))])


def test_margins_of_measured_images_come_from_the_pass_that_measures_them(tables, context, store):
    assert {unit.role for unit in tiny.of_kind(store.plan()[0], "margins")} == {"robustness"}
    for draw in ("geometry", "robustness"):
        images = context.draws[draw].images.of_class(4)
        margins = torch.tensor(margins_of(logits(context.network("adversarial"), images), images.labels)["margin"])
        (row,) = tables["margins"].filter(model="adversarial", draw=draw, class_index=4).iter_rows(named=True)
        assert (row["n_images"], row["n_correct"]) == (len(images), int((margins > 0).sum()))
        assert (row["margin"], row["margin_sd"]) == pytest.approx((float(margins.mean()), float(margins.std())), 1e-4)
    assert tables["margins"].height == 2 * 2 * 3  # networks, draws, classes


def test_without_measures_of_a_class_margins_have_units_of_their_own(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    units = tiny.planned(tiny.study(measures=["centroid_distance"]), store)
    assert not tiny.of_kind(units, "geometry")
    assert {unit.role for unit in tiny.of_kind(units, "margins")} == {"geometry", "robustness"}


def test_one_draw_has_its_margins_once(tmp_path):
    store = Store(tmp_path)
    data = {**tiny.raw()["data"], "same_images": True, "geometry": {"images_per_class": 10}}
    outcome = run_units(tiny.study(data=data, models=tiny.raw()["models"][:1]), store, progress=QUIET)
    assert outcome.failed == {}
    assert set(collect(store, outcome.units)["margins"]["draw"]) == {"robustness"}


def test_displaced_are_the_images_that_were_attacked(tables, context, study):
    """The size of the displacement, made again from the attack itself."""
    attack = study.perturbations[0].perturbations()[0]
    network, images = context.network("adversarial"), context.images("robustness", 4)
    outcomes = evaluate(network, images, attack, seed=derive(study.seed, "attack"), batch_size=16, keep_images=True)
    rows = {row["image"]: row for row in outcomes.table.iter_rows(named=True)}
    correct = torch.tensor([rows[name]["clean_prediction"] == 4 for name in images.names])
    (clean,) = activations(network, images, layers=["penultimate"])
    moved = type(images).of(outcomes.adversarial[0], images.labels)
    (adversarial,) = activations(network, moved, layers=["penultimate"])
    expected = (adversarial.points - clean.points)[correct].norm(dim=1).mean()
    found = tables["geometry"].filter(
        (pl.col("model") == "adversarial")
        & (pl.col("layer") == "penultimate")
        & (pl.col("class_index") == 4)
        & (pl.col("measure") == "displacement")
    )
    assert found["value"].to_list() == pytest.approx([float(expected)], rel=1e-4)  # float32 activations
    assert (found["attack"][0], found["strength"][0], found["n_points"][0]) == ("pgd", 0.1, int(correct.sum()))


def test_the_classes_of_attacked_images_have_measures_of_neural_collapse(tables):
    rows = tables["geometry"].filter(pl.col("measure").str.starts_with("nc") & (pl.col("attack") == "pgd"))
    assert set(rows["measure"]) == {
        "nc1_variability",
        "nc2_equinorm",
        "nc2_equiangularity",
        "nc4_nearest_centroid",
    }
    assert set(rows["class_index"]) <= {-1, 1, 4, 7}
    assert rows.filter(pl.col("class_index") == -1)["value"].is_finite().all()


def test_shares_of_a_displacement_add_up_beside_their_baselines(tables):
    shares = tables["geometry"].filter(pl.col("measure").str.contains("^displacement_(own|toward|outside)"))
    assert shares.height
    for kind in ("", "_held_out", "_random", "_layer"):
        parts = [f"displacement_{part}{kind}" for part in ("own", "toward", "outside")]
        sums = (
            shares.filter(pl.col("measure").is_in(parts))
            .group_by("model", "layer", "class_index")
            .agg(pl.col("value").sum())
        )
        assert sums["value"].to_list() == pytest.approx([1.0] * sums.height)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A study of one network that asks for all that its sample can show."""
    raw = tiny.raw(measures=["participation_ratio", "two_nn", "centroid_distance", "linear_margin"], layers=["flatten"])
    raw["models"] = raw["models"][:1]
    raw["data"]["geometry"] = {"images_per_class": 40}
    raw["sampling"] = {"split_halves": 2, "null": 9, "curve": 2, "reliability": 3, "extrapolate": 2}
    study, store = parse(raw), Store(tmp_path_factory.mktemp("asked") / "run")
    assert run_units(study, store, progress=QUIET).failed == {}
    return study, store, collect(store, store.plan()[0])


def points_of(study, store):
    context = tiny.context_of(study, store)
    return activations(context.network("random"), context.draws["geometry"].images, layers=["flatten"], batch_size=16)


def test_every_value_stands_beside_what_chance_gives(asked):
    study, store, tables = asked
    values = pl.concat([tables["geometry"].select("null", "null_p"), tables["pairs"].select("null", "null_p")])
    assert values.null_count().row(0) == (0, 0)
    assert values["null_p"].is_between(2 / 10, 1).all()
    chance = gaussian_null("two_nn", points_of(study, store)[1], draws=9, generator=generator(0, "null", 4, "two_nn"))
    found = tables["geometry"].filter((pl.col("measure") == "two_nn") & (pl.col("class_index") == 4))
    assert found["null"].to_list() == pytest.approx([chance.mean])


def test_a_curve_ends_in_the_value_of_all_points_and_goes_on_or_says_why_not(asked):
    _, _, tables = asked
    curves, geometry = tables["curves"], tables["geometry"]
    assert set(curves["n_points"].filter(~curves["extrapolated"])) == {10, 14, 20, 28, 40}
    identity = ["measure", "class_index"]
    ends = curves.filter((pl.col("n_points") == 40) & ~pl.col("extrapolated"))
    both = ends.join(geometry, on=identity, how="inner", suffix="_all")
    joint = curves.filter(pl.col("class_index") == -1)
    assert set(joint["measure"]) <= {"centroid_distance", "linear_margin"}
    assert not joint["extrapolated"].any()
    assert both.height == ends.height == 2 * 3 + joint["measure"].n_unique()
    assert both["value"].to_list() == pytest.approx(both["value_all"].to_list(), rel=1e-5)
    further = curves.filter("extrapolated")
    assert further["n_points"].to_list() == [80] * 6
    refused = further.filter(pl.col("value").is_nan())
    assert set(refused.filter(pl.col("measure") == "two_nn")["class_index"]) == {1, 4, 7}
    assert refused["note"].str.starts_with("not extrapolated: ").all()


def test_reliability_is_of_every_measure_with_a_value_for_each_class(asked):
    study, store, tables = asked
    rows = {row["measure"]: row for row in tables["reliability"].iter_rows(named=True)}
    assert set(rows) == {"participation_ratio", "two_nn", "centroid_distance", "linear_margin"}
    expected = reliability(
        "two_nn", points_of(study, store), n_splits=3, generator=generator(0, "reliability", "two_nn")
    )
    assert rows["two_nn"]["reliability"] == pytest.approx(expected.pearson.full)
    assert rows["two_nn"]["standard_error"] == pytest.approx(expected.standard_error)
    assert rows["two_nn"]["n_classes"] == 3


def test_a_reliability_that_cannot_be_told_is_a_row_with_its_reason(tmp_path):
    raw = tiny.raw(measures=["participation_ratio"], layers=["penultimate"], sampling={"reliability": 2})
    raw["models"], raw["data"]["classes"] = raw["models"][:1], [1, 4]
    store = Store(tmp_path / "run")
    assert run_units(parse(raw), store, progress=QUIET).failed == {}
    tables = collect(store, store.plan()[0])
    (row,) = tables["reliability"].iter_rows(named=True)
    assert math.isnan(row["reliability"])
    assert "at least 3" in row["note"]
    assert tables["curves"].is_empty()
    assert tables["pairs"].is_empty()
    assert tables["geometry"].height == 2


def test_random_directions_of_the_layer_are_those_of_the_points_measured(tables, context):
    """Shares of the layer's own covariance in the subspace of class 4: what many random directions show on average."""
    manifolds = activations(
        context.network("adversarial"), context.draws["geometry"].images, layers=["flatten"], batch_size=16
    )
    points = torch.cat([manifold.points for manifold in manifolds]).double()
    own = next(manifold for manifold in manifolds if manifold.label == 4).points.double()
    axes = torch.linalg.svd(own - own.mean(0), full_matrices=False)
    shares = axes.S.square().cumsum(0) / axes.S.square().sum()
    inside = axes.Vh[: int((shares < 0.95).sum()) + 1]
    deviations = points - points.mean(0)
    directions = torch.randn(4000, len(points), dtype=torch.float64, generator=generator(3)) @ deviations
    expected = ((directions @ inside.T).square().sum(1) / directions.square().sum(1)).mean()
    found = tables["geometry"].filter(
        (pl.col("model") == "adversarial")
        & (pl.col("layer") == "flatten")
        & (pl.col("class_index") == 4)
        & (pl.col("measure") == "displacement_own_layer")
    )
    assert found["value"].to_list() == pytest.approx([float(expected)], rel=0.05)  # 1,000 directions each


def test_another_joint_measure_computes_the_layers_alone(study, store):
    more = tiny.study(
        measures=[*MEASURES, "linear_margin"], attacks=ATTACKS, jacobian_norm=4, sampling={"split_halves": 2}
    )
    assert run_units(more, store, progress=QUIET).n_computed == 4  # two networks, two layers
    assert run_units(study, store, progress=QUIET).n_computed == 0
