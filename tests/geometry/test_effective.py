"""Effective and simulated capacity: each checks the other, also where manifolds are correlated and theory is not."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import ball_capacity, effective_geometry, mean_field_geometry, measure, simulate_capacity
from manifoldscope.geometry.reference import sphere
from manifoldscope.geometry.separability import is_separable

module = importlib.import_module("manifoldscope.geometry.effective")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uncorrelated(seed: int = 0) -> list[torch.Tensor]:
    drawing = seeded(seed)
    centres = torch.randn(20, 1, 200, generator=drawing)
    return list(centres + 0.5 * torch.randn(20, 10, 200, generator=drawing))


def with_common_axes(seed: int = 0) -> list[torch.Tensor]:
    """Every class varies along the same three directions, so that one readout is free of the variation of all."""
    drawing = seeded(seed)
    centres, shared = torch.randn(20, 1, 200, generator=drawing), torch.randn(3, 200, generator=drawing)
    return list(centres + 1.5 * torch.randn(20, 10, 3, generator=drawing) @ shared)


@pytest.mark.parametrize("draw", [uncorrelated, with_common_axes])
def test_effective_capacity_is_what_simulation_finds(draw) -> None:
    found = effective_geometry(draw(), directions=200)
    simulated = simulate_capacity(draw(), dichotomies=60)
    error = 3 * found.capacity_error
    assert simulated.low - error < found.capacity < simulated.high + error
    assert found.missed < 1e-3


def test_mean_field_theory_misses_correlations_that_effective_capacity_sees() -> None:
    related, theory = effective_geometry(with_common_axes()).capacity, mean_field_geometry(with_common_axes()).capacity
    assert related > 2 * theory
    free = effective_geometry(uncorrelated())
    # 200 draws: a standard error of 2% each
    assert mean_field_geometry(uncorrelated()).capacity == pytest.approx(free.capacity, rel=0.1)


def test_points_have_a_capacity_of_two() -> None:
    points = torch.randn(60, 1, 2000, generator=seeded(1)).expand(-1, 2, -1)
    found = effective_geometry(list(points), directions=400)
    assert found.capacity == pytest.approx(2, abs=4 * found.capacity_error + 2 / 60)  # one dimension went to the mean
    assert found.dimension == pytest.approx(0, abs=1e-6)
    few = simulate_capacity(list(points[:30]), dichotomies=60)
    assert few.low <= 2.1
    assert few.high >= 1.9


def test_dense_balls_have_the_capacity_of_balls() -> None:
    drawing = seeded(2)
    clouds = []
    for _ in range(16):
        axes = torch.linalg.qr(torch.randn(300, 3, dtype=torch.float64, generator=drawing)).Q.T
        clouds.append(axes[0] + sphere(40, 1, generator=drawing) @ axes[1:])
    found = effective_geometry(clouds, directions=200)
    # forty points of a circle miss its radius by 0.3%; sixteen centres seen from their mean are 3% nearer
    assert found.capacity == pytest.approx(ball_capacity(1.0, 2), rel=0.08)
    assert found.radius == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("n_features", [200, 12], ids=["wide", "more classes than features"])
def test_utility_radius_and_dimension_make_up_the_capacity(n_features: int) -> None:
    drawing = seeded(10)
    centres = torch.randn(20, 1, n_features, generator=drawing)
    found = effective_geometry(list(centres + 0.3 * torch.randn(20, 8, n_features, generator=drawing)), directions=60)
    assert found.utility * (1 + found.radius**-2) / found.dimension == pytest.approx(found.capacity, rel=1e-6)
    assert 0 < found.utility < 1
    assert bool(((found.radii > 0) & found.radii.isfinite()).all())


def test_problems_that_do_not_converge_are_solved_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = effective_geometry(uncorrelated(), directions=20)
    monkeypatch.setattr(module, "_STEPS", 1)
    found = effective_geometry(uncorrelated(), directions=20)
    assert found.missed == 0
    assert found.capacity == pytest.approx(expected.capacity, rel=1e-6)
    assert found.radius == pytest.approx(expected.radius, rel=1e-4)  # anchor points are less certain than their sum


def test_labels_that_cannot_be_separated_leave_a_bound_that_says_so() -> None:
    """The projection of t has no more dimensions than the points: then the value is of the layer's width."""
    same = [torch.randn(9, 4, generator=seeded(11))] * 3
    crowded = [torch.randn(30, 5, generator=seeded(place)) for place in range(12)]
    for clouds, least in ((same, 3 / 4), (crowded, 12 / 5)):
        whole = measure("effective_capacity", clouds).whole
        assert whole.value == pytest.approx(least, abs=4 * whole.stderr)
        assert f"within 10% of {least:.3g}, the least that {len(clouds)} classes can show" in whole.note
    assert not measure("effective_capacity", uncorrelated()).whole.note


def test_the_values_of_the_classes_are_parts_of_the_whole() -> None:
    found = effective_geometry(uncorrelated(), directions=100)
    assert float(1 / (1 / found.capacities).mean()) == pytest.approx(found.capacity, rel=1e-6)  # harmonic
    assert float(found.dimensions.mean()) == pytest.approx(found.dimension)


def test_alignments_see_what_is_shared() -> None:
    drawing = seeded(4)
    plain = torch.randn(10, 15, 300, generator=drawing) * 0.5 + torch.randn(10, 1, 300, generator=drawing)
    line = torch.randn(300, generator=drawing)
    centres = plain + 3 * torch.randn(10, 1, 1, generator=drawing) * line
    axes = plain + 3 * torch.randn(10, 15, 1, generator=drawing) * line
    for of, clouds in (("centres", centres), ("axes", axes)):
        shared = measure("effective_alignment", list(clouds), of=of).whole.value
        assert shared > 2 * measure("effective_alignment", list(plain), of=of).whole.value
    pairs = measure("effective_alignment", list(plain)).pairs
    assert list(pairs)[:2] == [(0, 1), (0, 2)]
    assert len(pairs) == 45


@given(seed=st.integers(0, 10_000), n_points=st.integers(2, 60), n_features=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_separability_is_what_a_linear_program_says(seed: int, n_points: int, n_features: int) -> None:
    signed = torch.randn(n_points, n_features, dtype=torch.float64, generator=seeded(seed)).numpy()
    program = linprog(np.zeros(n_features), A_ub=-signed, b_ub=-np.ones(n_points), bounds=(None, None), method="highs")
    assert is_separable(signed) == (program.status == 0)


def test_separability_is_decided_exactly() -> None:
    circle = sphere(8, 1, generator=seeded(8)).numpy()
    assert not is_separable(np.concatenate([circle, -circle]))
    assert not is_separable(np.concatenate([circle, np.zeros((1, 2))]))
    # a margin of about a ten-thousandth to either side of none
    for shift, expected in ((1 + 1e-4, True), (math.cos(math.pi / 1000) - 1e-4, False)):
        around = np.linspace(0, 2 * math.pi, 1001)[:-1]
        assert is_separable(np.stack([shift + np.cos(around), np.sin(around)], 1)) is expected


def test_what_has_no_capacity_is_refused_or_has_a_reason() -> None:
    one = torch.randn(5, 4, generator=seeded(9))
    for function in (effective_geometry, simulate_capacity):
        with pytest.raises(GeometryError, match="at least two classes"):
            function([one])
    with pytest.raises(GeometryError, match="all points of all classes are the same"):
        effective_geometry([torch.ones(3, 4), torch.ones(3, 4)])
    with pytest.raises(GeometryError, match="directions = 1"):
        effective_geometry([one, one + 1], directions=1)
    with pytest.raises(GeometryError, match="dichotomies = 0"):
        simulate_capacity([one, one + 1], dichotomies=0)
    with pytest.raises(GeometryError, match="expected at least half"):
        simulate_capacity([torch.randn(40, 3, generator=seeded(i)) for i in range(4)], dichotomies=20)
    assert math.isfinite(measure("effective_capacity", [one, one + 1]).whole.value)


def test_a_class_whose_terms_come_to_less_than_nothing_has_no_value_and_a_reason() -> None:
    """Three classes on the same axes: what one takes is given by the others, and may be below 0."""
    clouds = [torch.randn(12, 30, generator=seeded(place)) * 0.8 ** torch.arange(30) for place in range(3)]
    joint = measure("effective_capacity", clouds)
    without = [estimate for estimate in joint.classes if math.isnan(estimate.value)]
    assert without
    assert all("outweighed by those of the other classes" in estimate.note for estimate in without)
    assert math.isfinite(joint.whole.value)


def test_simulated_capacity_as_a_measure_is_of_the_whole_layer() -> None:
    found = simulate_capacity(uncorrelated(), dichotomies=30)
    joint = measure("simulated_capacity", uncorrelated(), dichotomies=30)
    assert joint.whole.value == pytest.approx(found.capacity)
    assert joint.whole.stderr == pytest.approx((found.high - found.low) / 4)
    assert not joint.classes
    crowded = measure("simulated_capacity", [torch.randn(40, 3, generator=seeded(i)) for i in range(4)])
    assert math.isnan(crowded.whole.value)
    assert "separable with all 3 features" in crowded.whole.note
