"""Out-of-distribution (OOD) images: whether a network tells them from those of the classes that it was trained on.

An OOD image is of no class that the network was trained on. It is told from an in-distribution one by a score: the
largest softmax probability, or the distance of its activation from the class manifolds of one layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from scipy import stats
from torch import Tensor

from manifoldscope.errors import DataError
from manifoldscope.vision.activations import activations
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, logits

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class AUROC:
    """The chance that an OOD image scores higher than an in-distribution one, ties counting half.

    Attributes:
        value: 0.5 is chance level, 1 separates them perfectly.
        low, high: an interval at 95%, by the variance of DeLong et al. 1988, cut to [0, 1]. It has no width where
            the scores do not overlap at all.
    """

    value: float
    low: float
    high: float


def auroc(in_distribution: Tensor, ood: Tensor) -> AUROC:
    """Area under the receiver operating characteristic, by ranks (DeLong et al. 1988).

    Args:
        in_distribution, ood: (n,) and (m,) scores, higher for images that look out-of-distribution.

    Raises:
        DataError: fewer than two scores of either, or scores that are not finite.

    Example:
        >>> round(auroc(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([2.0, 3.0])).value, 4)
        0.9167
    """
    for what, scores in (("in-distribution", in_distribution), ("OOD", ood)):
        if len(scores) < 2 or not bool(torch.isfinite(scores).all()):
            raise DataError(f"{len(scores)} scores of {what} images; expected at least 2, all of them finite")
    n, m = len(in_distribution), len(ood)
    negative, positive = in_distribution.double().cpu(), ood.double().cpu()
    ranks = torch.from_numpy(stats.rankdata(torch.cat([positive, negative]).numpy()))
    above = (ranks[:m] - torch.from_numpy(stats.rankdata(positive.numpy()))) / n  # for each OOD image
    below = 1 - (ranks[m:] - torch.from_numpy(stats.rankdata(negative.numpy()))) / m  # for each in-distribution one
    value = float(above.mean())
    half = float(stats.norm.ppf((1 + _CONFIDENCE) / 2) * (above.var() / m + below.var() / n).sqrt())
    return AUROC(value, max(0.0, value - half), min(1.0, value + half))


@dataclass(frozen=True, eq=False)
class _Span:
    """The affine span of some points: an origin (n_features,), and orthonormal axes (n_features, n_axes)."""

    origin: Tensor
    axes: Tensor

    @classmethod
    def of(cls, points: Sequence[Tensor]) -> _Span:
        every = torch.cat([cloud.double() for cloud in points])
        origin = every.mean(0)
        return cls(origin, torch.linalg.qr((every - origin).T).Q)

    def __call__(self, points: Tensor) -> Tensor:
        """(n, n_axes + 1): coordinates within the span, and the length of what lies outside."""
        away = points.double() - self.origin
        inside = away @ self.axes
        outside = torch.linalg.vector_norm(away - inside @ self.axes.T, dim=1, keepdim=True)
        return torch.cat([inside, outside], 1)


@dataclass(frozen=True, eq=False)
class ClassDistances:
    """How far points lie from the classes of one layer; scores are higher the farther away.

    Where a layer has more features than there are points, distances are computed in the span of the points, with one
    coordinate more for the length of what lies outside it: they are the same, and no matrix has the side of the layer.

    Attributes:
        centroids: (n_classes, n_coordinates) means of the classes.
        precision_root: (n_coordinates, n_coordinates) W, so that |W x| is the Mahalanobis length under the covariance
            within classes, shared by all of them and shrunk towards a multiple of the identity.
        axes: for each class, (n_coordinates, k) orthonormal directions that hold its variance.
        span: brings points to these coordinates; None where the coordinates are the features.
    """

    centroids: Tensor
    precision_root: Tensor
    axes: tuple[Tensor, ...]
    span: _Span | None = None

    @classmethod
    def of(
        cls, points: Sequence[Tensor], *, shrinkage: float = 0.1, explained_variance: float = 0.95
    ) -> ClassDistances:
        """The classes with these points.

        Args:
            points: one tensor per class, (n_points, n_features), floating point.
            shrinkage: the share of the identity in the shared covariance, above 0 and up to 1.
            explained_variance: the share of a class's variance that its own axes hold, above 0 and below 1.

        Raises:
            DataError: a class of fewer than two points, points that do not vary, or a share out of its range.
        """
        if not (0 < shrinkage <= 1 and 0 < explained_variance < 1):
            raise DataError(
                f"shrinkage = {shrinkage}, explained_variance = {explained_variance}; expected above 0, up to 1 and "
                "below 1"
            )
        if not points or min(map(len, points)) < 2:
            raise DataError(f"the smallest of {len(points)} classes has fewer than 2 images; expected at least 2 each")
        n_features = points[0].shape[1]
        span = _Span.of(points) if n_features > sum(map(len, points)) else None
        clouds = [cloud.double() if span is None else span(cloud) for cloud in points]
        centroids = torch.stack([cloud.mean(0) for cloud in clouds])
        apart = torch.cat([cloud - centroid for cloud, centroid in zip(clouds, centroids, strict=True)])
        if not bool(apart.any()):
            raise DataError("the points of every class are all alike; distances within classes have no unit")
        covariance = apart.T @ apart / (len(apart) - len(clouds))
        level = covariance.trace() / n_features
        shrunk = (1 - shrinkage) * covariance + shrinkage * level * torch.eye(len(covariance), dtype=torch.float64)
        variances, directions = torch.linalg.eigh(shrunk)
        root = (directions / variances.sqrt()).T
        axes = tuple(
            _axes(cloud - centroid, explained_variance) for cloud, centroid in zip(clouds, centroids, strict=True)
        )
        return cls(centroids, root, axes, span)

    def _coordinates(self, points: Tensor) -> Tensor:
        return points.double() if self.span is None else self.span(points)

    def nearest_centroid(self, points: Tensor) -> Tensor:
        """(n,) Euclidean distance to the nearest class centroid, in units of the activations."""
        return torch.cdist(self._coordinates(points), self.centroids).amin(1)

    def mahalanobis(self, points: Tensor) -> Tensor:
        """(n,) Mahalanobis distance to the nearest class centroid (Lee et al. 2018, whose score is its square)."""
        root = self.precision_root.T
        return torch.cdist(self._coordinates(points) @ root, self.centroids @ root).amin(1)

    def residual(self, points: Tensor) -> Tensor:
        """(n,) length of what lies outside the own subspace of the class with the nearest centroid."""
        away = self._coordinates(points)
        nearest = torch.cdist(away, self.centroids).argmin(1)
        away = away - self.centroids[nearest]
        for place, axes in enumerate(self.axes):
            mine = nearest == place
            away[mine] -= away[mine] @ axes @ axes.T
        length: Tensor = torch.linalg.vector_norm(away, dim=1)
        return length


def _axes(centred: Tensor, explained_variance: float) -> Tensor:
    """(n_features, k): the fewest principal axes that hold this share of the variance."""
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    shares = singular.square().cumsum(0) / singular.square().sum().clamp_min(torch.finfo(torch.float64).tiny)
    axes: Tensor = directions[: int((shares < explained_variance).sum()) + 1].T
    return axes


def ood_detection(
    network: Network,
    in_distribution_train: ImageSet,
    in_distribution: ImageSet,
    ood: ImageSet,
    layer: str,
    *,
    shrinkage: float = 0.1,
    explained_variance: float = 0.95,
    batch_size: int = 128,
) -> pl.DataFrame:
    """How well scores tell OOD images from in-distribution ones.

    The scores are the negative of the largest softmax probability (Hendrycks & Gimpel 2017), and three distances to
    the classes of a layer (see `ClassDistances`): to the nearest centroid, the Mahalanobis distance (Lee et al. 2018),
    and the residual outside the nearest class's own subspace. Nothing is fitted to OOD images.

    Args:
        in_distribution_train: images of the trained classes from which centroids, covariance and subspaces are
            computed.
        in_distribution: other images of those classes.
        ood: images of none of them.
        layer: by name, as for `activations`; "penultimate" is understood.
        shrinkage, explained_variance: see `ClassDistances.of`.

    Returns:
        One row per score: score, auroc, low, high (at 95%, DeLong), n_in_distribution, n_ood.

    Raises:
        DataError: too few images; images that are in both in_distribution and in_distribution_train; a share out of its
            range.
        ModelError: the layer does not exist.
    """
    if both := set(in_distribution.names) & set(in_distribution_train.names):
        raise DataError(
            f"{len(both)} images are in in_distribution_train and in in_distribution, as {min(both)!r}; expected none"
        )
    manifolds = activations(network, in_distribution_train, layers=[layer], batch_size=batch_size)
    inside, outside = (
        torch.cat([cloud.points for cloud in activations(network, images, layers=[layer], batch_size=batch_size)])
        for images in (in_distribution, ood)
    )
    classes = ClassDistances.of(
        [cloud.points for cloud in manifolds], shrinkage=shrinkage, explained_variance=explained_variance
    )
    scores = {
        "max_softmax": tuple(_unsure(network, images, batch_size) for images in (in_distribution, ood)),
        "nearest_centroid": (classes.nearest_centroid(inside), classes.nearest_centroid(outside)),
        "mahalanobis": (classes.mahalanobis(inside), classes.mahalanobis(outside)),
        "residual": (classes.residual(inside), classes.residual(outside)),
    }
    rows = []
    for name, (of_in, of_ood) in scores.items():
        area = auroc(of_in, of_ood)
        rows.append({"score": name, "auroc": area.value, "low": area.low, "high": area.high})
    return pl.DataFrame(rows).with_columns(n_in_distribution=pl.lit(len(in_distribution)), n_ood=pl.lit(len(ood)))


def _unsure(network: Network, images: ImageSet, batch_size: int) -> Tensor:
    return -logits(network, images, batch_size=batch_size).double().softmax(1).amax(1)
