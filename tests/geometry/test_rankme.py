"""RankMe and alpha-ReQ: known answers, and numpy's own computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from manifoldscope.geometry import decay_exponent, effective_rank, rankme
from manifoldscope.geometry.reference import exactly, power_law_variances
from tests.geometry.samples import seeded


@pytest.mark.parametrize("rank", [1, 5, 20])
def test_equal_singular_values_count_themselves(rank: int) -> None:
    axes = torch.linalg.qr(torch.randn(50, rank, dtype=torch.float64, generator=seeded(0))).Q
    points = axes @ torch.linalg.qr(torch.randn(30, rank, dtype=torch.float64, generator=seeded(1))).Q.T
    assert rankme(points, epsilon=0.0).value == pytest.approx(rank, rel=1e-6)
    # each of 30 shares has 1e-7 added, with -p log p of 1.6e-6
    assert rankme(points).value == pytest.approx(rank, rel=1e-4)


def test_is_the_published_formula() -> None:
    points = torch.randn(40, 25, dtype=torch.float64, generator=seeded(2)) + 2
    values = np.linalg.svd(points.numpy(), compute_uv=False)
    shares = values / values.sum() + 1e-7
    assert rankme(points).value == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_of_centred_points_it_is_the_effective_rank_of_standard_deviations() -> None:
    variances = torch.tensor([16.0, 4.0, 1.0, 1.0])
    points = exactly(60, variances, n_features=10, generator=seeded(3))
    shares = torch.tensor([4.0, 2.0, 1.0, 1.0]) / 8
    assert rankme(points, epsilon=0.0).value == pytest.approx(float((-(shares * shares.log()).sum()).exp()))
    assert rankme(points).value > effective_rank(points).value
    assert rankme(points + 100).value < rankme(points).value  # the mean is one large singular value


def test_points_at_the_origin_have_no_rank() -> None:
    found = rankme(torch.zeros(5, 3))
    assert (found.value, found.note[:16]) == (0.0, "all points are 0")


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_decay_exponent_is_that_of_alpha_req(exponent: float) -> None:
    points = exactly(80, power_law_variances(60, exponent), n_features=70, generator=seeded(4)) + 3
    assert decay_exponent(points, last=60).value == pytest.approx(exponent)
