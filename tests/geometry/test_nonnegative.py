"""Nonnegative least squares: the answers of scipy's active set method, whoever finds them."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import nnls

from manifoldscope.geometry import nonnegative as module
from manifoldscope.geometry.nonnegative import EXACT, nonnegative_least_squares

SHAPES = {"wide": (12, 30), "square": (20, 20), "narrow": (30, 12), "one direction": (9, 1)}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("steps", [1, 20, 3000], ids=["one by one", "some of each", "together"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_agrees_with_an_active_set_method(shape: tuple[int, int], steps: int, signed: bool) -> None:
    points = torch.randn(3, *shape, dtype=torch.float64, generator=seeded(5))
    points[1] *= 30
    targets = torch.randn(3, shape[1], 40, dtype=torch.float64, generator=seeded(6))
    signs = torch.randn(3, shape[0], 40, generator=seeded(7)).sign().double() if signed else None
    weights, missed = nonnegative_least_squares(points, targets, signs=signs, steps=steps)
    assert float(module._violation(points, points @ targets, signs, weights).max()) <= 2 * EXACT
    signs = torch.ones_like(weights) if signs is None else signs
    assert bool((signs * weights >= 0).all())
    assert float(missed.max()) <= EXACT
    found = points.mT @ weights  # the weights themselves need not be unique
    for place in range(3):
        for problem in range(40):
            sign = signs[place, :, problem]
            exact, _ = nnls((sign[:, None] * points[place]).T.numpy(), targets[place, :, problem].numpy())
            nearest = points[place].T @ (sign * torch.from_numpy(exact))
            assert torch.allclose(found[place, :, problem], nearest, atol=2e-5 * float(targets.abs().max()))


@pytest.mark.parametrize("tolerance", [EXACT, -1.0], ids=["together", "one by one"])
def test_a_target_on_the_far_side_has_no_weights(tolerance: float) -> None:
    points = torch.rand(1, 5, 4, dtype=torch.float64, generator=seeded(1))
    weights, missed = nonnegative_least_squares(points, torch.full((1, 4, 2), -1.0).double(), tolerance=tolerance)
    assert not weights.any()
    assert not missed.any()


def test_the_penalty_finds_the_scale_of_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random labels of 40 classes in 200 dimensions: the first penalty, a mean eigenvalue, is ten times too large."""
    drawing = seeded(8)
    classes = torch.randn(40, 1, 200, dtype=torch.float64, generator=drawing)
    points = (classes + torch.randn(40, 20, 200, dtype=torch.float64, generator=drawing)).reshape(1, 800, 200)
    targets = torch.randn(1, 200, 30, dtype=torch.float64, generator=drawing)
    signs = torch.randn(1, 40, 30, generator=drawing).sign().double().repeat_interleave(20, 1)

    def missed() -> float:
        _, found = nonnegative_least_squares(points, targets, signs=signs, steps=200, tolerance=torch.inf)
        return float(found.median())

    followed = missed()
    monkeypatch.setattr(module, "_SETTLED", 0)
    assert followed < 0.2 * missed()
