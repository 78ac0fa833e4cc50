"""Maximum manifold capacity representations."""

from __future__ import annotations

from torch import Tensor

from manifoldscope.training.penalties.classes import Classes, directions, of_one_scale
from manifoldscope.training.penalties.eigenvalues import eigenvalues, smaller_gram, smooth_root


def mmcr(features: Tensor, labels: Tensor) -> Tensor:
    """Minus the nuclear norm of the matrix of class centroids, of features that are scaled to length 1 (MMCR).

    Lowering it makes the centroids long, so that the points of a class have one direction, and orthogonal to each
    other, so that classes have different ones. In the paper the points of a manifold are views of one image; here they
    are the images of one class.

    Args:
        features: (n, n_features) floating point; they are scaled to length 1.
        labels: (n,) class indices.

    Returns:
        A scalar. For P classes that have collapsed it is -P if they are orthogonal and -sqrt(P) if they are the same;
        it is nearer to 0 for classes whose points differ in direction.

    Raises:
        GeometryError: other shapes.

    References:
        Yerxa, Kuang, Simoncelli and Chung, "Learning efficient coding of natural images with maximum manifold capacity
        representations" (2023), equation 5.

    Example:
        >>> [round(float(mmcr(points, torch.arange(4))), 3) for points in (torch.eye(4), torch.ones(4, 2))]
        [-4.0, -2.0]
    """
    features, labels = of_one_scale(features, labels)
    centroids = Classes.of(directions(features), labels).centroids
    return -smooth_root(eigenvalues(smaller_gram(centroids))).sum()
