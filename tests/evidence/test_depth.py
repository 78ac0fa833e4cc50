"""Profiles through the depth of a network: order, peak, change, trend, and nothing that intervals leave open."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from manifoldscope.evidence.depth import (
    OverClasses,
    association_profiles,
    in_depth,
    profiles,
)
from tests.evidence.deep_tables import N_CLASSES, deep_tables

HUNCH = (5, 9, 14, 20, 15, 8, 3)


def hunch(at: int, label: int) -> float:
    return HUNCH[at] + 0.1 * label


def test_layers_come_in_the_order_of_execution_whatever_the_order_of_rows():
    (profile,) = profiles(deep_tables(hunch))
    assert [layer.layer for layer in profile.layers] == [f"layer{at}" for at in range(7)]
    assert [layer.depth for layer in profile.layers] == pytest.approx([at / 6 for at in range(7)])
    assert (profile.first.layer, profile.last.layer) == ("layer0", "layer6")


def test_values_over_classes_are_those_of_numpy_and_scipy():
    (profile,) = profiles(deep_tables(lambda at, label: HUNCH[at] + at * label**2))
    values = np.array([HUNCH[3] + 3 * label**2 for label in range(N_CLASSES)], dtype=float)
    layer = profile.layers[3]
    assert layer.mean.value == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, N_CLASSES - 1, values.mean(), stats.sem(values))
    assert (layer.mean.low, layer.mean.high) == pytest.approx((low, high))
    assert layer.standard_deviation == pytest.approx(values.std(ddof=1))
    assert (layer.tenth, layer.ninetieth) == pytest.approx(tuple(np.quantile(values, [0.1, 0.9])))
    assert (layer.ceiling, layer.n_classes, layer.of_sample) == (60.0, N_CLASSES, 0.0)
    assert profile.layers[0].of_sample == 1.0


def test_a_profile_that_rises_and_falls_has_a_peak_class_by_class():
    (profile,) = profiles(deep_tables(hunch))
    assert profile.shape == "peak"
    assert profile.peak.layer == "layer3"
    # all classes differ by the same: the differences have no spread though the classes do
    assert profile.above_first == OverClasses(pytest.approx(15), pytest.approx(15), pytest.approx(15))
    assert profile.above_last is not None
    assert profile.above_last.value == pytest.approx(17)
    assert profile.change.value == pytest.approx(-2)
    assert profile.trend is not None
    assert profile.trend.value == pytest.approx(stats.spearmanr(range(7), HUNCH).statistic)


def test_the_interval_of_a_peak_holds_for_all_layers_between():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(7, N_CLASSES))
    (profile,) = profiles(deep_tables(lambda at, label: HUNCH[at] + noise[at, label]))
    top = int(profile.peak.layer.removeprefix("layer"))
    gaps = HUNCH[top] + noise[top] - HUNCH[0] - noise[0]
    low, high = stats.t.interval(1 - 0.05 / 5, N_CLASSES - 1, gaps.mean(), stats.sem(gaps))  # five layers between
    assert profile.above_first is not None
    assert (profile.above_first.low, profile.above_first.high) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (lambda at, label: at + 0.1 * label, "rises"),
        (lambda at, label: -at + 0.1 * label, "falls"),
        (lambda at, label: 5.0 + label, "open"),
        (lambda at, label: 5 + (at == 3) * 0.1 + math.sin(7 * label + 5 * at), "open"),  # a peak within the noise
        (lambda at, label: 5 + (at == 3) * (1 if label % 2 else -0.9) + 0.01 * label, "open"),  # of half of the classes
    ],
)
def test_a_shape_is_only_what_intervals_support(values, shape):
    (profile,) = profiles(deep_tables(values))
    assert profile.shape == shape


def test_no_peak_is_found_in_noise_more_often_than_its_level():
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(100):
        noise = rng.normal(size=(7, N_CLASSES))
        (profile,) = profiles(deep_tables(lambda at, label, drawn=noise: drawn[at, label]))
        found += profile.shape == "peak"
    assert found <= 5


def test_one_class_has_no_intervals_and_no_shape():
    (profile,) = profiles(deep_tables(hunch, n_classes=1))
    assert profile.layers[3].mean == OverClasses(20.0, None, None)
    assert profile.shape == "open"


# -- pools and names ---------------------------------------------------------------------------------------------------


def test_only_layers_that_are_pooled_alike_are_compared_and_vectors_go_with_them():
    pools = ("mean", "mean", "flatten", "flatten", "flatten", "", "")
    (profile,) = profiles(deep_tables(lambda at, label: 100 * (at < 2) + HUNCH[at] + label, pools=pools))
    assert (profile.pool, profile.compared) == ("flatten", (2, 3, 4, 5, 6))
    assert [layer.layer for layer in profile.pooled_otherwise] == ["layer0", "layer1"]
    assert (profile.first.layer, profile.peak.layer) == ("layer2", "layer3")


def test_fewer_than_three_layers_pooled_alike_are_no_profile():
    assert profiles(deep_tables(hunch, n_layers=2)) == []
    assert profiles(deep_tables(hunch, n_layers=4, pools=("mean", "mean", "flatten", "flatten"))) == []
    assert len(profiles(deep_tables(hunch, n_layers=3))) == 1


def test_attacked_images_whole_layers_and_values_that_are_no_numbers_do_not_count():
    tables = deep_tables(hunch)
    rows = tables["geometry"]
    attacked = rows.with_columns(attack=pl.lit("pgd"), value=pl.lit(99.0))
    whole = rows.with_columns(class_index=pl.lit(-1, dtype=pl.Int64), value=pl.lit(99.0))
    unknown = rows.with_columns(class_index=pl.lit(50, dtype=pl.Int64), value=pl.lit(math.nan))
    assert profiles(tables | {"geometry": pl.concat([rows, attacked, whole, unknown])}) == profiles(tables)


def test_a_class_without_a_value_in_one_layer_is_left_out_of_differences_alone():
    tables = deep_tables(lambda at, label: HUNCH[at] + (100 if label == 0 else 0))
    without = tables["geometry"].filter((pl.col("class_index") != 0) | (pl.col("layer") != "layer6"))
    (profile,) = profiles(tables | {"geometry": without})
    assert profile.change.value == pytest.approx(-2)
    assert [layer.n_classes for layer in profile.layers] == [10] * 6 + [9]


def test_a_layer_with_a_pool_has_the_place_of_its_module_and_several_calls_that_of_the_last():
    layers = pl.DataFrame(
        {
            "model": ["net"] * 4,
            "layer": ["conv1", "relu@0", "conv2", "relu@1"],
            "place": [0, 1, 2, 3],
            "depth": [0.0, 0.33, 0.67, 1.0],
        }
    )
    asked = ["relu", "relu@0", "conv2 [mean]", "conv1 [3]", "lost"]
    found = in_depth(pl.DataFrame({"model": ["net"] * 5, "layer": asked}), layers)
    assert found.select("layer", "place").rows() == [
        ("conv1 [3]", 0), ("relu@0", 1), ("conv2 [mean]", 2), ("relu", 3),
    ]  # fmt: skip


def test_without_the_table_of_layers_there_is_no_profile():
    tables = deep_tables(hunch)
    assert profiles(tables | {"layers": tables["layers"].clear()}) == []


# -- associations ------------------------------------------------------------------------------------------------------


def test_associations_come_layer_by_layer_with_their_intervals():
    correlations = (-0.1, -0.3, -0.6, -0.7, -0.2, 0.1, 0.2)
    tables = deep_tables(hunch, correlations=correlations, models=("a", "b"), measures=("pca_dimension", "two_nn"))
    found = association_profiles(tables)
    assert [(each.model, each.measure) for each in found] == [
        (model, measure) for model in ("a", "b") for measure in ("pca_dimension", "two_nn")
    ]
    for along in found:
        assert (along.attack, along.strength, along.method) == ("pgd", 0.1, "pearson")
        assert [layer.coefficient.value for layer in along.layers] == list(correlations)
        assert [layer.layer for layer in along.layers if layer.coefficient.seen] == ["layer2", "layer3"]
        assert along.layers[3].coefficient.low == pytest.approx(-0.9)


def test_networks_at_chance_level_have_no_association_by_layer():
    tables = deep_tables(hunch, correlations=[-0.6] * 7)
    assert len(association_profiles(tables)) == 1
    chance = tables["models"].with_columns(clean_accuracy=pl.lit(0.1))
    assert association_profiles(tables | {"models": chance}) == []
    assert association_profiles(deep_tables(hunch)) == []
