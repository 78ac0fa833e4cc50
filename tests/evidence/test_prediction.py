"""Classes and networks that were left out, predicted from the others."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from manifoldscope.evidence import prediction
from manifoldscope.evidence.permutation import Block
from manifoldscope.evidence.prediction import gain_test, left_out_predictions
from manifoldscope.evidence.two_draws import log_odds, normal_scores
from manifoldscope.report.findings import diagnose
from manifoldscope.tables import conform
from simulated import World
from tests.evidence.simulated_tables import simulated_tables, without

STRONG = World(n_classes=60, n_images=200, rho=0.9)


@pytest.mark.parametrize("p", [0, 1, 3])
def test_predictions_are_those_of_a_regression_without_the_class(p: int) -> None:
    rng = np.random.default_rng(p)
    x, y = rng.normal(size=(p, 15)), rng.normal(size=15)
    design = np.column_stack([np.ones(15), *x])
    found = []
    for at in range(15):
        kept = np.arange(15) != at
        found.append(design[at] @ np.linalg.lstsq(design[kept], y[kept], rcond=None)[0])
    assert left_out_predictions(x, y) == pytest.approx(np.array(found))


def test_predictions_from_noise_lean_away_from_what_was_left_out() -> None:
    rng = np.random.default_rng(0)
    r = [np.corrcoef(left_out_predictions(rng.normal(size=(1, 40)), y), y)[0, 1] for y in rng.normal(size=(300, 40))]
    assert -0.4 < np.mean(r) < -0.2


def test_the_gain_is_that_of_predictions_from_what_controls_leave() -> None:
    found = STRONG.draw(np.random.default_rng(0))
    x, y = normal_scores(found.measure), log_odds(found.n_robust, found.second.n_correct)
    block = Block.of(x[None], y[None], found.first.controls("margin"), found.second.controls("margin"))
    gained = gain_test(block, 99, 0)
    left = block.left_of_y[0]
    error, nothing = (
        np.sum((left_out_predictions(each, left) - left) ** 2) for each in (block.left_of_x, np.zeros((0, len(left))))
    )
    assert gained.gains[0] == pytest.approx(1 - error / nothing)
    assert gained.p_values[0] == gained.p_adjusted[0] == 0.01


def test_a_measure_that_follows_difficulty_alone_adds_nothing() -> None:
    """2,000 simulations or more stand in benchmarks/evidence.py; here the rate of 300, within four standard errors."""
    rng = np.random.default_rng(5)
    n_found = 0
    for seed in range(300):
        found = World(n_classes=40).draw(rng)
        x, y = normal_scores(found.measure), log_odds(found.n_robust, found.second.n_correct)
        controls = (draw.controls("margin") for draw in (found.first, found.second))
        n_found += gain_test(Block.of(x[None], y[None], *controls), 99, seed).p_values[0] <= 0.05
    assert n_found / 300 <= 0.1


def test_a_measure_that_says_more_than_difficulty_is_told_from_one_that_says_nothing() -> None:
    fact = prediction(simulated_tables(STRONG, models=("a", "b", "c")))
    assert fact is not None
    for each in fact.classes:
        assert each.adds == (each.measure == "pca_dimension")
        better = each.score("margin_and_measure").error < each.score("margin").error
        assert better or each.measure == "noise"
    dimension = [each for each in fact.networks if each.measure == "pca_dimension"]
    assert [(each.network, each.n, each.n_others) for each in dimension] == [(name, 60, 120) for name in "abc"]
    for network in dimension:
        assert network.score("margin_and_measure").r > network.score("margin").r > 0.5
        assert network.score("margin_and_measure").error < 1


def with_attack_free(tables):
    """Beside the rest: an estimate that follows robustness closely, one that says nothing, and the first once more."""
    rng = np.random.default_rng(3)
    rows = []
    for row in tables["robustness"].iter_rows(named=True):
        told = {name: row[name] for name in ("model", "class_index", "class_name")}
        values = {
            "first_order_distance": rng.normal(),
            "local_lipschitz_distance": row["robust_accuracy"] + 0.01 * rng.normal(),
        }
        for estimate in ("linf", "other"):
            for name, value in values.items():
                parameters = "norm=linf" + (f" radius={estimate}" if name.startswith("local") else "")
                rows.append(told | {"estimate": estimate, "predictor": name, "parameters": parameters, "value": value})
    return tables | {"attack_free": conform("attack_free", rows)}


def test_attack_free_predictors_stand_beside_the_measures_and_change_nothing_of_them() -> None:
    tables = simulated_tables(STRONG, models=("a", "b", "c"))
    plain, fact = prediction(tables), prediction(with_attack_free(tables))
    assert plain is not None
    assert fact is not None
    assert (fact.classes, fact.networks, plain.attack_free) == (plain.classes, plain.networks, ())
    assert [(each.model, each.layer, each.measure, each.parameters) for each in fact.attack_free] == [
        (model, "", *names)
        for model in "abc"
        for names in (
            ("first_order_distance", "norm=linf"),  # once, though two estimates share it
            ("local_lipschitz_distance", "norm=linf radius=linf"),
            ("local_lipschitz_distance", "norm=linf radius=other"),
        )
    ]
    for each in fact.attack_free:
        assert each.adds == (each.measure == "local_lipschitz_distance")
        assert (each.score("measure").r > 0.8) == each.adds


def test_a_class_without_a_finite_estimate_is_left_out_of_all_and_an_estimate_that_lacks_many_is_left_out() -> None:
    tables = with_attack_free(simulated_tables(STRONG))
    first = pl.col("predictor") == "first_order_distance"
    for n_lost, n, n_predictors in ((2, 58, 3), (20, 60, 2)):
        lost = first & (pl.col("class_index") < n_lost)
        value = pl.when(lost).then(pl.lit(np.inf)).otherwise("value")
        fact = prediction(tables | {"attack_free": tables["attack_free"].with_columns(value=value)})
        assert fact is not None
        assert {each.n for each in (*fact.classes, *fact.attack_free)} == {n}
        assert len(fact.attack_free) == n_predictors


def test_what_cannot_be_asked_is_not_answered() -> None:
    tables = simulated_tables(World(n_classes=30))
    assert prediction(without(tables, "margins")) is None
    assert prediction(without(tables, "geometry")) is None
    assert prediction(simulated_tables(World(n_classes=19))) is None
    shared = prediction(simulated_tables(STRONG, same_images=True))
    assert shared is not None
    assert not any(each.adds for each in shared.classes)
    assert {each.gates for each in shared.classes} == {("same_images",)}
    assert shared.networks == ()


@pytest.mark.parametrize(
    ("world", "same_images", "title"),
    [
        (World(n_classes=40), False, "Geometry adds nothing that is seen to the margin in predicting"),
        (STRONG, False, "In net, dimension at deep adds to the margin in predicting which classes are robust"),
        (STRONG, True, "cannot be answered with these data"),
    ],
)
def test_the_finding_says_whether_geometry_adds_anything(world: World, same_images: bool, title: str) -> None:
    tables = simulated_tables(world, same_images=same_images)
    (found,) = [each for each in diagnose(tables) if each.kind == "prediction"]
    assert title in found.title
    assert "each predicted from the others: r = " in found.text
    assert found.numbers[0]["model"] == "net"
    assert "Without geometry" not in found.text


def test_the_finding_names_attack_free_predictors() -> None:
    tables = with_attack_free(simulated_tables(STRONG))
    tables["attack_free"] = tables["attack_free"].filter(estimate="linf")
    (found,) = [each for each in diagnose(tables) if each.kind == "prediction"]
    text = (
        r"Without geometry, r = [+−]0\.\d\d by the first-order distance and \+0\.\d\d by the local Lipschitz distance; "
        r"beyond the margin the local Lipschitz distance lowers the squared error by \d+\.\d% \(adjusted p = 0\.002\)\."
    )
    assert re.search(text, found.text), found.text
    assert [row["measure"] for row in found.numbers] == [
        "pca_dimension",
        "first_order_distance",
        "local_lipschitz_distance",
    ]


def test_a_class_whose_counts_cannot_be_is_left_out() -> None:
    tables = simulated_tables(World(n_classes=24, n_images=50))
    here = pl.col("class_index") == 3
    tables["robustness"] = tables["robustness"].with_columns(n_robust=pl.when(here).then(50).otherwise("n_robust"))
    found = prediction(tables, permutations=9)
    assert found is not None
    assert {each.n for each in found.classes} == {23}


def test_nothing_is_predicted_of_classes_that_are_all_as_robust() -> None:
    tables = simulated_tables(World(n_classes=24, n_images=50))
    tables["robustness"] = tables["robustness"].with_columns(n_robust=pl.lit(0), robust_accuracy=pl.lit(0.0))
    assert prediction(tables, permutations=9) is None
