"""Spectra: known answers, laws, agreement with an independent PCA, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import Scaling, Spectrum, moments, spectra, spectrum, standardise
from manifoldscope.geometry.reference import (
    exactly,
    gaussian,
    geometric_variances,
    power_law_variances,
    rotation,
    sphere,
)

SHAPES = [(12, 40), (40, 12), (20, 20), (2, 5)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(60, 8), (8, 60)])
def test_a_share_on_the_boundary_counts_as_reached(shape: tuple[int, int], dtype: torch.dtype) -> None:
    eigenvalues = [0.5, 0.3, 0.1, 0.06, 0.04]
    measured = Spectrum.of(exactly(shape[0], eigenvalues, n_features=shape[1], generator=seeded(1)).to(dtype))
    assert [measured.dimension(f) for f in (0.80, 0.90, 0.95, 0.96, 0.99)] == [2, 3, 4, 4, 5]
    assert measured.participation_ratio() == pytest.approx(2.81532, abs=2e-5)
    assert measured.total_variance == pytest.approx(1, rel=1e-5)  # float32 keeps seven digits


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.99])
def test_geometric_variances(ratio: float) -> None:
    spectrum = Spectrum(geometric_variances(3000, ratio), n_points=5000, n_features=3000)
    assert spectrum.dimension(0.95) == math.ceil(math.log(0.05) / math.log(ratio))
    assert spectrum.participation_ratio() == pytest.approx((1 + ratio) / (1 - ratio))


@pytest.mark.parametrize("rank", [1, 3, 20, 40, 100])
def test_equal_variances(rank: int) -> None:
    spectrum = Spectrum(torch.ones(rank), n_points=500, n_features=200)
    assert spectrum.dimension(0.95) == math.ceil(round(0.95 * rank, 9))
    assert spectrum.participation_ratio() == pytest.approx(rank)
    assert spectrum.dimension(1.0) == rank


@pytest.mark.parametrize(
    ("eigenvalues", "n_points", "expected"),
    [
        # one draw spreads by about 1 around these; a spread of three is allowed
        (torch.ones(2048), 50, 46),
        (torch.ones(2048), 200, 181),
        (power_law_variances(2048, 1.0), 50, 43),
        (power_law_variances(2048, 1.0), 200, 158),
        (power_law_variances(2048, 2.0), 50, 10),
    ],
    ids=["isotropic-50", "isotropic-200", "a=1-50", "a=1-200", "a=2-50"],
)
def test_what_a_gaussian_sample_shows(eigenvalues: torch.Tensor, n_points: int, expected: int) -> None:
    draws = [
        Spectrum.of(gaussian(n_points, eigenvalues, generator=seeded(seed)).float()).dimension(0.95)
        for seed in range(3)
    ]
    assert np.mean(draws) == pytest.approx(expected, abs=3)


def test_participation_ratio_of_a_sample_follows_its_known_bias() -> None:
    measured = Spectrum.of(gaussian(100, torch.ones(1000), generator=seeded(0))).participation_ratio()
    assert measured == pytest.approx(1 / (1 / 99 + 1 / 1000), rel=0.01)  # 1 in 10,000 independent products


def test_true_dimensions_of_power_laws() -> None:
    for exponent, expected in ((1.0, 1359), (2.0, 12)):
        spectrum = Spectrum(power_law_variances(2048, exponent), n_points=10_000, n_features=2048)
        assert spectrum.dimension(0.95) == expected


def test_a_sphere_has_equal_variances() -> None:
    spectrum = Spectrum.of(sphere(4000, 4, n_features=9, generator=seeded(2)))
    assert spectrum.eigenvalues[:5].tolist() == pytest.approx([0.2] * 5, rel=0.1)  # four thousand points: 2% each
    assert spectrum.eigenvalues[5:].tolist() == [0.0] * 4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scaling", ["none", "standardise"])
def test_agrees_with_scikit_learn(shape: tuple[int, int], scaling: Scaling) -> None:
    points = gaussian(shape[0], geometric_variances(shape[1], 0.8), generator=seeded(3)) + 5
    scaled = points if scaling == "none" else (points - points.mean(0)) / points.std(0)
    expected = PCA(svd_solver="full").fit(scaled.numpy()).explained_variance_[: min(shape[0] - 1, shape[1])]
    measured = Spectrum.of(points, scaling=scaling)
    assert measured.eigenvalues.numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert measured.explained_variance.numpy() == pytest.approx(np.cumsum(expected) / expected.sum())


@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from(SHAPES),
    scale=st.sampled_from([1e-12, 0.3, 1e12]),
    shift=st.floats(-1e3, 1e3),
)
@settings(max_examples=30, deadline=None)
def test_rotation_shift_scale_order_and_zero_features_change_nothing(
    seed: int, shape: tuple[int, int], scale: float, shift: float
) -> None:
    generator = seeded(seed)
    points = gaussian(shape[0], geometric_variances(shape[1], 0.7), generator=generator)
    moved = (points @ rotation(shape[1], generator=generator) + shift)[torch.randperm(shape[0], generator=generator)]
    moved = torch.cat([moved, torch.zeros(shape[0], 3, dtype=moved.dtype)], dim=1) * scale
    before, after = Spectrum.of(points), Spectrum.of(moved)
    n = len(before.eigenvalues)
    # a shift of 1,000 costs the points three of their sixteen digits
    assert (after.eigenvalues[:n] / scale**2).numpy() == pytest.approx(before.eigenvalues.numpy(), rel=1e-6, abs=1e-9)
    assert after.dimension(0.95) == before.dimension(0.95)
    assert after.participation_ratio() == pytest.approx(before.participation_ratio(), rel=1e-6)


@pytest.mark.parametrize("shape", [(9, 50), (50, 9)])
@pytest.mark.parametrize("scaling", ["none", "standardise"])
def test_blocks_give_what_the_whole_gives(
    shape: tuple[int, int], scaling: Scaling, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = gaussian(shape[0], torch.ones(shape[1]), generator=seeded(4)) + 100
    whole, scaled = Spectrum.of(points, scaling=scaling), standardise(points)
    monkeypatch.setattr(moments, "_BLOCK_ELEMENTS", 37)
    assert Spectrum.of(points, scaling=scaling).eigenvalues.numpy() == pytest.approx(
        whole.eigenvalues.numpy(), rel=1e-9
    )
    assert torch.allclose(standardise(points), scaled, rtol=1e-12)


@pytest.mark.parametrize("scaling", ["none", "standardise"])
@pytest.mark.parametrize("stacked", [1 << 20, 1000, 100])  # all at once, in several stacks, one by one
def test_a_batch_of_spectra_is_each_of_them(stacked: int, scaling: Scaling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "_STACKED", stacked)
    shapes = [(6, 30), (30, 6), *(7 * [(6, 30)]), (9, 30)]
    clouds = [torch.randn(*shape, generator=seeded(i)) + 5 for i, shape in enumerate(shapes)]
    clouds[2] = torch.full((6, 30), 3.3)
    for batched, cloud in zip(spectra(clouds, scaling=scaling), clouds, strict=True):
        alone = Spectrum.of(cloud, scaling=scaling)
        assert (batched.n_points, batched.n_features, batched.scaling) == (*cloud.shape, scaling)
        assert torch.allclose(batched.eigenvalues, alone.eigenvalues, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("stacked", [1 << 20, 100])
def test_sums_in_float32_lose_a_millionth_of_the_largest_variance(
    stacked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spectrum, "_STACKED", stacked)
    clouds = [torch.randn(20, 300, generator=seeded(i)) + 100 for i in range(3)]
    for rough, cloud in zip(spectra(clouds, dtype=torch.float32), clouds, strict=True):
        exact = Spectrum.of(cloud).eigenvalues
        assert torch.allclose(rough.eigenvalues, exact, rtol=0, atol=2e-6 * float(exact[0]))


@pytest.mark.parametrize(("bad", "words"), [(math.nan, "1 of 6 points hold NaN"), (1e30, "overflow")])
def test_one_bad_cloud_of_a_batch_is_refused(bad: float, words: str) -> None:
    clouds = [torch.randn(6, 30, generator=seeded(i)) for i in range(5)]
    clouds[3][2, 7] = bad
    with pytest.raises(GeometryError, match=words):
        spectra(clouds, dtype=torch.float32)


def test_a_gram_matrix_gives_what_its_points_give() -> None:
    points = gaussian(10, torch.ones(30), generator=seeded(5)) + 1
    from_gram = Spectrum.of_gram(points @ points.T, n_features=30)
    assert from_gram.eigenvalues.numpy() == pytest.approx(Spectrum.of(points).eigenvalues.numpy(), rel=1e-9)


def test_a_large_offset_in_float32_hides_no_variance() -> None:
    points = torch.randint(-4, 5, (200, 20), generator=seeded(6)).float()
    assert Spectrum.of(points + 2**20).eigenvalues.numpy() == pytest.approx(Spectrum.of(points).eigenvalues.numpy())


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
@pytest.mark.parametrize("scaling", ["none", "standardise"])
def test_a_constant_cloud_has_no_dimensions(shape: tuple[int, int], scaling: Scaling) -> None:
    constant = Spectrum.of(torch.full(shape, 1000.1), scaling=scaling)
    assert constant.total_variance == 0
    assert constant.dimension() == 0
    assert constant.participation_ratio() == 0
    assert constant.explained_variance.sum() == 0


def test_duplicated_points_and_two_points_have_their_rank() -> None:
    pair = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 5.0]])
    assert Spectrum.of(pair).dimension(1.0) == 1
    assert Spectrum.of(pair.repeat(10, 1)).dimension(1.0) == 1


@given(n=st.integers(2, 60), width=st.integers(1, 60), fraction=st.floats(0.01, 1.0), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_no_dimension_exceeds_its_ceiling(n: int, width: int, fraction: float, seed: int) -> None:
    equal = min(n - 1, width)
    for measured in (
        Spectrum(torch.ones(equal), n_points=n, n_features=width),
        Spectrum.of(gaussian(n, torch.ones(width), generator=seeded(seed))),
    ):
        assert 1 <= measured.dimension(fraction) <= measured.dimension_ceiling(fraction)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (torch.ones(1, 4), "at least 2"),
        (torch.zeros(0, 4), "at least one point"),
        (torch.ones(4), "expected \\(n_points, n_features\\)"),
        (torch.tensor([[1.0, math.nan], [0.0, 1.0]]), "1 of 2 points hold NaN"),
        (torch.tensor([[1e200, 0.0], [-1e200, 1.0]], dtype=torch.float64), "overflow"),
    ],
)
def test_points_that_cannot_be_measured_are_refused(points: torch.Tensor, words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        Spectrum.of(points)


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.01, math.nan])
def test_impossible_fractions_are_refused(fraction: float) -> None:
    spectrum = Spectrum(torch.ones(2), n_points=9, n_features=9)
    with pytest.raises(GeometryError, match="fraction"):
        spectrum.dimension(fraction)
    with pytest.raises(GeometryError, match="fraction"):
        spectrum.dimension_ceiling(fraction)


@pytest.mark.parametrize("eigenvalues", [[1.0, 2.0], [1.0, -1.0], [math.nan], [1.0] * 5])
def test_impossible_variances_are_refused(eigenvalues: list[float]) -> None:
    with pytest.raises(GeometryError, match="eigenvalues"):
        Spectrum(torch.tensor(eigenvalues), n_points=4, n_features=9)
