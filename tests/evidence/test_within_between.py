"""Within and between networks: a planted reversal, the level of the joint permutation, and what stands in the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from manifoldscope.evidence.permutation import Block
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
