"""Neural collapse: a simplex of points, covariances in closed form, numpy's own computation, and what has no value."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry import (
    measure,
    nc1_variability,
    nearest_centroid_disagreement,
    self_duality,
    within_between_ratio,
)
from manifoldscope.geometry.reference import exactly, rotation
from tests.geometry.samples import seeded

NAMES = ["nc1_variability", "nc2_equinorm", "nc2_equiangularity", "nc4_nearest_centroid"]


def simplex(n_classes: int, n_features: int = 12) -> torch.Tensor:
    """(n_classes, n_features): a simplex equiangular tight frame, turned and moved."""
    frame = torch.eye(n_classes, n_features, dtype=torch.float64)
    return (frame - frame.mean(0)) @ rotation(n_features, generator=seeded(0)) + 3


def clusters(
    n_classes: int = 5, n_points: int = 20, n_features: int = 9, *, apart: float = 1.0, seed: int = 0
) -> list[torch.Tensor]:
    drawing = seeded(seed)
    centres = apart * torch.randn(n_classes, 1, n_features, dtype=torch.float64, generator=drawing)
    return list(centres + torch.randn(n_classes, n_points, n_features, dtype=torch.float64, generator=drawing))


@pytest.mark.parametrize("n_classes", [3, 4, 10])
def test_a_collapsed_simplex_has_none_of_the_four(n_classes: int) -> None:
    corners = simplex(n_classes)
    collapsed = [corner.expand(6, -1) for corner in corners]
    for name in NAMES:
        assert measure(name, collapsed).whole.value == pytest.approx(0, abs=1e-12)
    weights = 0.3 * (corners - corners.mean(0))
    assert self_duality(collapsed, weights) == pytest.approx(0, abs=1e-12)
    assert nearest_centroid_disagreement(collapsed, torch.arange(n_classes).repeat_interleave(6)) == 0


@pytest.mark.parametrize("n_classes", [3, 6])
def test_variability_in_closed_form(n_classes: int) -> None:
    """Corners of norm sqrt(1 - 1/C) have S_B = (1/C) on C - 1 axes; variance of 0.2 along all axes and 7 beyond them.

    So the trace is (C - 1) 0.2 C. Directions in which the centroids do not differ do not count.
    """
    n_features = n_classes + 3
    frame = torch.eye(n_classes, n_features, dtype=torch.float64)
    spread = torch.zeros(40, n_features, dtype=torch.float64)
    divisor = 39 / 40  # `exactly` has the divisor n - 1
    within = exactly(40, [0.2 / divisor] * n_classes, n_features=n_classes, generator=seeded(1))
    beyond = exactly(40, [7.0], n_features=3, generator=seeded(2))
    spread[:, :n_classes], spread[:, n_classes:] = within, beyond
    classes = [spread + corner for corner in frame]
    joint = nc1_variability(classes)
    assert [each.value for each in (joint.whole, *joint.classes)] == pytest.approx(
        [0.2 * (n_classes - 1)] * (1 + n_classes)
    )
    assert within_between_ratio(classes).whole.value > 7  # the total variances


@pytest.mark.parametrize("shape", [(5, 20, 9), (8, 12, 5), (4, 6, 40)], ids=["plain", "more classes", "wide"])
def test_variability_is_what_numpy_computes(shape: tuple[int, int, int]) -> None:
    classes = [each.numpy() for each in clusters(*shape)]
    means = np.stack([each.mean(0) for each in classes])
    within = np.mean([np.cov(each.T, bias=True) for each in classes], axis=0)
    between = np.cov(means.T, bias=True)
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-3, hermitian=True)) / len(classes)
    assert nc1_variability(classes).whole.value == pytest.approx(expected, rel=1e-9)


def test_small_directions_between_centroids_are_left_out_and_told() -> None:
    centres = torch.tensor([[3.0, 0, 0], [-3, 0.01, 0], [0, -0.01, 0]])
    classes = [centre + each for centre, each in zip(centres, clusters(3, 50, 3, apart=0), strict=True)]
    classes = [each - each.mean(0) + centre for centre, each in zip(centres, classes, strict=True)]
    cut, whole = nc1_variability(classes).whole, nc1_variability(classes, cut=0.0).whole
    assert cut.note == "1 of 2 directions between centroids are left out"
    assert not whole.note
    assert whole.value > 1000 * cut.value
    with pytest.raises(GeometryError, match="cut = 1"):
        nc1_variability(classes, cut=1.0)


def test_norms_and_angles_in_closed_form() -> None:
    cross = [torch.tensor([place] * 4) for place in ([2.0, 0], [-2.0, 0], [0, 1.0], [0, -1.0])]  # mean 0
    assert measure("nc2_equinorm", cross).whole.value == pytest.approx(0.5 / 1.5)
    joint = measure("nc2_equiangularity", cross)
    # two pairs are opposite, four at right angles; a simplex of four has -1/3
    assert joint.whole.value == pytest.approx((2 * 2 / 3 + 4 * 1 / 3) / 6)
    assert joint.pairs[0, 1].value == pytest.approx(2 / 3)
    assert joint.classes[0].value == pytest.approx((2 / 3 + 2 * 1 / 3) / 3)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_changes_with_rotation_shift_and_scale(name: str) -> None:
    classes = clusters(apart=0.5)
    turn = rotation(9, generator=seeded(3))
    before, after = (
        measure(name, each).whole.value for each in (classes, [1e3 * (each @ turn) + 500 for each in classes])
    )
    assert before > 0.01
    assert after == pytest.approx(before, rel=1e-9)


def test_points_nearer_to_another_centroid_are_counted() -> None:
    classes = clusters(apart=0.5, n_points=30)
    means = torch.stack([each.mean(0) for each in classes])
    nearest = torch.cdist(torch.cat(classes), means).argmin(1)
    wrong = (nearest != torch.arange(5).repeat_interleave(30)).double()
    joint = measure("nc4_nearest_centroid", classes)
    assert joint.whole.value == pytest.approx(float(wrong.mean()))
    assert [each.value for each in joint.classes] == pytest.approx(wrong.reshape(5, 30).mean(1).tolist())
    assert nearest_centroid_disagreement(classes, nearest) == 0
    assert nearest_centroid_disagreement(classes, torch.where(torch.arange(150) < 15, -1, nearest)) == 0.1
    for predictions, words in ((nearest[1:], r"shape \(149,\)"), (nearest.double(), "float64")):
        with pytest.raises(GeometryError, match=words):
            nearest_centroid_disagreement(classes, predictions)


def test_a_tie_counts_as_the_own_class() -> None:
    same = [torch.randn(9, 4, generator=seeded(1))] * 3
    assert measure("nc4_nearest_centroid", same).whole.value == 0


def test_self_duality_is_a_distance_of_unit_matrices() -> None:
    classes = [corner.expand(4, -1) for corner in simplex(4)]
    own = simplex(4) - simplex(4).mean(0)
    assert self_duality(classes, -2 * own) == pytest.approx(2)
    assert self_duality([each + 5 for each in classes], own) == pytest.approx(0, abs=1e-9)
    other = torch.zeros_like(own)
    other[0] = torch.linalg.svd(own).Vh[-1]  # at right angles to all centroids
    assert self_duality(classes, other) == pytest.approx(math.sqrt(2))
    with pytest.raises(GeometryError, match=r"expected a row per class, \(4, 12\)"):
        self_duality(classes, own[:3])
    with pytest.raises(GeometryError, match="all weights are 0"):
        self_duality(classes, 0 * own)
    with pytest.raises(GeometryError, match="same centroid"):
        self_duality([classes[0]] * 4, own)


@pytest.mark.parametrize("name", NAMES)
def test_one_class_or_one_centroid_has_no_value_and_a_reason(name: str) -> None:
    with pytest.raises(GeometryError, match="compares classes, and there is 1"):
        measure(name, [torch.eye(3)])
    if name == "nc4_nearest_centroid":
        return
    whole = measure(name, [torch.randn(9, 4, generator=seeded(1)) + 1000] * 3).whole
    assert math.isnan(whole.value)
    assert "same centroid" in whole.note or "no direction" in whole.note
