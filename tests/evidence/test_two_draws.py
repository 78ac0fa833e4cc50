"""The primary test: by an implementation of its own, its level, its gates, and its rows in a study's table."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from manifoldscope.errors import StudyError
from manifoldscope.evidence import Difficulty, association_table, two_draw_test
from manifoldscope.evidence.interval import jackknife_interval, spearman_interval
from manifoldscope.evidence.permutation import Block, joint_test, orders_of
from manifoldscope.evidence.two_draws import log_odds, normal_scores, vanishes_at
from manifoldscope.evidence.within_between import mean_z
from manifoldscope.tables import conform

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from simulated import World
from tests.evidence.simulated_tables import simulated_tables

WORLD = World(n_classes=40, n_images=50, rho=0.6)


def reference(measure: Any, n_robust: Any, a: Difficulty, c: Difficulty, draws: int, seed: int) -> tuple[float, float]:
    """r and p, written out class by class as the test is described."""

    def controls(one: Difficulty) -> Any:
        m = (one.margin - one.margin.mean()) / one.margin.std(ddof=1)
        f = np.column_stack([m, m**2, np.log(one.margin_sd)])
        return f - f.mean(0)

    f_a, f_c = controls(a), controls(c)
    g = stats.norm.ppf((stats.rankdata(measure) - 0.5) / len(measure))
    s = np.log((n_robust + 0.5) / (c.n_correct - n_robust + 0.5))
    g, s = g - g.mean(), s - s.mean()
    r_s = s - f_c @ np.linalg.solve(f_a.T @ f_c, f_a.T @ s)

    def left(g: Any) -> Any:
        return g - f_a @ np.linalg.solve(f_c.T @ f_a, f_c.T @ g)

    def statistic(r_g: Any) -> float:
        return float(abs((r_g * r_s).sum()) / np.sqrt(((r_g * r_s) ** 2).sum()))

    observed = statistic(left(g))
    as_large = 0
    for orders in orders_of(len(g), draws, seed, len(g)):
        as_large += sum(statistic(left(left(g)[order])) >= observed - 1e-12 for order in orders)
    return float(np.corrcoef(left(g), r_s)[0, 1]), (as_large + 1) / (draws + 1)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_it_is_described_as(seed: int) -> None:
    world = WORLD.draw(np.random.default_rng(seed))
    found = two_draw_test(world.measure, world.n_robust, world.first, world.second, permutations=300, seed=seed)
    r, p = reference(world.measure, world.n_robust, world.first, world.second, 300, seed)
    assert found.coefficient == pytest.approx(r)
    assert found.p_value == pytest.approx(p)
    assert found.low < found.coefficient < found.high
    assert found.answers
    raw = np.corrcoef(normal_scores(world.measure), log_odds(world.n_robust, world.second.n_correct))[0, 1]
    assert found.raw == pytest.approx(raw)


@pytest.mark.parametrize("control", ["margin", "clean_accuracy"])
def test_it_holds_its_level_where_geometry_only_follows_difficulty(control: Any) -> None:
    """A short look; benchmarks/evidence.py takes ten thousand."""
    rng, null = np.random.default_rng(0), World(n_classes=40, n_images=100)
    rejected = raw = 0
    for seed in range(300):
        world = null.draw(rng)
        draws = (world.first, world.second)
        rejected += (
            two_draw_test(world.measure, world.n_robust, *draws, control=control, permutations=99, seed=seed).p_value
            <= 0.05
        )
        block = Block.of(normal_scores(world.measure)[None], log_odds(world.n_robust, world.second.n_correct)[None])
        raw += joint_test([block], 99, seed).p_values[0][0, 0] <= 0.05
    assert rejected <= 28  # 15 expected; three and a half standard deviations are 13
    assert raw > 200


def test_with_the_draws_swapped_it_does_not() -> None:
    """Where geometry carries the error of its draw's margin, that draw must not instrument itself."""
    rng, null = np.random.default_rng(1), World(n_classes=100, shared_error=1.0)
    right = swapped = 0
    for seed in range(150):
        world = null.draw(rng)
        for first, second in ((world.first, world.second), (world.second, world.first)):
            known = world.second.n_correct > 0
            x, y = normal_scores(world.measure[known]), log_odds(world.n_robust, world.second.n_correct)[known]
            block = Block.of(x[None], y[None], first.controls("margin"), second.controls("margin"))
            rejects = joint_test([block], 99, seed).p_values[0][0, 0] <= 0.05
            right += rejects and first is world.first
            swapped += rejects and first is world.second
    assert right <= 17
    assert swapped >= 27


def test_gates_say_why_difficulty_cannot_be_held_fixed() -> None:
    rng = np.random.default_rng(2)

    def gates(world: World, **change: Any) -> tuple[str, ...]:
        one = world.draw(rng)
        return two_draw_test(one.measure, one.n_robust, one.first, one.second, permutations=9, **change).gates

    assert gates(World(n_classes=40)) == ()
    assert gates(World(n_classes=10)) == ("few_classes",)
    assert "few_images" in gates(World(n_images=19))
    one = World(n_classes=40).draw(rng)
    other = World(n_classes=40).draw(rng)
    assert two_draw_test(one.measure, one.n_robust, other.first, one.second, permutations=9).gates == (
        "unreliable_control",
    )


def test_classes_without_a_correct_image_are_left_out_and_counted() -> None:
    one = World(n_classes=30).draw(np.random.default_rng(3))
    second = Difficulty(
        one.second.n_images, one.second.n_correct * (np.arange(30) != 4), one.second.margin, one.second.margin_sd
    )
    measure = np.where(np.arange(30) == 7, np.nan, one.measure)
    found = two_draw_test(measure, one.n_robust * (np.arange(30) != 4), one.first, second, permutations=9)
    assert (found.n, found.n_left_out) == (28, 2)
    with pytest.raises(StudyError, match="classes have a number for everything"):
        two_draw_test(np.full(30, np.nan), one.n_robust, one.first, second)
    with pytest.raises(StudyError, match="expected one"):
        two_draw_test(one.measure[:9], one.n_robust, one.first, second)


def test_the_reliability_at_which_the_partial_correlation_vanishes() -> None:
    rng = np.random.default_rng(4)
    z, e = rng.standard_normal((2, 20_000))
    a, c = (z + rng.standard_normal(20_000) for _ in range(2))  # a control of reliability 0.5
    x, y = z + 0.5 * e, z - rng.standard_normal(20_000)
    assert vanishes_at(x, y, a, c) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("missing", [False, True])
def test_the_largest_statistic_adjusts_for_all_cells(missing: bool) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((3, 20)), rng.standard_normal((4, 20))
    blocks = [Block.of(x, y)]
    if missing:
        have = np.arange(19)
        blocks = [Block.of(x[:2], y), Block.of(x[2:, :19], y[:, :19], classes=have)]
    found = joint_test(blocks, 400, 0)
    largest = np.concatenate([p.ravel() for p in found.p_adjusted])
    alone = np.concatenate([p.ravel() for p in found.p_values])
    assert (largest >= alone).all()
    assert largest.min() > alone.min()
    again = joint_test([Block.of(x[:1], y[:1])], 400, 0).p_values[0][0, 0]
    assert again == found.p_values[0][0, 0]  # a cell more changes no other


@pytest.mark.parametrize("n_controls", [0, 1, 3])
@pytest.mark.parametrize("n", [3, 6, 25])
def test_leaving_out_each_class_is_what_the_other_classes_give(n: int, n_controls: int) -> None:
    rng = np.random.default_rng(n + n_controls)
    for heavy in (False, True):
        z, x, y, noise = (
            (rng.standard_cauchy if heavy else rng.standard_normal)((rows, n))
            for rows in (n_controls, 5, 3, n_controls)
        )
        x[0, 0] = 1e20  # beside which the others are nothing, until it is left out
        x[1] = 3.0
        x[2] = [1.0, *[2.0] * (n - 1)]  # constant without the first
        x[3] = y[0] + 1e-5 * x[3]
        if n_controls:
            x[4] = 3 * z[0] - 2  # of which the control leaves nothing
        given = (x, y, z, z + 0.3 * noise)
        found = Block.of(*given).left_out
        for place in range(n):
            alone = Block.of(*(np.delete(each, place, axis=1) for each in given)).coefficients
            np.testing.assert_allclose(found[place], alone, rtol=0, atol=1e-8)


def test_leaving_out_each_of_thousands_takes_no_time() -> None:
    x, y, z = np.random.default_rng(0).standard_normal((3, 2, 4000))
    began = time.thread_time()
    assert Block.of(x + z, y + z, z, z).left_out.shape == (4000, 2, 2)
    assert time.thread_time() - began < 1  # 9 s class by class


def test_jackknife_and_rank_intervals_hold_the_truth() -> None:
    rng, rho, covered = np.random.default_rng(6), 0.5, np.zeros(2)
    for _ in range(400):
        x = rng.standard_normal(30)
        y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(30)
        low, high = jackknife_interval(Block.of(x[None], y[None]))
        covered[0] += low[0, 0] <= rho <= high[0, 0]
        below, above = spearman_interval(float(stats.spearmanr(x, y).statistic), 30)
        covered[1] += below <= 6 / np.pi * np.arcsin(rho / 2) <= above
    assert (covered >= 367).all()  # 380 expected, less three standard deviations
    assert (covered <= 393).all()


def study(world: World, seed: int) -> dict[str, pl.DataFrame]:
    """The tables of a simulated study."""
    one = world.draw(np.random.default_rng(seed))
    classes = range(world.n_classes)
    told: list[dict[str, Any]] = [{"model": "net", "class_index": k, "class_name": f"class {k}"} for k in classes]
    draws = {"geometry": one.first, "robustness": one.second}
    tables = {
        "geometry": [
            row | {"layer": "penultimate", "measure": "m", "value": one.measure[k]} for k, row in enumerate(told)
        ],
        "robustness": [
            row
            | {"attack": "pgd", "strength": strength, "iterate": "any", "n_images": world.n_images}
            | {"n_clean_correct": int(one.second.n_correct[k]), "clean_accuracy": one.second.n_correct[k] / 50}
            | {"n_robust": int(robust[k]), "robust_accuracy": robust[k] / world.n_images}
            for k, row in enumerate(told)
            for strength, robust in ((0.0, one.second.n_correct), (0.1, one.n_robust))
        ],
        "margins": [
            row
            | {"draw": draw, "n_images": world.n_images, "n_correct": int(found.n_correct[k])}
            | {"margin": found.margin[k], "margin_sd": found.margin_sd[k]}
            for k, row in enumerate(told)
            for draw, found in draws.items()
        ],
        "models": [{"model": "net", "provenance": "{}"}],
    }
    return {name: conform(name, rows) for name, rows in tables.items()}


def test_a_table_has_the_test_with_each_control() -> None:
    tables = study(WORLD, 0)
    one = WORLD.draw(np.random.default_rng(0))
    found = association_table(**tables, permutations=200).filter(pl.col("method") == "two_draws")
    assert set(found["controls"]) == {"margin", "clean_accuracy"}
    assert set(found["strength"]) == {0.1}  # what is clean accuracy itself is not asked
    row = found.row(by_predicate=(pl.col("controls") == "margin") & (pl.col("outcome") == "log_odds"), named=True)
    expected = two_draw_test(one.measure, one.n_robust, one.first, one.second, permutations=200)
    for name in ("coefficient", "low", "high", "p_value"):
        assert row[name] == pytest.approx(getattr(expected, name))
    assert row["control_reliability"] == pytest.approx(expected.reliability)
    assert (row["gate"], row["n"], row["most_influential"][:5]) == ("", 40, "class")


def test_a_coefficient_without_the_noise_of_both() -> None:
    tables = study(WORLD, 0)
    value = tables["geometry"]["value"].to_numpy()
    rng = np.random.default_rng(1)
    pairs = tables["geometry"].select("model", "layer", "class_index", "measure", "parameters")
    pairs = pairs.with_columns(geometry=pl.Series(value), robustness=pl.Series(value + rng.standard_normal(40)))
    found = association_table(**tables, draw_pairs=conform("draw_pairs", pairs), permutations=100)
    row = found.filter((pl.col("method") == "pearson") & (pl.col("strength") == 0.1)).row(0, named=True)
    assert row["outcome"] == "log_odds"
    assert row["measure_reliability"] == pytest.approx(np.corrcoef(pairs["geometry"], pairs["robustness"])[0, 1])
    root = np.sqrt(row["measure_reliability"] * row["outcome_reliability"])
    for name, without in (("coefficient", "disattenuated"), ("low", "disattenuated_low")):
        assert row[without] == pytest.approx(max(-1, min(1, row[name] / root)))
    unknown = association_table(**tables, permutations=100)
    assert unknown["disattenuated"].null_count() == len(unknown)


def test_the_same_images_cannot_hold_difficulty_fixed() -> None:
    tables = study(WORLD, 0)
    tables["margins"] = tables["margins"].filter(pl.col("draw") == "robustness")
    found = association_table(**tables, permutations=100).filter(pl.col("method") == "two_draws")
    assert found["gate"].unique().to_list() == ["same_images"]
    assert found["coefficient"].null_count() == len(found) > 0
    few = association_table(**study(World(n_classes=10), 0), permutations=100)
    assert all("few_classes" in gate for gate in few.filter(pl.col("method") == "two_draws")["gate"])


@pytest.mark.parametrize("broken", ["n_correct", "measure", "margin", "margin_sd", "class"])
def test_a_class_without_a_number_is_left_out_and_no_other(broken: str) -> None:
    """Whichever class it is: the others are permuted as if it had never been."""
    tables = study(World(n_classes=30), 0)
    hit = pl.col("class_index") == 3
    if broken == "measure":
        value = pl.when(hit).then(None).otherwise("value")
        tables["geometry"] = tables["geometry"].with_columns(value=value)
    elif broken == "class":
        tables["margins"] = tables["margins"].filter(~(hit & (pl.col("draw") == "geometry")))
    else:
        value = pl.when(hit).then(0 if broken == "n_correct" else None).otherwise(broken)
        tables["margins"] = tables["margins"].with_columns(value.cast(tables["margins"][broken].dtype).alias(broken))
    found = association_table(**tables, permutations=50).filter(pl.col("method") == "two_draws")
    assert found.select("n", "n_left_out").unique().rows() == [(29, 1)]
    assert found["p_value"].null_count() == 0


def test_spreads_that_the_draws_do_not_agree_on_are_a_gate() -> None:
    one = World(n_classes=60, n_images=200).draw(np.random.default_rng(1))
    noise = np.exp(0.05 * np.random.default_rng(4).standard_normal((2, 60)))
    first, second = (
        Difficulty(draw.n_images, draw.n_correct, draw.margin, sd)
        for draw, sd in zip((one.first, one.second), noise, strict=True)
    )
    found = two_draw_test(one.measure, one.n_robust, first, second, permutations=9)
    assert found.gates == ("weak_instrument",)
    same = two_draw_test(one.measure, one.n_robust, one.first, one.first, permutations=9)
    assert same.gates == ("same_images",)


def test_heteroscedastic_networks_are_no_evidence_of_each_other() -> None:
    rejected = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shared = np.exp(rng.standard_normal(20))  # classes that vary much in one network do so in all, in x and in y
        blocks = [
            Block.of((shared * rng.standard_normal(20))[None], (shared * rng.standard_normal(20))[None])
            for _ in range(6)
        ]
        rejected += mean_z(blocks, permutations=99, seed=seed).p_value[0, 0] <= 0.05
    assert rejected <= 23  # 10 expected


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_classes_that_are_all_as_robust_have_no_coefficient(share: float) -> None:
    """Log-odds of so many images would differ by their number alone, which is clean accuracy."""
    tables = simulated_tables(World(n_classes=24, n_images=50))
    robust = pl.col("n_clean_correct") * int(share)
    tables["robustness"] = tables["robustness"].with_columns(
        n_robust=robust, robust_accuracy=robust / pl.col("n_images")
    )
    rows = association_table(**{name: tables[name] for name in ("geometry", "robustness", "models", "margins")})
    odds = rows.filter(pl.col("outcome") == "log_odds")
    assert odds["coefficient"].is_null().all()
    assert set(odds["note"]) == {"every outcome is the same"}
    world = World(n_classes=24, n_images=50).draw(np.random.default_rng(0))
    n_robust = world.second.n_correct * share
    assert np.isnan(two_draw_test(world.measure, n_robust, world.first, world.second, permutations=9).coefficient)


@pytest.mark.parametrize(
    "wrong",
    [{"n_robust": 49}, {"n_robust": -1}, {"robust_accuracy": 1.5}, {"robust_accuracy": -0.1}, {"n_clean_correct": 51}],
)
def test_counts_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    tables = simulated_tables(World(n_classes=24, n_images=50))
    here = pl.col("class_index") == 0
    tables["robustness"] = tables["robustness"].with_columns(
        n_clean_correct=pl.when(here).then(40).otherwise("n_clean_correct")
    )
    tables["robustness"] = tables["robustness"].with_columns(
        pl.when(here).then(value).otherwise(name).alias(name) for name, value in wrong.items()
    )
    with pytest.raises(StudyError, match="expected counts that do not rise, and a share between 0 and 1"):
        association_table(tables["geometry"], tables["robustness"], tables["models"], permutations=9)


def test_what_cannot_be_is_refused_by_the_primary_test() -> None:
    found = World(n_classes=24).draw(np.random.default_rng(0))
    asked: dict[str, Any] = {"measure": found.measure, "n_robust": found.n_robust}
    asked |= {"first": found.first, "second": found.second, "permutations": 9}
    for wrong, message in (
        ({"n_robust": found.second.n_correct + 1}, "more images of a class are robust than correct"),
        ({"n_robust": found.n_robust - 51}, "more images of a class are robust than correct"),
        ({"control": "accuracy"}, "there is no control 'accuracy'"),
        ({"permutations": -1}, "expected a whole number from 0"),
        ({"permutations": 2.5}, "expected a whole number from 0"),
        ({"confidence": 2.0}, "a share between 0 and 1"),
        ({"measure": np.ones((24, 2))}, "expected a flat list"),
    ):
        with pytest.raises(StudyError, match=message):
            two_draw_test(**(asked | wrong))
    assert np.isnan(two_draw_test(**(asked | {"permutations": 0})).p_value)
    with pytest.raises(StudyError, match="more images of a class are correct than there are"):
        Difficulty(found.first.n_images, found.first.n_images + 1, found.first.margin, found.first.margin_sd)
    with pytest.raises(StudyError, match="different numbers of classes"):
        Difficulty(found.first.n_images[1:], found.first.n_correct, found.first.margin, found.first.margin_sd)
    listed = Difficulty(*(each.astype(int).tolist() for each in vars(found.first).values()))
    assert listed.margin.dtype == np.float64


def test_a_class_whose_margins_do_not_differ_is_left_out() -> None:
    """The logarithm of no spread would outweigh every other class."""
    found = World(n_classes=24).draw(np.random.default_rng(0))
    spread = np.where(np.arange(24) == 3, 0.0, found.first.margin_sd)
    first = Difficulty(found.first.n_images, found.first.n_correct, found.first.margin, spread)
    answer = two_draw_test(found.measure, found.n_robust, first, found.second, permutations=9)
    kept = np.arange(24) != 3
    expected = two_draw_test(
        found.measure[kept], found.n_robust[kept], found.first.subset(kept), found.second.subset(kept), permutations=9
    )
    assert (answer.n, answer.n_left_out) == (23, 1)
    assert answer.coefficient == pytest.approx(expected.coefficient)
