"""Nearest neighbours: exact in every block size, for float32 points far from the origin and nearly equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import ClassManifold, Neighbours, distances


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_differences(points: torch.Tensor, k: int) -> torch.Tensor:
    exact = points.to(torch.float64)
    squares = (exact[:, None] - exact[None]).square().sum(2).fill_diagonal_(torch.inf)
    return squares.topk(k, largest=False).values.sqrt()


@given(seed=st.integers(0, 1000), n=st.integers(3, 40), width=st.integers(1, 12), rows=st.sampled_from([1, 5, 1280]))
@settings(max_examples=40, deadline=None)
def test_agrees_with_differences_in_any_block_size(seed: int, n: int, width: int, rows: int) -> None:
    points = torch.randn(n, width, generator=seeded(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "_BLOCK_ROWS", rows)
        found = Neighbours.of(points, k=2)
    # float64 products lose up to seven of sixteen digits before they are doubted
    assert torch.allclose(found.distances, by_differences(points, 2), rtol=1e-7)
    assert torch.allclose(
        (points.double()[:, None] - points.double()[found.places]).norm(dim=2), found.distances, rtol=1e-7
    )


def test_agrees_with_scikit_learn() -> None:
    points = np.random.default_rng(0).standard_normal((300, 20))
    expected, places = NearestNeighbors(n_neighbors=6).fit(points).kneighbors(points)
    found = Neighbours.of(points, k=5)
    assert np.allclose(found.distances, expected[:, 1:], rtol=1e-9)
    assert np.array_equal(found.places, places[:, 1:])


@pytest.mark.parametrize("held", [True, False])
def test_float32_points_do_not_lose_neighbours_that_are_nearly_equal(held: bool, monkeypatch) -> None:
    """Pairs a millionth apart in a cloud of extent 1,000, far from the origin: products alone would give noise."""
    if not held:
        monkeypatch.setattr(distances, "_HELD", 0)
    base = 1000 * torch.randn(30, 8, generator=seeded(1))
    points = torch.cat([base, torch.nextafter(base, torch.tensor(torch.inf))]) + 0.0
    found = Neighbours.of(points, k=3, resolution=0.0)  # as if they were known to be exact
    assert found.n_duplicates == 0
    assert torch.allclose(found.distances, by_differences(points, 3), rtol=1e-12)
    assert found.places[:30, 0].tolist() == list(range(30, 60))


@pytest.mark.parametrize("share", [0.0, 2.0], ids=["all differences", "some differences"])
@pytest.mark.parametrize("rows", [7, 1280])
def test_neighbours_hidden_by_rounding_are_found_again(share: float, rows: int, monkeypatch) -> None:
    """Clusters so tight that products give no order within them: the nearest need not be among those first kept."""
    monkeypatch.setattr(distances, "_MANY", share)
    monkeypatch.setattr(distances, "_BLOCK_ROWS", rows)
    centroids = 1000 * torch.randn(3, 5, dtype=torch.float64, generator=seeded(5))
    points = centroids.repeat(20, 1) + 1e-7 * torch.randn(60, 5, dtype=torch.float64, generator=seeded(6))
    found = Neighbours.of(points, k=4)
    assert torch.allclose(found.distances, by_differences(points, 4), rtol=1e-12, atol=0)
    apart = (points[:, None] - points[found.places]).norm(dim=2)
    assert torch.allclose(apart, found.distances, rtol=1e-12, atol=0)


def test_a_large_offset_costs_nothing() -> None:
    points = torch.randint(-50, 50, (40, 6), generator=seeded(2)).float()
    assert torch.allclose(Neighbours.of(points + 2**15, k=4).distances, Neighbours.of(points, k=4).distances)


def test_equal_points_count_once() -> None:
    points = torch.randn(9, 4, generator=seeded(3))
    points[[4, 7, 8]] = points[[1, 1, 2]]
    found = Neighbours.of(points, k=3)
    assert found.kept.tolist() == [0, 1, 2, 3, 5, 6]
    assert (found.n_points, found.n_duplicates) == (6, 3)
    assert torch.allclose(found.distances, by_differences(points[found.kept], 3), rtol=1e-7)
    signed = Neighbours.of(torch.tensor([[0.0, 1.0], [-0.0, 1.0], [2.0, 2.0]]), k=1)
    assert signed.n_duplicates == 1  # minus zero is zero


ULP = {torch.float32: 2.0**-23, torch.float64: 2.0**-52, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}


@pytest.mark.parametrize("dtype", ULP)
def test_points_that_differ_by_rounding_count_once(dtype: torch.dtype) -> None:
    """A unit in the last place of every number, upwards or downwards; far from the mean and far from the origin."""
    base = (torch.randn(40, 6, dtype=torch.float64, generator=seeded(7)) + 2).to(dtype).double()
    signs = torch.randint(0, 2, (12, 6), generator=seeded(8)) * 2 - 1
    again = (base[:12] * (1 + signs * ULP[dtype])).to(dtype)
    points = torch.cat([base.to(dtype), again])
    found = Neighbours.of(points, k=3)
    assert found.n_duplicates == 12
    assert found.kept.tolist() == list(range(40))
    expected = Neighbours.of(base, k=3)
    assert torch.allclose(found.distances, expected.distances, rtol=1e-12)
    assert Neighbours.of(ClassManifold(points), k=3).n_duplicates == 12  # which holds half precision as float32


def test_what_the_type_resolves_is_not_merged() -> None:
    base = torch.randn(20, 3, dtype=torch.float64, generator=seeded(9)) + 5
    near = Neighbours.of(torch.cat([base, base * (1 + 1e-12)]), k=2)
    assert near.n_duplicates == 0
    assert torch.allclose(near.distances[:, 0], 1e-12 * base.norm(dim=1).repeat(2), rtol=1e-2)
    whole = torch.randint(0, 255, (50, 2**16), dtype=torch.uint8, generator=seeded(1))
    whole = torch.cat([whole, whole[:1]])
    whole[50, 0] += 1  # one level in one pixel of a large image
    assert Neighbours.of(whole, k=1).n_duplicates == 0


@pytest.mark.parametrize("rows", [2, 1280])
def test_a_chain_of_equal_points_loses_those_between(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are left are farther apart than the resolution: a dense curve does not become one point."""
    monkeypatch.setattr(distances, "_BLOCK_ROWS", rows)
    chain = torch.tensor([[10.0], [10.6], [11.2], [11.8], [20.0]], dtype=torch.float64)
    found = Neighbours.of(chain, k=1, resolution=0.07)
    assert found.kept.tolist() == [0, 2, 4]
    assert Neighbours.of(chain.flip(0), k=1, resolution=0.07).kept.tolist() == [0, 1, 3]


def test_there_are_no_more_neighbours_than_other_points() -> None:
    assert Neighbours.of(torch.randn(4, 2, generator=seeded(4)), k=9).k == 3
    constant = Neighbours.of(torch.ones(5, 2), k=3)
    assert (constant.n_points, constant.k, constant.n_duplicates) == (1, 0, 4)


@pytest.mark.parametrize(
    ("points", "k", "words"),
    [
        (torch.ones(1, 3), 1, "2 images"),
        (torch.eye(3), 0, "at least 1"),
        (torch.full((3, 2), torch.nan), 1, "NaN"),
        (1e200 * torch.eye(3).double(), 1, "overflow; divide"),
        (1e-200 * torch.eye(3).double(), 1, "underflows; multiply"),
    ],
)
def test_what_has_no_neighbours_is_refused(points: torch.Tensor, k: int, words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        Neighbours.of(points, k=k)
