"""A joint measure against the number of classes: theory where there is one, and what cannot be drawn."""

from __future__ import annotations

import math

import pytest
import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import ball_capacity, class_curve, measure
from manifoldscope.geometry.reference import sphere
from tests.geometry.samples import seeded


def points(n_classes: int) -> list[torch.Tensor]:
    return list(torch.randn(n_classes, 1, 3000, generator=seeded(0)).expand(-1, 2, -1))


def circles(n_classes: int) -> list[torch.Tensor]:
    """In planes and at centroids at right angles to those of all others, all centroids of norm 1."""
    axes = torch.eye(3 * n_classes, dtype=torch.float64).reshape(n_classes, 3, -1)
    return [own[0] + 0.5 * sphere(60, 1, generator=seeded(place)) @ own[1:] for place, own in enumerate(axes)]


@pytest.mark.parametrize("name", ["capacity", "effective_capacity"])
def test_the_capacity_of_points_does_not_depend_on_their_number(name: str) -> None:
    found = class_curve(name, points(32), numbers=(8, 16, 32), draws=4, generator=seeded(1))
    assert found.numbers == (8, 16, 32)
    # 200 draws of labels: 4% at 8 classes for one draw of these, and half that for the mean of four
    assert found.mean == pytest.approx((2, 2, 2), rel=0.08)


def test_the_capacity_of_unrelated_circles_is_that_of_one() -> None:
    found = class_curve("capacity", circles(16), numbers=(4, 8, 16), draws=3, generator=seeded(2))
    for number, mean in zip(found.numbers, found.mean, strict=True):
        seen = math.sqrt(1 - 1 / number)  # the norm of a centroid from the mean of all
        assert mean == pytest.approx(ball_capacity(0.5 / seen, 2), rel=0.08)  # 300 directions: 5% for each class


def test_classes_that_share_their_axes_cost_less_the_more_there_are() -> None:
    shared = torch.randn(2, 300, generator=seeded(3))
    clouds = list(
        torch.randn(16, 1, 300, generator=seeded(4)) + 2 * torch.randn(16, 8, 2, generator=seeded(5)) @ shared
    )
    found = class_curve("effective_capacity", clouds, numbers=(2, 16), draws=4, generator=seeded(6))
    assert found.mean[1] > 1.5 * found.mean[0]  # one readout is free of the two shared axes for all of them


def test_numbers_are_powers_of_two_and_all() -> None:
    clouds = [torch.randn(6, 20, generator=seeded(place)) + place for place in range(11)]
    found = class_curve("centroid_distance", clouds, draws=5, generator=seeded(7))
    assert found.numbers == (2, 4, 8, 11)
    assert found.mean[-1] == pytest.approx(measure("centroid_distance", clouds).whole.value)
    assert found.standard_deviation[-1] == 0
    assert all(each > 0 for each in found.standard_deviation[:-1])
    assert (found.n_classes, found.n_points, found.n_features, found.draws) == (11, 66, 20, 5)
    again = class_curve("centroid_distance", clouds, draws=5, generator=seeded(7))
    assert again == found
    scaled = class_curve("centroid_distance", clouds, numbers=(11,), scaling="standardise", generator=seeded(7))
    assert scaled.parameters["scaling"] == "standardise"
    assert class_curve("capacity", clouds[:2], generator=seeded(7), directions=9).numbers == (2,)


def test_what_cannot_be_drawn_is_refused_or_has_a_reason() -> None:
    clouds = [torch.randn(6, 4, generator=seeded(place)) for place in range(3)]
    for numbers in ((1, 2), (4,), ()):
        with pytest.raises(GeometryError, match="expected from 2 to 3, each class once"):
            class_curve("capacity", clouds, numbers=numbers, generator=seeded(0))
    with pytest.raises(GeometryError, match="draws = 0"):
        class_curve("capacity", clouds, draws=0, generator=seeded(0))
    with pytest.raises(GeometryError, match="expected a joint measure and a list of classes"):
        class_curve("two_nn", clouds, generator=seeded(0))
    with pytest.raises(GeometryError, match="expected a joint measure and a list of classes"):
        class_curve("capacity", clouds[0], generator=seeded(0))
    found = class_curve("within_between_ratio", [clouds[0]] * 3, generator=seeded(0))
    assert all(math.isnan(mean) for mean in found.mean)
    assert "2 classes: all classes have the same centroid" in found.note
