"""Known manifolds: where they lie, how dense they are, and that they are those on which others compare estimators."""

from __future__ import annotations

import math

import pytest
import torch

from manifoldscope.geometry import Cloud, measure
from manifoldscope.geometry.reference import (
    BENCHMARK,
    affine,
    ball,
    cube_surface,
    helicoid,
    moebius_band,
    noisy,
    s_curve,
    spiral,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", BENCHMARK)
def test_a_known_manifold_is_drawn_as_it_says(name: str) -> None:
    known = BENCHMARK[name]
    points = known.draw(7, seeded(0))
    assert points.shape == (7, known.n_features)
    assert points.dtype == torch.float64
    assert f"{known.dimension} in {known.n_features}" in name
    assert torch.equal(points, known.draw(7, seeded(0)))
    assert not torch.equal(points, known.draw(7, seeded(1)))


# TwoNN().fit and MLE(K=20).fit of scikit-dimension 0.5.0 on its own BenchmarkManifolds(random_state=0).generate(
# name="all", n=2000), and the standard deviation of all features together
THEIRS = {
    "sphere 10 in 11": (9.47, 9, 1),
    "affine 3 in 5": (2.94, 2.84, 2.9),
    "concentrated 4 in 6": (3.73, 3.7, 1.3),
    "linked circles 4 in 8": (3.85, 4, 1.16),
    "helix 1 in 3": (1, 1, 2.22),
    "helicoid 2 in 3": (1.99, 2.59, 18.7),
    "linked circles 6 in 36": (6.07, 6.45, 2.45),
    "swiss roll 2 in 3": (1.93, 1.92, 11.5),
    "linked circles 12 in 72": (13.3, 13.5, 3.46),
    "affine 20 in 20": (16, 14.4, 6.46),
    "cube surface 10 in 11": (9.53, 8.62, 1.04),
    "cube surface 17 in 18": (14.3, 13.2, 1.29),
    "cube surface 24 in 25": (18.3, 16.9, 1.5),
    "cube surface 70 in 71": (39.4, 35.1, 2.47),
    "Moebius band 2 in 3": (2.17, 1.98, 1.05),
    "Gaussian 20 in 20": (16.6, 15.3, 4.46),
    "S curve 2 in 3": (2, 1.91, 1.68),
    "spiral 1 in 13": (1.02, 1.66, 100),
}


@pytest.mark.parametrize("name", THEIRS)
def test_manifolds_are_those_of_scikit_dimension(name: str) -> None:
    two_nn, mle, extent = THEIRS[name]
    cloud = Cloud(BENCHMARK[name].draw(2000, seeded(0)))
    # of 2,000 ratios, TwoNN has a standard error of 2.2%: four of the difference of two draws
    assert measure("two_nn", cloud).value == pytest.approx(two_nn, rel=0.13)
    assert measure("mle", cloud).value == pytest.approx(mle, rel=0.04)  # twenty draws spread by at most 1%
    if not name.startswith("affine"):  # those lie askew in a way of their own
        assert cloud.spectrum.total_variance**0.5 == pytest.approx(extent, rel=0.05)  # 1% for 2,000 points


def test_a_ball_is_evenly_dense() -> None:
    radii = ball(4000, 3, generator=seeded(1)).norm(dim=1)
    for inner in (0.4, 0.7, 0.9):
        # a binomial share of 4,000 points: three standard errors are at most 0.024
        assert float((radii < inner).double().mean()) == pytest.approx(inner**3, abs=0.024)


def test_a_cube_has_as_many_points_on_each_of_its_faces() -> None:
    points = cube_surface(3000, 2, generator=seeded(2))
    counts = torch.stack([(points == side).sum(0) for side in (0, 1)])
    assert counts.sum() == 3000
    assert float((counts - 500).abs().max()) < 4 * math.sqrt(500)  # four standard errors


def test_sheets_and_wires_lie_where_they_should() -> None:
    flat = affine(30, 2, 6, generator=seeded(3))
    assert int(torch.linalg.matrix_rank(flat - flat.mean(0))) == 2
    bent = s_curve(200, generator=seeded(4))
    # two circles of radius 1 around (0, -1) and (0, 1)
    assert torch.allclose(bent[:, 0] ** 2 + (bent[:, 2].abs() - 1) ** 2, torch.ones(()).double())
    wire = spiral(200, turns=2, generator=seeded(5))
    assert torch.allclose(wire[:, 0], 100 * wire[:, 2].cos())
    stair = helicoid(200, turns=1, generator=seeded(6))
    assert torch.allclose(stair[:, 0] * (2 * stair[:, 2]).sin(), stair[:, 1] * (2 * stair[:, 2]).cos(), atol=1e-9)


def test_a_band_of_one_half_twist_is_flat_where_it_begins_and_upright_half_way_around() -> None:
    band = moebius_band(20_000, turns=1, generator=seeded(7))
    angle = torch.atan2(band[:, 1], band[:, 0])
    out, up = band[:, :2].norm(dim=1) - 1, band[:, 2]
    before, after = angle.abs() < 0.02, (angle.abs() - math.pi).abs() < 0.02
    # within 0.02 of these places the band has turned by half of that, times its half width of 0.5
    assert float(up[before].abs().max()) < 0.01
    assert float(out[after].abs().max()) < 0.01
    assert float(up[after].abs().max()) == pytest.approx(0.5, abs=0.02)


def test_noise_adds_all_features_as_dimensions_at_its_own_scale() -> None:
    line = torch.rand(2000, 1, generator=seeded(8), dtype=torch.float64) * torch.ones(1, 3).double()
    assert measure("two_nn", line).value == pytest.approx(1, rel=0.09)  # four standard errors of 2.2%
    assert measure("two_nn", noisy(line, 0.1, generator=seeded(9))).value == pytest.approx(3, rel=0.09)
