"""The sum of the singular values of a class, in units of its size."""

from __future__ import annotations

from torch import Tensor

from manifoldscope.training.penalties.classes import Classes, of_one_scale
from manifoldscope.training.penalties.eigenvalues import eigenvalues, smooth_root


def nuclear_norm(features: Tensor, labels: Tensor) -> Tensor:
    """The squared nuclear norm of each class over its squared Frobenius norm, averaged over the classes.

    With singular values s of the centred features of a class, (sum s)^2 / (sum s^2): k where k of them are equal and
    the others 0. The nuclear norm alone would fall if features merely became smaller; this does not change with scale.
    Small singular values weigh more in it than in the participation ratio, whose terms are s^2.

    Known bias: as for `participation_ratio`.

    Args:
        features: (n, n_features) floating point.
        labels: (n,) class indices; classes of a single point are skipped.

    Returns:
        A scalar from 0 (all classes have collapsed to points) to the smaller one of n_features and the number of points
        of a class less 1. Singular values below a thousandth of the Frobenius norm are smoothed.

    Raises:
        GeometryError: other shapes.

    References:
        Recht, Fazel and Parrilo, "Guaranteed minimum-rank solutions of linear matrix equations via nuclear norm
        minimization" (2010), for the nuclear norm as the convex stand-in for rank.

    Example:
        >>> corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> round(float(nuclear_norm(corners, torch.zeros(4))), 3)
        2.0
    """
    classes = Classes.of(*of_one_scale(features, labels))
    return classes.mean(smooth_root(eigenvalues(classes.grams)).sum(-1).square())
