"""OOD images: the area under the curve is the known one, and each distance sees what it should."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from manifoldscope.attacks.ood import ClassDistances, auroc, ood_detection
from manifoldscope.attacks.shifts import accuracy_by_class
from manifoldscope.errors import DataError
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import logits
from tests.attacks.networks import fitted, images

SCORES = st.lists(st.integers(0, 5), min_size=2, max_size=20)


@given(in_distribution=SCORES, ood=SCORES)
def test_auroc_is_that_of_scikit_learn_with_ties(in_distribution, ood):
    found = auroc(torch.tensor(in_distribution), torch.tensor(ood))
    expected = roc_auc_score([0] * len(in_distribution) + [1] * len(ood), in_distribution + ood)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    truth = float(torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(0.5**0.5)))  # means one deviation apart
    draws = [auroc(*torch.randn(2, 60, generator=generator) + torch.tensor([[0.0], [1.0]])) for _ in range(300)]
    held = sum(found.low <= truth <= found.high for found in draws) / len(draws)
    assert 0.90 <= held <= 0.985  # 95%, and three standard errors of 300 draws


def test_each_distance_is_that_of_a_flat_class():
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(4000, 3, generator=generator) * torch.tensor([4.0, 2.0, 1e-4])
    classes = ClassDistances.of([flat, flat + torch.tensor([100.0, 0, 0])], shrinkage=1e-6, explained_variance=0.999)
    points = torch.tensor([[8.0, 0.0, 0.0], [0.0, 0.0, 1.0], [100.0, 3.0, 4.0]])
    near = {"atol": 0.2, "rtol": 0.05}  # centroids and covariance of 4,000 points
    torch.testing.assert_close(classes.nearest_centroid(points).float(), torch.tensor([8.0, 1.0, 5.0]), **near)
    torch.testing.assert_close(classes.residual(points).float(), torch.tensor([0.0, 1.0, 4.0]), **near)
    assert classes.mahalanobis(points)[0].item() == pytest.approx(2, abs=0.1)
    assert classes.mahalanobis(points)[1] > 100


def test_ood_images_far_from_every_class_are_noticed_and_known_ones_are_a_coin_toss():
    every = images(80)
    train, in_distribution = every.subset(range(40)), every.subset(range(40, 80))
    network = fitted(train)
    ood = ImageSet.of(torch.zeros(20, 3, 8, 8), [0] * 20, source="black")
    table = ood_detection(network, train, in_distribution, ood, "penultimate")
    assert table["score"].to_list() == ["max_softmax", "nearest_centroid", "mahalanobis", "residual"]
    assert table.filter(score="nearest_centroid")["auroc"].item() == 1
    assert table.select("n_in_distribution", "n_ood").unique().row(0) == (40, 20)
    halves = ood_detection(
        network, train, in_distribution.subset(range(20)), in_distribution.subset(range(20, 40)), "penultimate"
    )
    assert halves["auroc"].is_between(0.2, 0.8).all()


def test_accuracy_is_counted_class_by_class():
    drawn = images()
    network = fitted(drawn, steps=0)
    table = accuracy_by_class(network, drawn)
    right = logits(network, drawn).argmax(1) == drawn.labels
    assert table["n_correct"].to_list() == [int(right[drawn.labels == label].sum()) for label in drawn.classes]
    assert table["n_images"].to_list() == [6] * 4


def test_what_cannot_be_compared_is_refused():
    drawn = images()
    with pytest.raises(DataError, match="expected none"):
        ood_detection(fitted(drawn, steps=0), drawn, drawn, drawn, "penultimate")
    with pytest.raises(DataError, match="expected at least 2"):
        auroc(torch.tensor([1.0]), torch.tensor([1.0, 2.0]))
    with pytest.raises(DataError, match="fewer than 2 images"):
        ClassDistances.of([torch.rand(1, 4)])


def test_in_a_layer_wider_than_the_points_distances_are_those_of_all_its_features():
    generator = torch.Generator().manual_seed(0)
    clouds = [torch.randn(6, 40, generator=generator) + shift for shift in (0.0, 3.0)]
    points = torch.randn(5, 40, generator=generator).double() * 2
    found = ClassDistances.of(clouds, shrinkage=0.2, explained_variance=0.8)
    assert found.centroids.shape == (2, 13)
    wide = [cloud.double() for cloud in clouds]
    centroids = torch.stack([cloud.mean(0) for cloud in wide])
    apart = torch.cat([cloud - centroid for cloud, centroid in zip(wide, centroids, strict=True)])
    covariance = apart.T @ apart / (12 - 2)
    shrunk = 0.8 * covariance + 0.2 * covariance.trace() / 40 * torch.eye(40)
    away = points[:, None] - centroids
    lengths = (away @ torch.linalg.inv(shrunk) * away).sum(2).sqrt().amin(1)
    torch.testing.assert_close(found.nearest_centroid(points), away.norm(dim=2).amin(1))
    torch.testing.assert_close(found.mahalanobis(points), lengths)
    nearest = away.norm(dim=2).argmin(1)
    for point, place, residual in zip(points, nearest.tolist(), found.residual(points), strict=True):
        _, singular, axes = torch.linalg.svd(wide[place] - centroids[place], full_matrices=False)
        n_axes = int((singular.square().cumsum(0) / singular.square().sum() < 0.8).sum()) + 1
        rest = (point - centroids[place]) - axes[:n_axes].T @ (axes[:n_axes] @ (point - centroids[place]))
        torch.testing.assert_close(residual, rest.norm())
