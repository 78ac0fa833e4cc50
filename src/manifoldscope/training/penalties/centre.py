"""The centre loss: points drawn to the centroid of their class."""

from __future__ import annotations

from torch import Tensor

from manifoldscope.training.penalties.classes import Classes


def centre(features: Tensor, labels: Tensor) -> Tensor:
    """Half the mean squared distance of a point from the centroid of its class.

    In the paper the centres are running means over the training, kept beside the network, and the loss is a sum over
    the batch. Here they are the centroids of the batch itself, which carries nothing from step to step, and the loss is
    a mean. It is in units of squared features: a network can lower it by smaller features alone, as in the paper.

    Known bias: n points are nearer to their own centroid than to that of the class, by a factor of 1 - 1/n.

    Args:
        features: (n, n_features) floating point.
        labels: (n,) class indices; the single point of a class is at its centroid.

    Returns:
        A scalar of at least 0.

    Raises:
        GeometryError: other shapes.

    References:
        Wen, Zhang, Li and Qiao, "A discriminative feature learning approach for deep face recognition" (2016),
        equation 2.

    Example:
        >>> float(centre(torch.tensor([[-1.0], [1.0], [7.0], [7.0]]), torch.tensor([0, 0, 1, 1])))
        0.25
    """
    return Classes.of(features, labels).centred.square().sum() / (2 * len(labels))
