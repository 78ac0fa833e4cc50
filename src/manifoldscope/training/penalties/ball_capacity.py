"""The capacity of class manifolds, as if they were balls."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from manifoldscope.errors import GeometryError, shortened
from manifoldscope.training.penalties.classes import Classes, of_one_scale
from manifoldscope.training.penalties.participation_ratio import ratios

_NODES = 48
"""Of the Gauss-Legendre rule over the length of a normal vector: `inverse_ball_capacity` is then exact to 1e-6."""
_REACH = 6.0
"""How far from sqrt(dimension) lengths are looked at; their standard deviation is at most 0.71."""
_LEAST_RADIUS = 1e-4
"""Added in squares, to give the square root a slope."""


def ball_capacity(features: Tensor, labels: Tensor) -> Tensor:
    """The mean over classes of 1 / capacity, each class taken for a ball.

    By mean-field theory the capacity of a class manifold is the number of such manifolds for each feature that a linear
    readout can classify at random; the harmonic mean over classes is that of all of them, so lowering this penalty
    raises the capacity. Seen from the mean of the centroids, the ball of a class has

        R = root mean squared distance of its points from its centroid / norm of its centroid
        D = its participation ratio

    and its capacity follows from these two (`inverse_ball_capacity`). The capacity of the points themselves, which
    `manifoldscope.geometry.capacity` measures, has no simple gradient.

    Known bias: as for `participation_ratio`; a batch shows too few dimensions, and so too large a capacity.

    Args:
        features: (n, n_features) floating point.
        labels: (n,) class indices; classes of a single point are skipped, but their centroids count.

    Returns:
        A scalar from 0.5 (points; capacity 2) to D + 0.5 (centroids that are the same); 0 where all classes have a
        single point.

    Raises:
        GeometryError: other shapes.

    References:
        Chung, Lee and Sompolinsky, "Classification and geometry of general perceptual manifolds" (2018), section V.

    Example:
        >>> points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
        >>> round(float(ball_capacity(points, torch.tensor([0, 0, 1, 1]))), 3)  # two points: the capacity is 2
        0.5
    """
    classes = Classes.of(*of_one_scale(features, labels))
    centroids = classes.centroids
    lengths = (centroids - centroids.mean(0)).square().sum(1)
    squares = classes.centred.square().sum((1, 2)) / classes.counts
    radius = (squares / (lengths + classes.floor) + _LEAST_RADIUS**2).sqrt()
    return classes.mean(inverse_ball_capacity(radius, ratios(classes.grams)))


def inverse_ball_capacity(radius: Tensor, dimension: Tensor) -> Tensor:
    """1 / capacity of balls, with gradients by both radius and dimension.

    The mean squared distance of a standard normal vector in 1 + D dimensions to the cone v_0 >= R |v|. Over the first
    coordinate the mean has a closed form; over the length r of the others, whose density is proportional to
    r^(D - 1) exp(-r^2 / 2), it is a Gauss-Legendre rule in sqrt(r), with weights that sum to 1. D need not be a whole
    number, and its gradient is that of the weights.

    Args:
        radius: (n,) R, positive, in units of the norm of the centroid.
        dimension: (n,) D; below 1 it is taken for 1.

    Returns:
        (n,) from 0.5 to D + 0.5.

    Raises:
        GeometryError: other shapes, no floating-point numbers, or a radius that is not positive.

    Example:
        >>> [round(x, 4) for x in inverse_ball_capacity(torch.tensor([1e-3, 1.0]), torch.tensor([5.0, 5.0])).tolist()]
        [0.5017, 3.0]
    """
    floating = all(isinstance(given, Tensor) and given.is_floating_point() for given in (radius, dimension))
    if not floating or radius.ndim != 1 or dimension.shape != radius.shape or bool((radius <= 0).any()):
        raise GeometryError(
            f"radius = {shortened(repr(radius))}, dimension = {shortened(repr(dimension))}; expected two tensors (n,) "
            "of floating-point numbers, and positive radii"
        )
    dimension = dimension.clamp(min=1)[:, None]
    radius = radius[:, None]
    with torch.no_grad():
        lowest = (dimension.sqrt() - _REACH).clamp(min=0).sqrt()
        highest = (dimension.sqrt() + _REACH).sqrt()
        nodes, weights = (torch.from_numpy(each).to(dimension) for each in np.polynomial.legendre.leggauss(_NODES))
        root = lowest + (highest - lowest) * (nodes + 1) / 2
        length = root.square()
    density = (2 * dimension - 1) * root.log() - length.square() / 2 + weights.log()
    return (density.softmax(1) * _given(length, radius)).sum(1)


def _given(length: Tensor, radius: Tensor) -> Tensor:
    """(n, nodes) mean squared distance to the cone, for a vector whose other coordinates have this length.

    0 where the first coordinate is at least R r; where it is at most -r / R, the distance from the tip; between, that
    from the side.
    """
    high, low = radius * length, -length / radius
    below = torch.special.ndtr(low)
    between = torch.special.ndtr(high) - below
    first = _density(low) - _density(high)
    second = between + low * _density(low) - high * _density(high)
    side = (high.square() * between - 2 * high * first + second) / (1 + radius.square())
    tip = (length.square() + 1) * below - low * _density(low)
    distance: Tensor = side + tip
    return distance


def _density(x: Tensor) -> Tensor:
    """Of the standard normal distribution."""
    return (-x.square() / 2).exp() / math.sqrt(2 * math.pi)
