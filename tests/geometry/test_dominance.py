"""Dominant points: what a few points make of a spectrum is said beside the value; ordinary clouds have none."""

from __future__ import annotations

import pytest
import torch

from manifoldscope.geometry import MEASURES, Cloud, measure
from manifoldscope.geometry.dominance import dominant_points
from manifoldscope.geometry.reference import gaussian, geometric_variances


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SPECTRAL = [entry.name for entry in MEASURES if entry.traits["reads"] == "spectrum"]


@pytest.mark.parametrize("name", SPECTRAL)
@pytest.mark.parametrize("scaling", ["none", "standardise"])
def test_a_measure_of_the_spectrum_names_the_point_and_the_value_without_it(name: str, scaling: str) -> None:
    points = torch.randn(3000, 4, generator=seeded(0))
    points[5] = torch.tensor([1000.0, 0, 0, 0] if scaling == "none" else [1000.0, 1000, 1000, -1000])
    expected = measure(name, torch.cat([points[:5], points[6:]]), scaling=scaling)
    found = measure(name, points, scaling=scaling)
    assert abs(found.value - expected.value) > 0.3
    assert f"% of the variance; without it {expected.value:.4g}" in found.note
    assert "one point carries" in found.note


@pytest.mark.parametrize("n_far", [1, 2, 3])
@pytest.mark.parametrize("together", [True, False])
def test_a_few_far_points_are_found_wherever_they_lie(n_far: int, together: bool) -> None:
    points = torch.randn(400, 4, generator=seeded(1)).double() + 50
    rows = [7, 300, 12][:n_far]
    for place, row in enumerate(rows):
        points[row, 0 if together else place] += 5000 + place
    found = dominant_points(points)
    assert found is not None
    assert sorted(found.rows) == sorted(rows)
    assert found.share > 0.999
    assert measure("pca_dimension", points).note.endswith(f"without {'it' if n_far == 1 else 'them'} 4")


def test_ordinary_clouds_have_none() -> None:
    """Gaussian clouds, and heavy tails, of which a class of images has a few."""
    for seed in range(100):
        for variances in (torch.ones(200), geometric_variances(50, 0.7)):
            assert dominant_points(gaussian(50, variances, generator=seeded(seed))) is None
        assert dominant_points(torch.randn(200, 1, generator=seeded(seed))) is None
        assert dominant_points(torch.randn(10, 3, generator=seeded(seed))) is None
    for points in (torch.ones(9, 3), torch.eye(4), torch.eye(2)):
        assert dominant_points(points) is None


def test_of_few_points_one_must_carry_nearly_all() -> None:
    points = torch.randn(8, 3, generator=seeded(2))
    points[3, 0] = 100.0
    assert dominant_points(points).rows == (3,)


def test_it_does_not_depend_on_scale_offset_or_where_the_points_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    from manifoldscope.geometry import moments

    points = torch.randn(60, 900, generator=seeded(3))
    points[4] *= 40
    expected = dominant_points(points)
    assert expected.rows == (4,)
    assert Cloud(points).reduced().dominant.rows == (4,)
    for moved in (points.double() * 1e-100, points.double() * 1e100, points.double() + 1e6):
        assert dominant_points(moved).share == pytest.approx(expected.share, rel=1e-6)
    monkeypatch.setattr(moments, "_BLOCK_ELEMENTS", 9000)
    assert dominant_points(points).share == pytest.approx(expected.share, rel=1e-12)


def test_joint_measures_name_the_class() -> None:
    far = torch.randn(50, 4, generator=seeded(4))
    far[9, 1] = 1e4
    classes = [torch.randn(50, 4, generator=seeded(5)) + 3, far]
    found = measure("centroid_distance", classes)
    assert "one point carries 100% of the variance of class 1 (from 0)" in found.pairs[0, 1].note
    ordinary, dominated = measure("radius", classes).classes
    assert "variance of class" not in ordinary.note
    assert "variance of class 1" in dominated.note
