"""Within and between networks: a planted reversal, the level of the joint permutation, and what stands in the table."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from manifoldscope.evidence.permutation import Block, orders_of
from manifoldscope.evidence.within_between import FEWEST_FOR_OTHERS, mean_z, within_between_table
from manifoldscope.tables import conform


def networks(n: int, k: int, seed: int, *, slope: float = 0.0) -> list[Block]:
    """Networks that share what makes their classes differ, in geometry and in robustness."""
    rng = np.random.default_rng(seed)
    shared_x, shared_y = rng.standard_normal((2, k))
    found = []
    for _ in range(n):
        x = shared_x + rng.standard_normal(k)
        y = shared_y + rng.standard_normal(k) + slope * x
        found.append(Block.of(x[None], y[None]))
    return found


@pytest.mark.parametrize("n", [4, 10])
def test_what_networks_share_is_no_evidence(n: int) -> None:
    joint = apart = 0
    for seed in range(200):
        blocks = networks(n, 20, seed)
        joint += mean_z(blocks, permutations=99, seed=seed).p_value[0, 0] <= 0.05
        z = np.array([np.arctanh(block.coefficients[0, 0]) for block in blocks])
        apart += abs(z.mean() / (z.std(ddof=1) / np.sqrt(n))) > 2.3
    assert joint <= 21  # 10 expected; three and a half standard deviations are 11
    assert apart > 40  # what a t-test over networks would say


def test_the_p_is_that_of_sums_over_networks_class_by_class() -> None:
    """Networks lack classes of their own; the classes that one has are permuted in the order of all."""
    rng = np.random.default_rng(3)
    blocks = []
    for n_classes in (12, 9, 10):
        have = np.sort(rng.choice(12, n_classes, replace=False))
        x, y = rng.standard_normal((1, n_classes)), rng.standard_normal((2, n_classes))
        blocks.append(Block.of(x, y + x, classes=have))

    def statistics(order: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        sums = np.zeros((2, 12))
        for block in blocks:
            assert block.classes is not None
            places = np.array([list(block.classes).index(k) for k in order if k in block.classes])
            sums[:, block.classes] += block.x[0, places] * block.y
        found: npt.NDArray[np.float64] = np.abs(sums.sum(axis=1)) / np.sqrt((sums**2).sum(axis=1))
        return found

    (orders,) = orders_of(12, 99, 5, 1)
    observed = statistics(np.arange(12))
    as_far = sum(statistics(order) >= observed * (1 - 1e-9) for order in orders)
    assert mean_z(blocks, permutations=99, seed=5).p_value[0] == pytest.approx((as_far + 1) / 100)


def test_networks_that_cancel_each_other_are_no_evidence() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 1, 20))
    assert mean_z([Block.of(x, y), Block.of(x, -y)], permutations=99).p_value[0, 0] == 1


def test_many_cells_of_many_classes_are_permuted_in_little_time_and_memory() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1, 1000)), rng.standard_normal((200, 1000))
    blocks = [Block.of(x + rng.standard_normal(1000), y + rng.standard_normal((200, 1000))) for _ in range(8)]
    tracemalloc.start()
    mean_z(blocks, permutations=400)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    seconds = []
    for _ in range(3):  # of which other work on the machine slows some down
        start = time.thread_time()
        mean_z(blocks, permutations=400)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 2  # 0.4 s; with a sum for each class and cell it takes 5
    assert most < 150 * 2**20  # 40 MiB


def test_an_interval_for_networks_like_these_needs_eight_of_them() -> None:
    few = mean_z(networks(FEWEST_FOR_OTHERS - 1, 20, 0), permutations=0)
    assert np.isnan(few.low).all()
    assert np.isnan(few.p_value).all()
    covered = 0
    for seed in range(200):
        found = mean_z(networks(10, 40, seed), permutations=0)
        covered += found.low[0, 0] <= 0 <= found.high[0, 0]
    assert covered >= 180
    seen = mean_z(networks(10, 40, 0, slope=2.0), permutations=99)
    assert seen.low[0, 0] > 0.5
    assert seen.p_value[0, 0] == 0.01


def test_replicates_are_no_more_networks_like_these() -> None:
    blocks = networks(8, 20, 0)
    names = list("abcdefgh")
    once, twice = (mean_z(blocks * n, networks=names * n, permutations=0) for n in (1, 2))
    for limit in ("low", "high"):
        assert getattr(twice, limit) == pytest.approx(getattr(once, limit))
    assert np.isnan(mean_z(blocks, networks=list("aabbccdd"), permutations=0).low).all()


def test_a_reversal_is_named() -> None:
    """Within each network classes with more dimensions are less robust; networks with more are more robust."""
    rng = np.random.default_rng(0)
    geometry: list[dict[str, Any]] = []
    robustness: list[dict[str, Any]] = []
    for place, model in enumerate("abcde"):
        for label in range(12):
            value = rng.standard_normal()
            told = {"model": model, "class_index": label, "class_name": f"c{label}"}
            geometry.append(told | {"layer": "x", "measure": "m", "value": 10 * place + value})
            share = 0.1 + 0.15 * place - 0.03 * value + 0.005 * rng.standard_normal()
            robust = {"n_clean_correct": 100, "n_robust": round(100 * share), "robust_accuracy": share}
            robustness.append(
                told | robust | {"attack": "pgd", "strength": 0.1, "iterate": "any", "clean_accuracy": 1.0}
            )
    models = [{"model": model, "provenance": "{}", "clean_accuracy": 0.9, "n_classes": 12} for model in "abcde"]
    tables = {
        name: conform(name, rows)
        for name, rows in {"geometry": geometry, "robustness": robustness, "models": models}.items()
    }
    found = within_between_table(**tables, permutations=99)
    row = found.row(by_predicate=pl.col("outcome") == "robust_accuracy", named=True)
    assert row["within"] < -0.9 < 0.9 < row["between"]
    assert row["reversal"]
    assert (row["n_networks"], row["n_classes"], row["n_within_negative"], row["within_p"]) == (5, 12, 5, 0.01)
    alone = {**tables, "geometry": tables["geometry"].filter(pl.col("model") == "a")}
    assert within_between_table(**alone, permutations=99).is_empty()
