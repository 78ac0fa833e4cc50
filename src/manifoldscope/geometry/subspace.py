"""Subspaces: the principal axes of a cloud, random directions within its span, and points projected on either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.moments import Covariance, Gram, blocks, centred, on_float64_device, require_two

Keep = Literal["without", "only"]
"""What is kept of points: what lies outside a subspace, or what lies inside of it alone."""

_ROUNDING = 1e-10
"""Shares of the largest variance below this are the rounding of activations in float32, whose square it is, about."""


def change(points: Tensor, basis: Tensor, centre: Tensor, *, keep: Keep = "without") -> Tensor:
    """What a projection adds to points a: -QQ'(a - mu) "without" the subspace, -(I - QQ')(a - mu) for it "only".

    Args:
        points: (..., n_features).
        basis: (k, n_features), the rows of Q', which are orthonormal; k may be 0.
        centre: (n_features,), mu.

    Returns:
        (..., n_features); added to the points it makes mu + (I - QQ')(a - mu), or mu + QQ'(a - mu).

    Example:
        >>> point, axis, origin = torch.tensor([[3.0, 2.0]]), torch.tensor([[1.0, 0.0]]), torch.zeros(2)
        >>> point + change(point, axis, origin), point + change(point, axis, origin, keep="only")
        (tensor([[0., 2.]]), tensor([[3., 0.]]))
    """
    deviations = points - centre
    along = (deviations @ basis.T) @ basis
    return -along if keep == "without" else along - deviations


@dataclass(frozen=True, eq=False)
class Span:
    """The affine span of a cloud of points: where its principal axes and random directions are taken from.

    Attributes:
        points: (n_points, n_features).
        centre: (n_features,) float64, their mean.
        variances: (rank,) float64, descending, along each principal axis; what is rounding is left out.
    """

    points: Tensor
    centre: Tensor
    variances: Tensor
    _weights: Tensor  # of the centred points in each axis, (n_points, rank); of the features where there are fewer

    @classmethod
    def of(cls, points: Points | ClassManifold) -> Self:
        """The span of some points, from their inner products, or their covariance if there are fewer features.

        Raises:
            GeometryError: fewer than two points, points that are all equal, or NaN or infinity.

        Example:
            >>> span = Span.of(torch.tensor([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [2.0, 1.0, 1.0], [2.0, -1.0, 1.0]]))
            >>> span.rank, span.leading(1).abs()
            (2, tensor([[1., 0., 0.]], dtype=torch.float64))
        """
        matrix = on_float64_device(as_points(points))
        require_two(len(matrix))
        wide = matrix.shape[0] <= matrix.shape[1]
        products = (Gram.of(matrix) if wide else Covariance.of(matrix)).products
        values, vectors = torch.linalg.eigh(products)
        values, vectors = values.flip(0), vectors.flip(1)
        largest = float(values[0])
        if not largest > 0:
            raise GeometryError(f"{len(matrix)} points are all equal, and span no direction")
        rank = min(int((values > _ROUNDING * largest).sum()), len(matrix) - 1)
        values, vectors = values[:rank], vectors[:, :rank]
        weights = vectors / values.sqrt() if wide else vectors
        return cls(matrix, matrix.mean(0, dtype=torch.float64), values / (len(matrix) - 1), weights)

    @property
    def rank(self) -> int:
        """How many directions the points span around their mean."""
        return len(self.variances)

    def leading(self, k: int) -> Tensor:
        """(k, n_features) float64: the principal axes of the largest variances.

        Raises:
            GeometryError: more directions than there are.
        """
        return self._directions(torch.eye(self.rank, dtype=torch.float64)[: self._checked(k)])

    def random(self, k: int, *, generator: torch.Generator) -> Tensor:
        """(k, n_features) float64: orthonormal directions, uniform within the span whatever its variances.

        Raises:
            GeometryError: more directions than there are.
        """
        drawn = torch.randn(self.rank, self._checked(k), generator=generator, dtype=torch.float64)
        return self._directions(torch.linalg.qr(drawn).Q.T)

    def share(self, basis: Tensor) -> float:
        """The share of the variance that lies along orthonormal directions (k, n_features)."""
        total = float(self.variances.sum()) * (len(self.points) - 1)
        found = 0.0
        for rows in blocks(len(self.points), self.points.shape[1]):
            deviations = self.points[rows].double() - self.centre
            found += float((deviations @ basis.double().T).square().sum())
        return min(1.0, found / total)

    def _checked(self, k: int) -> int:
        if not 0 <= k <= self.rank:
            raise GeometryError(f"{k} directions; {len(self.points)} points span {self.rank}")
        return k

    def _directions(self, mixed: Tensor) -> Tensor:
        """Orthonormal combinations (k, rank) of the axes, as directions."""
        n_points, n_features = self.points.shape
        mixed = mixed.to(self.points.device) @ self._weights.T
        if n_points <= n_features:
            parts = [
                mixed @ centred(self.points[:, columns], "none").to(mixed) for columns in blocks(n_features, n_points)
            ]
            mixed = torch.cat(parts, 1)
        # the axes of small variances are orthogonal up to rounding only
        directions: Tensor = torch.linalg.qr(mixed.T).Q.T.contiguous()
        return directions
