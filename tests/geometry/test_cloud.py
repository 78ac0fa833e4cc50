"""Clouds: what one measure has read is there for the next, and a list of classes is measured as each of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import ClassManifold, Cloud, Clouds, Scaling, Spectrum, centroid_distance, measure


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(n_features: int = 300) -> list[torch.Tensor]:
    return [torch.randn(size, n_features, generator=seeded(size)) + size for size in (12, 15, 12)]


@pytest.mark.parametrize("scaling", ["none", "standardise"])
def test_a_list_gives_what_each_of_it_gives(scaling) -> None:
    points = clouds()
    for name in ("pca_dimension", "effective_rank", "two_nn"):
        joint = measure(name, points, scaling=scaling)
        assert joint.whole is None
        assert not joint.pairs
        for together, alone in zip(joint.classes, points, strict=True):
            expected = measure(name, alone, scaling=scaling)
            assert together.value == pytest.approx(expected.value, rel=1e-9)
            assert (together.note, together.parameters) == (expected.note, expected.parameters)


def test_a_reduced_cloud_is_measured_like_the_whole_one() -> None:
    cloud = Cloud(clouds()[0])
    few = cloud.reduced()
    assert few.points.shape == (12, 11)
    assert (few.n_points, few.n_features) == (12, 300)
    for name in ("pca_dimension", "participation_ratio_corrected", "two_nn"):
        whole, small = measure(name, cloud), measure(name, few)
        assert small.value == pytest.approx(whole.value, rel=1e-6)  # the distances of float32 points
        assert (small.n_features, small.ceiling, small.note) == (whole.n_features, whole.ceiling, whole.note)
    assert few.subset(torch.arange(6)).n_features == 300
    narrow, scaled = Cloud(torch.randn(12, 40)), Cloud(clouds()[0], scaling="standardise")
    assert narrow.reduced() is narrow
    assert scaled.reduced() is scaled


def test_reduced_classes_keep_their_places() -> None:
    whole = Clouds(clouds())
    few = whole.reduced()
    assert (few.n_features, few.points[0].shape) == (300, (12, 38))
    for first, second in ((0, 1), (1, 2)):
        expected = torch.cdist(whole.points[first].double(), whole.points[second].double())
        assert torch.allclose(torch.cdist(few.points[first], few.points[second]), expected, rtol=1e-6)


def test_standardised_classes_are_scaled_together_and_stay_apart() -> None:
    points = torch.cat(Clouds(clouds(), scaling="standardise").points)
    assert torch.allclose(points.std(0), torch.ones(300), rtol=1e-4)  # float32
    centroids = [cloud.mean() for cloud in Clouds(clouds(), scaling="standardise").points]
    assert max(centroids) - min(centroids) > 1


def test_neighbours_are_searched_for_once_unless_more_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    from manifoldscope.geometry import distances

    searches = []
    search = distances.Neighbours.of
    monkeypatch.setattr(
        distances.Neighbours, "of", lambda points, **settings: searches.append(settings) or search(points, **settings)
    )
    cloud = Cloud(torch.randn(60, 5, generator=seeded(1)))
    assert cloud.neighbours(2).k == 2
    assert cloud.neighbours(10).k == 10
    assert len(searches) == 1
    assert cloud.neighbours(40).k == 40
    assert len(searches) == 2
    assert cloud.neighbours(99).k == cloud.neighbours(60).k == 59
    assert len(searches) == 3


def test_what_is_computed_once_is_computed_once() -> None:
    calls = []

    def total(points: list[torch.Tensor], *, weight: float) -> float:
        calls.append(weight)
        return weight * len(points)

    together = Clouds(clouds())
    assert [together.once(total, weight=w) for w in (1.0, 1.0, 2.0)] == [3.0, 3.0, 6.0]
    assert calls == [1.0, 2.0]


def test_clouds_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(GeometryError, match="no manifolds"):
        Clouds([])
    with pytest.raises(GeometryError, match="5 to 6 features"):
        Clouds([torch.ones(3, 5), torch.ones(3, 6)])
    with pytest.raises(GeometryError, match="scalings"):
        Clouds.together([Cloud(torch.eye(3)), Cloud(torch.eye(3), scaling="standardise")])
    with pytest.raises(GeometryError, match="2 images"):
        Clouds([torch.eye(3), torch.ones(1, 3)])
    with pytest.raises(GeometryError, match="scaling"):
        measure("pca_dimension", Clouds([torch.eye(3)]), scaling="standardise")
    with pytest.raises(GeometryError, match="not their spectrum"):
        measure("two_nn", Spectrum.of(torch.eye(3)))


def test_a_manifold_is_a_cloud() -> None:
    assert Cloud(ClassManifold(torch.eye(3), label=1)).n_points == 3


@pytest.mark.parametrize("name", ["two_nn", "mle", "gride", "local_pca"])
@pytest.mark.parametrize("scaling", ["none", "standardise"])
def test_points_repeated_up_to_rounding_move_no_dimension(name: str, scaling: Scaling) -> None:
    """A plane in three of 9,200 dimensions: whole, reduced and standardised alike."""
    plane = torch.randn(400, 2, generator=seeded(1)) @ torch.randn(2, 3, generator=seeded(2)) + 3
    again = torch.nextafter(plane[:60], torch.tensor(torch.inf))
    once, twice = Cloud(plane, scaling=scaling), Cloud(torch.cat([plane, again]), scaling=scaling)
    wide = Cloud(torch.nn.functional.pad(torch.cat([plane, again]), (0, 9197)), scaling=scaling).reduced()
    expected = measure(name, once)
    assert not expected.note
    for cloud in (twice, wide, twice.subset(torch.arange(460))):
        found = measure(name, cloud)
        # the repeated points count twice where features are scaled to unit variance
        assert found.value == pytest.approx(expected.value, rel=1e-6 if scaling == "none" else 0.01)
        assert found.note == "60 points equal another one up to rounding and count once"


def test_a_cloud_is_not_reduced_where_that_would_merge_points_that_differ() -> None:
    points = torch.randn(12, 300, dtype=torch.float64, generator=seeded(1))
    near = torch.cat([points, points[:1] * (1 + 1e-9)])
    cloud, classes = Cloud(near), Clouds([near, points + 9])
    assert cloud.reduced() is cloud
    assert classes.reduced() is classes
    assert Cloud(near.float()).reduced().neighbours(2).n_duplicates == 1


def test_what_half_precision_resolves_is_remembered() -> None:
    points = (torch.randn(30, 200, generator=seeded(3)) + 1).half()
    twice = torch.cat([points, torch.nextafter(points[:5], torch.tensor(torch.inf, dtype=torch.float16))])
    kept = ClassManifold(twice)
    for form in (twice, twice.numpy(), kept, replace(kept, points=kept.points[:35])):
        assert Cloud(form).neighbours(1).n_duplicates == 5
    assert Cloud(twice.float()).neighbours(1).n_duplicates == 0  # nobody knows any more


def test_manifolds_of_two_layers_are_no_classes_of_one() -> None:
    points = torch.randn(4, 6, 5, generator=seeded(0))
    manifolds = [ClassManifold(each, label=place % 2, layer=f"block{place // 2}") for place, each in enumerate(points)]
    with pytest.raises(GeometryError, match="of the layers 'block0', 'block1'; expected those of one layer"):
        centroid_distance(manifolds)
    assert len(Clouds(manifolds[:2])) == 2
    assert len(Clouds([manifolds[0], points[1]])) == 2
