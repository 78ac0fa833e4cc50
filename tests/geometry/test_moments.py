"""Clouds that arrive in pieces: merged halves are the whole, and nothing else is let in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import Covariance, Gram, Scaling, Spectrum
from manifoldscope.geometry.reference import gaussian, geometric_variances
from manifoldscope.geometry.spectrum import reduced


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    seed=st.integers(0, 1000),
    shape=st.sampled_from([(12, 40), (40, 12), (7, 7)]),
    cut=st.floats(0.1, 0.9),
    offset=st.sampled_from([0.0, 1e3]),
    scaling=st.sampled_from(["none", "standardise"]),
)
@settings(max_examples=40, deadline=None)
def test_two_halves_merged_are_the_whole(
    seed: int, shape: tuple[int, int], cut: float, offset: float, scaling: Scaling
) -> None:
    points = gaussian(shape[0], geometric_variances(shape[1], 0.9), generator=seeded(seed)) + offset
    whole = Spectrum.of(points, scaling=scaling).eigenvalues
    column = max(1, int(cut * shape[1]))
    left, right = Gram(shape[0], scaling=scaling), Gram(shape[0], scaling=scaling)
    left.update(points[:, :column])
    right.update(points[:, column:])
    left.merge(right)
    row = max(1, int(cut * shape[0]))
    early, late = Covariance(shape[1], scaling=scaling), Covariance(shape[1], scaling=scaling)
    for batch in points[:row].split(3):
        early.update(batch)
    late.update(points[row:])
    early.merge(late)
    assert torch.allclose(early.mean, points.mean(0), rtol=1e-12)
    for moments in (left, early):
        merged = Spectrum.of_moments(moments).eigenvalues
        # of the largest variance: the smallest carry the rounding of all
        assert float((merged - whole).abs().max() / whole[0]) < 1e-10


def test_merging_with_one_that_has_seen_nothing_changes_nothing() -> None:
    points = torch.randn(9, 4, generator=seeded(0))
    empty, full = Covariance(4), Covariance.of(points)
    empty.merge(full)
    full.merge(Covariance(4))
    assert torch.equal(empty.products, full.products)
    assert empty.n_points == full.n_points == 9


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: Gram(5).update(torch.ones(4, 3)), "4 points; expected all 5"),
        (lambda: Covariance(5).update(torch.ones(4, 3)), "3 features; expected 5"),
        (lambda: Gram(5).merge(Gram(4)), "cannot be merged"),
        (lambda: Covariance(5).merge(Covariance(5, scaling="standardise")), "cannot be merged"),
        (lambda: Gram(1), "at least 2"),
        (lambda: Spectrum.of_moments(Covariance(3)), "at least 2"),
        (lambda: Covariance(3).update(torch.full((2, 3), torch.nan)), "NaN"),
        (lambda: Gram(3, scaling="whiten"), "expected 'none' or 'standardise'"),
    ],
)
def test_what_does_not_fit_is_refused(act, words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        act()


@given(seed=st.integers(0, 100), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_reduced_clouds_keep_every_distance(seed: int, sizes: list[int]) -> None:
    clouds = [torch.randn(size, 200, generator=seeded(seed + i)).double() + 10 * i for i, size in enumerate(sizes)]
    few = reduced(clouds)
    assert [len(cloud) for cloud in few] == sizes
    assert few[0].shape[1] == min(sum(sizes) - 1, 200)
    before, after = (
        torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
        for points in (torch.cat(clouds), torch.cat(few))
    )
    assert torch.allclose(after, before, rtol=1e-8)


def test_equal_points_stay_equal_when_reduced() -> None:
    points = torch.randn(9, 5000, generator=seeded(3)) + 100
    points[7] = points[2]
    (few,) = reduced([points])
    assert torch.equal(few[7], few[2])
    assert len(few.unique(dim=0)) == 8
