"""What every registered measure keeps to, and the notes that go with a value."""

from __future__ import annotations

import doctest
import importlib
import inspect
import math
import pkgutil

import pytest
import torch

import manifoldscope.geometry
from manifoldscope.errors import GeometryError, StudyError
from manifoldscope.geometry import (
    MEASURES,
    NEAR_CEILING,
    ClassManifold,
    Estimate,
    Spectrum,
    feature_correlation,
    measure,
    with_half_sample_note,
)
from manifoldscope.geometry.reference import gaussian, geometric_variances, rotation

MODULES = sorted(module.name for module in pkgutil.iter_modules(manifoldscope.geometry.__path__))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"manifoldscope.geometry.{module}"))
    assert result.attempted or module == "__init__"
    assert not result.failed


@pytest.mark.parametrize("name", MEASURES.names())
class TestEveryMeasure:
    def test_is_documented_with_an_example(self, name: str) -> None:
        text = inspect.getdoc(MEASURES[name].target) or ""
        assert MEASURES[name].summary.endswith(".")
        assert "Example:" in text
        assert ">>>" in text
        assert MEASURES[name].traits["reads"] in ("spectrum", "points")

    @pytest.mark.parametrize("shape", [(12, 30), (40, 8)])
    def test_is_invariant(self, name: str, shape: tuple[int, int]) -> None:
        points = gaussian(shape[0], geometric_variances(shape[1], 0.8), generator=seeded(0))
        moved = points @ rotation(shape[1], generator=seeded(1)) * 7 + 3
        moved = torch.cat([moved.flip(0), torch.zeros(shape[0], 2, dtype=moved.dtype)], dim=1)
        assert measure(name, moved).value == pytest.approx(measure(name, points).value, rel=1e-6)

    @pytest.mark.parametrize(
        "points",
        [torch.ones(5, 3), torch.eye(2), torch.eye(3).repeat(2, 1), torch.randn(30, 4, generator=seeded(2))],
        ids=["constant", "two points", "duplicates", "ordinary"],
    )
    def test_is_finite_or_says_why_and_keeps_its_ceiling(self, name: str, points: torch.Tensor) -> None:
        estimate = measure(name, points)
        assert math.isfinite(estimate.value) or estimate.note
        assert (estimate.n_points, estimate.n_features) == tuple(points.shape)
        if estimate.ceiling is not None:
            assert estimate.value <= estimate.ceiling * (1 + 1e-9)

    def test_refuses_one_point(self, name: str) -> None:
        with pytest.raises(GeometryError, match="2 images"):
            measure(name, torch.ones(1, 3))

    def test_records_its_parameters_and_a_scaling(self, name: str) -> None:
        points = torch.randn(9, 4, generator=seeded(3))
        plain, scaled = measure(name, points), measure(name, points, scaling="standardise")
        assert set(plain.parameters) == set(MEASURES[name].settings.model_fields)
        assert dict(scaled.parameters) == {**plain.parameters, "scaling": "standardise"}


def test_points_manifold_and_spectrum_give_the_same_estimate() -> None:
    points = torch.randn(20, 50, generator=seeded(4))
    spectrum = Spectrum.of(points, scaling="standardise")
    expected = measure("pca_dimension", points, scaling="standardise", fraction=0.5)
    assert measure("pca_dimension", ClassManifold(points), scaling="standardise", fraction=0.5) == expected
    assert measure("pca_dimension", spectrum, fraction=0.5) == expected
    with pytest.raises(GeometryError, match="scaling"):
        measure("pca_dimension", Spectrum.of(points), scaling="standardise")


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(StudyError, match="pca_dimension"):
        measure("pca_dimensions", torch.eye(3))
    with pytest.raises(StudyError, match="fraction"):
        measure("pca_dimension", torch.eye(3), fractions=0.9)


def test_a_value_near_its_ceiling_is_noted() -> None:
    sampled = measure("pca_dimension", gaussian(50, torch.ones(2048), generator=seeded(5)))
    assert sampled.ceiling == 47
    assert "the most that 50 points can show: it describes the sample" in sampled.note
    wide = measure("pca_dimension", gaussian(400, torch.ones(4), generator=seeded(5)))
    assert "the most that 4 features can show: it describes the width of the layer" in wide.note
    low = measure("pca_dimension", gaussian(400, geometric_variances(40, 0.5), generator=seeded(5)))
    assert low.value < NEAR_CEILING * low.ceiling
    assert not low.note


def test_a_constant_class_is_noted_once() -> None:
    assert measure("pca_dimension", torch.ones(5, 3)).note.startswith("all points are the same")


def test_a_nan_needs_a_reason() -> None:
    with pytest.raises(GeometryError, match="without a note"):
        Estimate(math.nan, n_points=3, n_features=3)


@pytest.mark.parametrize("name", ["pca_dimension", "participation_ratio"])
def test_a_value_that_the_sample_size_makes_is_noted(name: str) -> None:
    def note(points: torch.Tensor) -> str:
        estimate = measure(name, points)
        return with_half_sample_note(estimate, name, points, generator=seeded(7)).note

    assert "when half of the points are left out" in note(gaussian(60, torch.ones(500), generator=seeded(6)))
    assert not note(gaussian(400, geometric_variances(60, 0.6), generator=seeded(6)))


@pytest.mark.parametrize("n_points", [2, 3])
def test_too_few_points_to_halve_get_no_note(n_points: int) -> None:
    points = torch.randn(n_points, 9, generator=seeded(8))
    estimate = measure("participation_ratio", points)
    assert with_half_sample_note(estimate, "participation_ratio", points, generator=seeded(9)) == estimate


def test_feature_correlation_matches_numpy_and_its_chance_level() -> None:
    points = gaussian(50, torch.ones(300), generator=seeded(10))
    points[:, 7] = 4.0
    result = feature_correlation(points)
    expected = torch.corrcoef(points[:, result.features].T)
    assert torch.allclose(result.matrix, expected)
    assert result.n_constant == 1
    assert 7 not in result.features
    assert result.chance == pytest.approx(math.sqrt(2 / (math.pi * 49)), rel=0.01)  # its large-sample form
    assert result.mean_absolute == pytest.approx(result.chance, rel=0.03)  # 44,551 pairs
    assert feature_correlation(points, n_features=10, generator=seeded(0)).matrix.shape == (10, 10)


def test_feature_correlation_of_a_constant_class_says_why_there_is_none() -> None:
    result = feature_correlation(torch.ones(5, 4))
    assert result.matrix.shape == (0, 0)
    assert math.isnan(result.mean_absolute)
    assert "0 of 4 features vary" in result.note
    with pytest.raises(GeometryError, match="2 images"):
        feature_correlation(torch.ones(1, 4))
