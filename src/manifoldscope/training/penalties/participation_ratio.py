"""How many dimensions the variance of a class is spread over."""

from __future__ import annotations

from torch import Tensor

from manifoldscope.training.penalties.classes import Classes, of_one_scale, trace


def participation_ratio(features: Tensor, labels: Tensor) -> Tensor:
    """The participation ratio of each class manifold, averaged over the classes.

    (sum of eigenvalues)^2 / (sum of their squares) of the covariance of the class: k for equal variances in k
    directions. Neither scale nor rotation changes it.

    Known bias: n points have at most n - 1, and fewer than the class has. What a batch shows can be compared with that
    of another batch of the same size, not with what is measured on more images.

    Args:
        features: (n, n_features) floating point.
        labels: (n,) class indices; classes of a single point are skipped.

    Returns:
        A scalar from 0 (all classes have collapsed to points) to the smaller one of n_features and the number of points
        of a class less 1.

    Raises:
        GeometryError: other shapes.

    References:
        Gao, Trautmann, Yu, Santhanam, Ryu, Shenoy and Ganguli, "A theory of multineuronal dimensionality, dynamics and
        measurement" (2017).

    Example:
        >>> corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> round(float(participation_ratio(corners, torch.zeros(4))), 6)
        2.0
    """
    classes = Classes.of(*of_one_scale(features, labels))
    return classes.mean(ratios(classes.grams))


def ratios(grams: Tensor) -> Tensor:
    """(C,) participation ratios, from Gram matrices (C, n, n) that are divided by their traces; see `Classes.grams`."""
    whole = trace(grams)
    return whole.square() / (grams.square().sum((-2, -1)) + (1 - whole).square())  # what is missing in 1 is rounding
