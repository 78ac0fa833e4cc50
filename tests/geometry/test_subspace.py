"""Subspaces: axes of a spectrum that is known, and random directions that stay within the span."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.reference import exactly, rotation
from manifoldscope.geometry.subspace import Span, change


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(n_points: int, n_features: int, variances: list[float]) -> torch.Tensor:
    """Points with exactly these variances along turned axes, far from the origin."""
    flat = exactly(n_points, variances, n_features=n_features, generator=seeded())
    return flat @ rotation(n_features, generator=seeded(1)).to(flat) + 7


@pytest.mark.parametrize(("n_points", "n_features"), [(20, 8), (6, 40)])
def test_axes_are_orthonormal_and_hold_the_variances_that_the_points_were_made_with(n_points, n_features):
    points = cloud(n_points, n_features, [9.0, 4.0, 2.0, 1.0])
    span = Span.of(points)
    assert span.rank == 4
    assert span.variances.tolist() == pytest.approx([9.0, 4.0, 2.0, 1.0])
    axes = span.leading(4)
    torch.testing.assert_close(axes @ axes.T, torch.eye(4, dtype=torch.float64))
    along = (points.double() - span.centre) @ axes.T
    assert along.var(0).tolist() == pytest.approx([9.0, 4.0, 2.0, 1.0])
    assert [span.share(axes[:k]) for k in (0, 1, 2, 4)] == pytest.approx([0, 9 / 16, 13 / 16, 1])


@pytest.mark.parametrize(("n_points", "n_features"), [(20, 8), (6, 40)])
def test_random_directions_lie_within_the_span_and_hold_the_mean_variance_on_average(n_points, n_features):
    span = Span.of(cloud(n_points, n_features, [9.0, 4.0, 2.0, 1.0]))
    axes, shares = span.leading(4), []
    for seed in range(400):
        found = span.random(2, generator=seeded(seed))
        torch.testing.assert_close(found @ found.T, torch.eye(2, dtype=torch.float64))
        torch.testing.assert_close(found @ axes.T @ axes, found)
        shares.append(span.share(found))
    # two of four directions hold half on average; 400 draws of a standard deviation below 0.2
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=4 * 0.2 / 20)
    assert torch.equal(span.random(2, generator=seeded(3)), span.random(2, generator=seeded(3)))


@settings(max_examples=25, deadline=None)
@given(k=st.integers(0, 5), seed=st.integers(0, 50))
def test_what_is_projected_out_and_what_is_kept_alone_are_the_two_parts_of_a_point(k, seed):
    points = torch.randn(9, 6, generator=seeded(seed), dtype=torch.float64)
    span = Span.of(points)
    basis = span.random(k, generator=seeded(seed + 1))
    without = points + change(points, basis, span.centre)
    only = points + change(points, basis, span.centre, keep="only")
    torch.testing.assert_close(without + only - span.centre, points)
    torch.testing.assert_close((without - span.centre) @ basis.T, torch.zeros(9, k, dtype=torch.float64))
    assert int(torch.linalg.matrix_rank(only - span.centre, atol=1e-9)) == k
    torch.testing.assert_close(only + change(only, basis, span.centre, keep="only"), only)


def test_what_spans_nothing_or_too_little_is_refused():
    with pytest.raises(GeometryError, match="3 points are all equal"):
        Span.of(torch.ones(3, 4))
    with pytest.raises(GeometryError, match="5 directions; 4 points span 3"):
        Span.of(torch.randn(4, 9, generator=seeded())).leading(5)
