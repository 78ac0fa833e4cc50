"""What everything that draws from a sample shares: bad points are refused, and a scaling belongs to its draw."""

from __future__ import annotations

import math

import pytest
import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import (
    Clouds,
    curve,
    equal_sizes,
    extrapolate,
    gaussian_null,
    measure,
    measure_at,
    reliability,
    shuffled_labels,
    subsampled,
)
from tests.geometry.samples import seeded


def test_points_that_cannot_be_measured_are_refused_by_all() -> None:
    bad = torch.full((8, 3), math.nan)
    for call in (
        lambda points: subsampled(points, ["two_nn"], generator=seeded(0)),
        lambda points: curve("two_nn", points, generator=seeded(0)),
        lambda points: measure_at("two_nn", points, n_points=4, generator=seeded(0)),
        lambda points: gaussian_null("two_nn", points, generator=seeded(0)),
        lambda points: extrapolate("participation_ratio", points, n_points=9, generator=seeded(0)),
        lambda points: reliability("two_nn", [points] * 3, generator=seeded(0)),
        lambda points: shuffled_labels("two_nn", [points] * 3, generator=seeded(0)),
        lambda points: equal_sizes([points], generator=seeded(0)),
    ):
        with pytest.raises(GeometryError, match="NaN or infinity"):
            call(bad)


def test_a_scaling_is_made_anew_for_every_draw_and_recorded() -> None:
    points = torch.randn(40, 5, generator=seeded(0)) * torch.tensor([1.0, 1.0, 1.0, 1.0, 100.0])
    found = curve("participation_ratio", points, sizes=(40,), scaling="standardise", generator=seeded(1))
    assert found.mean[0] == pytest.approx(measure("participation_ratio", points, scaling="standardise").value)
    assert found.parameters == {"scaling": "standardise"}
    null = gaussian_null("participation_ratio", points, scaling="standardise", generator=seeded(1))
    assert null.z > -3
    (estimate,) = subsampled(Clouds([points], scaling="standardise"), ["participation_ratio"], generator=seeded(1))
    assert estimate.classes[0].stderr > 0
