"""The points of each class of a batch side by side, which is what most penalties are computed from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.vision.network import not_dense

COLLAPSED = 1e-10
"""A mean square below this share of the mean squared norm of the batch counts as 0: a class that has collapsed to a
point has no directions, and rounding would lend it some."""

SMALLEST = 1e-20
"""Keeps quotients finite where all features are 0."""


@dataclass(frozen=True, eq=False)
class Classes:
    """The points of C classes, filled up with zeros to the number of points of the largest.

    Attributes:
        points: (C, largest, n_features).
        present: (C, largest, 1), 1 where there is a point and 0 where it was filled up.
        counts: (C,) numbers of points.
        floor: a mean square that counts as 0; a scalar.
    """

    points: Tensor
    present: Tensor
    counts: Tensor
    floor: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor) -> Classes:
        """The classes that occur among `labels`, in the order of their indices.

        Args:
            features: (n, n_features) floating point.
            labels: (n,)

        Raises:
            GeometryError: other shapes, no points or features, features that are no floating-point numbers, or no dense
                tensors.
        """
        features, labels = checked(features, labels)
        _, classes, counts = torch.unique(labels, return_inverse=True, return_counts=True)
        order = classes.argsort(stable=True)
        first = counts.cumsum(0) - counts
        place = torch.arange(int(counts.max()), device=features.device)
        present = place < counts[:, None]
        rows = order[torch.where(present, first[:, None] + place, 0)]
        mask = present[:, :, None].to(features.dtype)
        return cls(features[rows] * mask, mask, counts.to(features.dtype), floor_of(features))

    @cached_property
    def centroids(self) -> Tensor:
        """(C, n_features)"""
        return self.points.sum(1) / self.counts[:, None]

    @cached_property
    def centred(self) -> Tensor:
        """(C, largest, n_features): the points from the centroid of their class; zeros stay zeros."""
        return (self.points - self.centroids[:, None]) * self.present

    @property
    def grams(self) -> Tensor:
        """(C, largest, largest): the Gram matrices of the centred points, each divided by its trace.

        The eigenvalues are shares of the variance of the class. Of a class that has collapsed to a point they are 0.
        """
        centred = self.centred
        grams = centred @ centred.mT
        return grams / (trace(grams) + self.counts * self.floor)[:, None, None]

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values` (C,) over classes of at least two points; 0 where there is none."""
        several = self.counts >= 2
        return torch.where(several, values, 0).sum() / several.sum().clamp(min=1)


def checked(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Features in float32 or better, and labels beside them.

    Raises:
        GeometryError: as for `Classes.of`.
    """
    for name, given in (("features", features), ("labels", labels)):
        if kind := not_dense(given) if isinstance(given, Tensor) else type(given).__name__:
            raise GeometryError(f"{name} are {kind}; expected a dense torch.Tensor")
    if (
        features.ndim != 2
        or not features.is_floating_point()
        or labels.shape != features.shape[:1]
        or not features.numel()
    ):
        raise GeometryError(
            f"features of shape {tuple(features.shape)} and type {features.dtype}, labels of shape "
            f"{tuple(labels.shape)}; expected (n, n_features), floating point, and n labels"
        )
    if torch.finfo(features.dtype).bits < 32:
        features = features.float()
    return features, labels.to(features.device)


def of_one_scale(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """As `checked`, with features divided by a power of two: their largest magnitude is then from 1 to below 2.

    What does not change with scale is the same of them, and their squares are neither infinite nor 0. A power of two
    rounds nothing.

    Raises:
        GeometryError: as for `Classes.of`.
    """
    features, labels = checked(features, labels)
    largest = float(features.detach().abs().amax())
    if 0 < largest < math.inf:
        features = features / 2.0 ** (math.frexp(largest)[1] - 1)
    return features, labels


def floor_of(features: Tensor) -> Tensor:
    """The mean square that counts as 0 beside these features (n, n_features); a scalar."""
    return COLLAPSED * features.square().sum(1).mean() + SMALLEST


def trace(matrices: Tensor) -> Tensor:
    """(...) of (..., n, n)"""
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)


def directions(features: Tensor) -> Tensor:
    """(n, n_features) scaled to length 1; a point that counts as 0 becomes 0 smoothly."""
    return features / (features.square().sum(1, keepdim=True) + floor_of(features)).sqrt()
