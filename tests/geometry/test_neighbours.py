"""Estimators from distances: known manifolds, other implementations to the digit, and named outcomes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import Cloud, Spectrum, gride_curve, measure, neighbours
from manifoldscope.geometry.reference import BENCHMARK, cube

NAMES = ["two_nn", "mle", "gride", "local_pca"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("manifold", ["affine 3 in 5", "helix 1 in 3", "swiss roll 2 in 3", "Moebius band 2 in 3"])
@pytest.mark.parametrize("name", NAMES)
def test_low_dimensions_are_found(name: str, manifold: str) -> None:
    known = BENCHMARK[manifold]
    value = measure(name, known.draw(2000, seeded(0))).value
    # 2,000 points: a standard error of 2% for two_nn, and curvature adds a few percent to local PCA
    assert value == pytest.approx(known.dimension, rel=0.08)


@pytest.mark.parametrize(
    ("manifold", "two_nn", "mle"),
    [
        ("sphere 10 in 11", 9.3, 8.9),
        ("cube 24 in 25", 17.5, 16.7),
        ("cube 70 in 71", 40.0, 35.0),
        ("Gaussian 20 in 20", 16.9, 15.5),
    ],
)
def test_high_dimensions_are_understated_as_is_known(manifold: str, two_nn: float, mle: float) -> None:
    cloud = Cloud(BENCHMARK[manifold].draw(2500, seeded(0)))
    # the spread of one draw of 2,500 points, two standard errors of two_nn
    assert measure("two_nn", cloud).value == pytest.approx(two_nn, rel=0.06)
    assert measure("mle", cloud).value == pytest.approx(mle, rel=0.04)


def normal() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((300, 5))


def curved() -> np.ndarray:
    rng = np.random.default_rng(0)
    rng.standard_normal((300, 5))
    angle = rng.random((400, 3))
    return np.concatenate([np.sin(3 * angle), np.cos(3 * angle), angle[:, :2] ** 2], 1)


# scikit-dimension 0.5.0: TwoNN().fit, TwoNN(discard_fraction=0, method="mle").fit, MLE(K=20).fit(comb="mle");
# DADApy 0.3.4: compute_id_2NN(), compute_id_2NN(algorithm="ml"), return_id_scaling_gride(range_max=64), 2 decimals.
PEERS = [
    (normal, 4.602505517659335, 4.590306344839391, 4.794887963682109, (4.59, 5.19, 4.99, 4.82, 4.5, 4.15)),
    (curved, 3.026349581286578, 3.049332472687286, 2.7512308688435327, (3.05, 3.05, 2.55, 2.74, 2.73, 2.7)),
]


@pytest.mark.parametrize(("points", "fit", "unbiased", "maximum", "scales"), PEERS, ids=["normal", "curved"])
def test_agrees_with_scikit_dimension_and_dadapy(points, fit, unbiased, maximum, scales) -> None:
    cloud = Cloud(points())
    assert measure("two_nn", cloud).value == pytest.approx(fit, rel=1e-9)
    assert measure("two_nn", cloud, method="mle").value == pytest.approx(unbiased, rel=1e-9)
    assert measure("mle", cloud).value == pytest.approx(maximum, rel=1e-9)
    ours = gride_curve(cloud, scales=(1, 2, 4, 8, 16, 32))
    # at n1 = 1 DADApy takes the unbiased form, (n - 1) / sum, and elsewhere the maximum; it prints two decimals
    assert [estimate.value for estimate in ours.values()] == pytest.approx(scales, abs=0.02)


def test_gride_at_scale_one_is_the_maximum_likelihood_of_two_nn() -> None:
    cloud = Cloud(normal())
    n = cloud.n_points
    expected = measure("two_nn", cloud, method="mle").value * n / (n - 1)
    assert measure("gride", cloud, n1=1).value == pytest.approx(expected, rel=1e-12)
    assert measure("gride", cloud, n1=1).stderr == pytest.approx(expected / n**0.5)
    assert measure("two_nn", cloud, method="mle").stderr == pytest.approx(expected / n**0.5, rel=2 / n)


def test_gride_maximises_its_likelihood() -> None:
    cloud = Cloud(cube(400, 4, generator=seeded(1)))
    n1 = 4
    distances = cloud.neighbours(2 * n1).distances
    logs = (distances[:, 2 * n1 - 1] / distances[:, n1 - 1]).log()

    def likelihood(d: float) -> float:
        return float((math.log(d) + (n1 - 1) * torch.expm1(d * logs).log() - (d * (2 * n1 - 1) + 1) * logs).sum())

    best = measure("gride", cloud, n1=n1)
    assert likelihood(best.value) > max(likelihood(best.value * 0.99), likelihood(best.value * 1.01))
    curvature = (likelihood(best.value + 0.01) + likelihood(best.value - 0.01) - 2 * likelihood(best.value)) / 1e-4
    assert best.stderr == pytest.approx((-curvature) ** -0.5, rel=1e-3)  # of a difference of second order


def test_a_larger_scale_looks_past_noise() -> None:
    line = torch.rand(500, 1, dtype=torch.float64, generator=seeded(2)) * torch.ones(1, 4).double()
    noisy = line + 1e-3 * torch.randn(500, 4, dtype=torch.float64, generator=seeded(3))
    curve = gride_curve(noisy, scales=(1, 32, 400))
    assert list(curve) == [1, 32]  # 800 neighbours are not there
    assert curve[1].value > 1.25
    assert curve[32].value == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_equal_points_are_noted_and_change_nothing(name: str) -> None:
    points = torch.randn(60, 4, generator=seeded(4))
    once, twice = measure(name, points), measure(name, torch.cat([points, points[:20]]))
    assert twice.value == pytest.approx(once.value, rel=1e-9)
    assert "20 points equal another one up to rounding and count once" in twice.note
    assert "1 point equals another one" in measure(name, torch.cat([points, points[:1]])).note


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("points", "words"),
    [(torch.ones(6, 3), "1 distinct point; this"), (torch.eye(2), "2 distinct points")],
    ids=["constant", "two points"],
)
def test_too_few_distinct_points_have_a_reason(name: str, points: torch.Tensor, words: str) -> None:
    estimate = measure(name, points)
    assert math.isnan(estimate.value)
    assert words in estimate.note


def test_a_grid_has_ratios_of_one_and_says_so() -> None:
    axis = torch.arange(6.0)
    grid = torch.cartesian_prod(axis, axis)
    for name in ("two_nn", "gride"):
        settings = {"n1": 1} if name == "gride" else {}
        estimate = measure(name, grid, **settings)
        assert math.isnan(estimate.value)
        assert "one distance" in estimate.note
    assert math.isfinite(measure("mle", grid).value)


def test_a_few_ties_are_counted_and_noted() -> None:
    grid = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0)) + 100
    points = torch.cat([grid, torch.randn(60, 2, generator=seeded(7))])
    assert "9 of 69 points have their two nearest neighbours at one distance" in measure("two_nn", points).note
    assert not measure("two_nn", points[9:]).note


def test_local_pca_differs_from_scikit_dimension_by_the_point_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(normal())
    places = cloud.neighbours(30).places
    without = [Spectrum.of(cloud.points[rows]).dimension(0.95) for rows in places]
    # scikit-dimension 0.5.0: the mean of lPCA(ver="ratio", alphaRatio=0.95).fit_pw(points, n_neighbors=30)
    assert sum(without) / 300 == pytest.approx(4.986666666666666)
    rows = torch.cat([torch.arange(300)[:, None], places], 1)
    expected = sum(Spectrum.of(cloud.points[some]).dimension(0.95) for some in rows) / 300
    assert measure("local_pca", cloud).value == pytest.approx(expected)
    monkeypatch.setattr(neighbours, "_AT_ONCE", 1)
    assert measure("local_pca", cloud).value == pytest.approx(expected)


def test_fewer_neighbours_than_asked_for_are_noted() -> None:
    points = torch.randn(9, 3, generator=seeded(5))
    assert "only 8 neighbours are there" in measure("mle", points).note
    assert "only 8 neighbours are there" in measure("local_pca", points).note


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("two_nn", {"discard": 1.0}, "discard = 1.0"),
        ("mle", {"n_neighbours": 1}, "n_neighbours = 1; expected at least 2"),
        ("gride", {"n1": 0}, "n1 = 0; expected at least 1"),
        ("local_pca", {"fraction": 1.5}, "fraction = 1.5"),
    ],
)
def test_impossible_settings_are_refused(name: str, setting, words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        measure(name, torch.randn(20, 3, generator=seeded(6)), **setting)
