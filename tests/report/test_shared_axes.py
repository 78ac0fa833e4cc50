"""Axes that several classes share, and the shares of variance beside them, against a principal component analysis."""

from __future__ import annotations

import numpy as np
import pytest
from made_points import class_points

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.pictures import Picture
from manifoldscope.report.shared_axes import LayerPoints

FEATURES = 9


@pytest.mark.parametrize("chosen", [[0, 1], [3, 0, 2], [0, 1, 2, 3]])
def test_axes_and_shares_are_those_of_the_points_of_the_chosen_classes(chosen):
    full, picture = class_points(n_features=FEATURES, d=FEATURES)
    points = LayerPoints.of(picture)
    together = full[np.isin(points.place, chosen)]
    centred = together - together.mean(0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    found = points.shared_axes(chosen)
    shares = values**2 / (values**2).sum()
    np.testing.assert_allclose(found.shares, shares[:3], rtol=1e-9)
    assert found.spanned == pytest.approx(1.0)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(3), atol=1e-12)
    for axis, expected in zip(found.axes, vectors, strict=False):
        assert abs(axis @ expected) == pytest.approx(1.0)
        assert axis[np.argmax(np.abs(axis))] > 0
    np.testing.assert_allclose(found.centre, together.mean(0), atol=1e-12)


def test_within_fewer_axes_shares_are_still_of_the_variance_in_all_features():
    full, picture = class_points(n_features=FEATURES, d=4)
    points = LayerPoints.of(picture)
    found = points.shared_axes([0, 2])
    together = full[np.isin(points.place, [0, 2])]
    total = ((together - together.mean(0)) ** 2).sum()
    inside = together[:, :4] - together[:, :4].mean(0)
    values = np.linalg.svd(inside, compute_uv=False) ** 2
    np.testing.assert_allclose(found.shares, values[:3] / total, rtol=1e-9)
    assert found.spanned == pytest.approx(values.sum() / total)


def test_two_axes_leave_the_third_empty():
    _, picture = class_points(n_features=2, d=2)
    found = LayerPoints.of(picture).shared_axes([0, 1])
    assert found.shares[2] == 0
    assert not found.axes[2].any()


def test_what_tells_most_is_the_class_with_the_fewest_robust_images_and_its_nearest():
    _, picture = class_points(n_features=3, d=3)
    label = picture.arrays["label"]
    index = sorted(set(label.tolist()))
    adversarial = np.where(label == index[2], -1, label)
    arrays = {**picture.arrays, "prediction": label, "adversarial_prediction": adversarial}
    points = LayerPoints.of(Picture("points", picture.names, arrays))
    order = np.argsort(points.distances[2])
    assert points.telling(3) == [2, int(order[1]), int(order[2])]
    wrong = {**arrays, "prediction": np.where(label == index[2], -1, label)}  # misclassified before any attack
    assert LayerPoints.of(Picture("points", picture.names, wrong)).telling(1) == [0]


def test_arrays_that_do_not_fit_together_are_refused():
    _, picture = class_points(n_features=3, d=3)
    broken = Picture("points", picture.names, {**picture.arrays, "variance": np.ones(2)})
    with pytest.raises(ManifoldscopeError, match="expected a row for each of 46 images of 4 classes"):
        LayerPoints.of(broken)
