"""Measures read off a spectrum: exact values, biases that are known, and named outcomes where there is no value."""

from __future__ import annotations

import math
import re

import pytest
import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import Spectrum, measure, power_law
from manifoldscope.geometry.reference import exactly, gaussian, geometric_variances, power_law_variances


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def of(eigenvalues: torch.Tensor, n_points: int = 10_000) -> Spectrum:
    return Spectrum(eigenvalues, n_points=n_points, n_features=max(len(eigenvalues), 3))


@pytest.mark.parametrize("rank", [1, 7, 60])
@pytest.mark.parametrize("name", ["participation_ratio", "effective_rank", "stable_rank"])
def test_equal_variances_count_themselves(name: str, rank: int) -> None:
    points = exactly(90, [2.0] * rank, n_features=70, generator=seeded(0))
    assert measure(name, points).value == pytest.approx(rank, rel=1e-9)


def test_geometric_variances_in_closed_form() -> None:
    q = 0.9
    spectrum = of(geometric_variances(2000, q))
    entropy = -math.log(1 - q) - q * math.log(q) / (1 - q)  # of the geometric distribution
    assert measure("effective_rank", spectrum).value == pytest.approx(math.exp(entropy))
    assert measure("stable_rank", spectrum).value == pytest.approx(1 / (1 - q))


@pytest.mark.parametrize("n_points", [50, 200])
@pytest.mark.parametrize("ratio", [0.7, 0.95])
def test_the_correction_undoes_the_bias_of_few_points(n_points: int, ratio: float) -> None:
    true = (1 + ratio) / (1 - ratio)
    clouds = [gaussian(n_points, geometric_variances(400, ratio), generator=seeded(seed)) for seed in range(40)]
    plain = sum(measure("participation_ratio", cloud).value for cloud in clouds) / 40
    corrected = sum(measure("participation_ratio_corrected", cloud).value for cloud in clouds) / 40
    # forty draws spread by 2 to 3%, and terms of the order of 1 / (n P) are left out
    assert corrected == pytest.approx(true, rel=0.08)
    assert abs(corrected - true) < abs(plain - true)


def test_recorded_neurons_are_corrected_for_points_and_neurons() -> None:
    """Neurons sampled from a population of rank 30: too few of them, and of the points, make the sample flatter."""
    mixing = torch.randn(30, 4000, dtype=torch.float64, generator=seeded(0)) / 30**0.5
    population = mixing.T @ mixing
    true = float(population.trace() ** 2 / population.square().sum())
    values = []
    for seed in range(20):
        neurons = torch.randperm(4000, generator=seeded(seed))[:100]
        latent = torch.randn(120, 30, dtype=torch.float64, generator=seeded(100 + seed))
        values.append(measure("participation_ratio_corrected", latent @ mixing[:, neurons], features="sampled").value)
    assert sum(values) / 20 == pytest.approx(true, rel=0.05)  # twenty draws spread by 1 to 2%
    fixed = measure("participation_ratio_corrected", latent @ mixing[:, neurons]).value
    assert fixed < 0.9 * true


def test_a_sample_that_shows_its_own_bias_alone_says_so() -> None:
    spectrum = Spectrum(torch.ones(49), n_points=50, n_features=2048)
    held = measure("participation_ratio_corrected", spectrum)
    assert held.value == held.ceiling == 2048
    assert "held at their number" in held.note
    none = measure("participation_ratio_corrected", spectrum, features="sampled")
    assert math.isnan(none.value)
    assert "no value is left" in none.note
    name = "participation_ratio_corrected"
    assert "67% of 1 / sample" in measure(name, Spectrum(torch.ones(60), n_points=91, n_features=999)).note


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.5])
def test_a_power_law_is_recovered_exactly_from_its_own_variances(exponent: float) -> None:
    found = power_law(of(power_law_variances(300, exponent)), first=5, last=200)
    assert (found.first, found.last) == (5, 200)
    assert found.exponent == pytest.approx(exponent)
    assert found.r_squared == pytest.approx(1)


def test_fifty_points_understate_an_exponent_of_one() -> None:
    values = [
        measure("decay_exponent", gaussian(50, power_law_variances(2048, 1.0), generator=seeded(seed))).value
        for seed in range(8)
    ]
    assert 0.65 < sum(values) / 8 < 0.73


def test_a_law_to_compare_with_is_seen_through_a_sample_of_the_same_size() -> None:
    found = measure("decay_exponent", gaussian(50, power_law_variances(2048, 1.0), generator=seeded(9)), law=1.0)
    shown = float(re.search(r"of exponent 1 shows (0\.\d+), give or take", found.note)[1])
    assert 0.65 < shown < 0.73
    assert abs(found.value - shown) < 0.15  # four standard deviations of one sample


def test_a_spectrum_that_is_no_power_law_has_a_low_r_squared() -> None:
    steps = torch.cat([torch.ones(50), torch.full((50,), 1e-4)]).double()
    assert power_law(of(steps), last=100).r_squared < 0.6


def test_what_cannot_be_fitted_has_a_reason() -> None:
    few = measure("decay_exponent", of(torch.tensor([2.0, 1.0])))
    assert math.isnan(few.value)
    assert "2 of 2 eigenvalues above 0" in few.note
    assert "all points are the same" in measure("decay_exponent", torch.ones(5, 4)).note
    with pytest.raises(GeometryError, match="expected 1 <= first <= last"):
        power_law(of(torch.ones(9)), first=4, last=2)
