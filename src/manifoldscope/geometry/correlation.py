"""How strongly the features of one class vary together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.spectrum import standardise

_MOST_FEATURES = 512
"""How many features the mean correlation is taken over, at most."""


@dataclass(frozen=True, eq=False)
class FeatureCorrelation:
    """The correlations between the features of one class.

    Attributes:
        matrix: (k, k) float64, Pearson correlations between the chosen features; k is 0 where all are constant.
        features: (k,) int64, which features these are.
        mean_absolute: mean of |r| over all pairs of up to 512 features that vary; NaN where fewer than two do.
        chance: what `mean_absolute` is on average for independent Gaussian features and as many points.
        n_constant: number of features that are the same for every point, and so have no correlation.
        n_points: number of points.
        note: the reason where there is no number.
    """

    matrix: Tensor
    features: Tensor
    mean_absolute: float
    chance: float
    n_constant: int
    n_points: int
    note: str = ""


def feature_correlation(
    points: Points | ClassManifold, *, n_features: int = 64, generator: torch.Generator | None = None
) -> FeatureCorrelation:
    """Pearson correlations between features within a class, with the level that chance alone would show.

    Few points make any two features look correlated: for n points and independent Gaussian features the expected |r|
    is Gamma((n - 1) / 2) / (sqrt(pi) Gamma(n / 2)), about sqrt(2 / (pi (n - 1))), so 0.11 for 50 points.

    Args:
        points: (n_points, n_features of the layer), at least two points.
        n_features: how many features the matrix shows.
        generator: draws these features at random; evenly spaced among those that vary if omitted.

    Raises:
        GeometryError: fewer than two points, NaN or infinity, or `n_features` below 1.

    Example:
        >>> first = torch.arange(6.0)
        >>> result = feature_correlation(torch.stack([first, -2 * first, torch.ones(6)], dim=1))
        >>> result.matrix.round().int().tolist(), result.n_constant, round(result.mean_absolute, 3)
        ([[1, -1], [-1, 1]], 1, 1.0)
    """
    matrix = as_points(points).cpu()
    if n_features < 1:
        raise GeometryError(f"n_features = {n_features}; expected at least 1")
    if len(matrix) < 2:
        raise GeometryError("1 point has no correlations; a manifold needs at least 2 images of the class")
    varying = (matrix.amax(0) > matrix.amin(0)).nonzero().flatten()
    n_points, n_varying = len(matrix), len(varying)
    if generator is None:
        shown = _spaced(varying, n_features)
    else:
        shown = varying[torch.randperm(n_varying, generator=generator)[:n_features]].sort().values
    many = _correlations(matrix, _spaced(varying, _MOST_FEATURES))
    n_pairs = len(many) * (len(many) - 1)
    return FeatureCorrelation(
        matrix=_correlations(matrix, shown),
        features=shown,
        mean_absolute=float((many.abs().sum() - len(many)) / n_pairs) if n_pairs else math.nan,
        chance=math.exp(math.lgamma((n_points - 1) / 2) - math.lgamma(n_points / 2)) / math.sqrt(math.pi),
        n_constant=matrix.shape[1] - n_varying,
        n_points=n_points,
        note="" if n_pairs else f"{n_varying} of {matrix.shape[1]} features vary; a correlation needs two",
    )


def _spaced(features: Tensor, count: int) -> Tensor:
    if len(features) <= count:
        return features
    return features[torch.linspace(0, len(features) - 1, count, dtype=torch.float64).round().long()]


def _correlations(matrix: Tensor, features: Tensor) -> Tensor:
    if not len(features):
        return torch.zeros(0, 0, dtype=torch.float64)
    scaled = standardise(matrix[:, features].to(torch.float64))
    correlations = (scaled.T @ scaled / (len(matrix) - 1)).clamp(-1, 1)
    return correlations.fill_diagonal_(1.0)
