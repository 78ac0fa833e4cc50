"""Gram and Covariance: second moments of a cloud that arrives in pieces, in float64, and that can be merged.

Where the features are many, all points come with some of the features at a time, and inner products of the points add
up (`Gram`). Where the points are many, some points come at a time with all their features, and products of the features
add up (`Covariance`). Neither holds the cloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.manifold import Points, as_points

Scaling = Literal["none", "standardise"]
"""What is done to the features of a manifold before it is measured: nothing, or each to unit variance."""

_BLOCK_ELEMENTS = 1 << 21
"""How many numbers are held in float64 at once (16 MiB) while moments are accumulated."""


class Gram:
    """Inner products of points whose features arrive in blocks.

    Args:
        n_points: number of points; every block has all of them.
        scaling: "standardise" scales each feature to unit variance.

    Attributes:
        products: (n_points, n_points) float64, of the points centred on their mean.
        n_features: number of features so far.

    Raises:
        GeometryError: fewer than two points, or a scaling that does not exist.

    Example:
        >>> points = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
        >>> left, right = Gram(5), Gram(5)
        >>> left.update(points[:, :30])
        >>> right.update(points[:, 30:])
        >>> left.merge(right)
        >>> left.n_features, torch.allclose(left.products.diagonal().sum(), 4 * points.double().var(dim=0).sum())
        (40, True)
    """

    def __init__(self, n_points: int, *, scaling: Scaling = "none", device: torch.device | str = "cpu") -> None:
        require_two(n_points)
        check_scaling(scaling)
        self.n_points, self.n_features, self.scaling = n_points, 0, scaling
        self.products = torch.zeros(n_points, n_points, dtype=torch.float64, device=device)

    def update(self, columns: Points) -> None:
        """Add some features of all points.

        Args:
            columns: (n_points, any number of features).

        Raises:
            GeometryError: another number of points, NaN or infinity.
        """
        matrix = on_float64_device(as_points(columns))
        if len(matrix) != self.n_points:
            raise GeometryError(f"a block of features has {len(matrix)} points; expected all {self.n_points}")
        self._add(matrix)

    def _add(self, matrix: Tensor) -> None:
        places = list(blocks(matrix.shape[1], self.n_points))
        room = torch.empty(self.n_points, places[0].stop, dtype=torch.float64)
        for place in places:
            add_squared(self.products, centred(matrix[:, place], self.scaling, room=room))
        self.n_features += matrix.shape[1]

    def merge(self, other: Gram) -> None:
        """Add the features that another one has seen of the same points.

        Raises:
            GeometryError: another number of points, or another scaling.
        """
        if (other.n_points, other.scaling) != (self.n_points, self.scaling):
            raise GeometryError(
                f"Gram matrices of {self.n_points} points ({self.scaling}) and {other.n_points} ({other.scaling}) "
                "cannot be merged; expected the same points and scaling"
            )
        self.products += other.products.to(self.products.device)
        self.n_features += other.n_features

    @classmethod
    def of(cls, points: Points, *, scaling: Scaling = "none") -> Gram:
        """The inner products of a cloud at hand, on its device; only one block of it is held in float64.

        Raises:
            GeometryError: fewer than two points, NaN or infinity.
        """
        return cls._of_checked(on_float64_device(as_points(points)), scaling)

    @classmethod
    def _of_checked(cls, matrix: Tensor, scaling: Scaling) -> Gram:
        gram = cls(len(matrix), scaling=scaling, device=matrix.device)
        gram._add(matrix)
        return gram


class Covariance:
    """Products of features whose points arrive in batches.

    Args:
        n_features: number of features; every batch has all of them.
        scaling: "standardise" scales each feature to unit variance.

    Attributes:
        n_points: number of points so far.
        mean: (n_features,) float64.

    Raises:
        GeometryError: a scaling that does not exist.

    References:
        Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983): the update of two parts.

    Example:
        >>> points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        >>> first, second = Covariance(3), Covariance(3)
        >>> first.update(points[:25])
        >>> second.update(points[25:])
        >>> first.merge(second)
        >>> first.n_points, torch.allclose(first.products / 39, points.double().T.cov())
        (40, True)
    """

    def __init__(self, n_features: int, *, scaling: Scaling = "none", device: torch.device | str = "cpu") -> None:
        check_scaling(scaling)
        self.n_points, self.n_features, self.scaling = 0, n_features, scaling
        self._origin: Tensor | None = None  # the first point: a large offset then costs no digits
        self._shift = torch.zeros(n_features, dtype=torch.float64, device=device)  # of the mean from the origin
        self._sums = torch.zeros(n_features, n_features, dtype=torch.float64, device=device)

    @property
    def mean(self) -> Tensor:
        """(n_features,) float64; 0 before the first point."""
        return self._shift if self._origin is None else self._shift + self._origin

    @property
    def products(self) -> Tensor:
        """(n_features, n_features) float64: sums over the points, centred on their mean and scaled as asked for."""
        if self.scaling == "none":
            return self._sums
        inverse = inverse_roots(self._sums.diagonal() / (self.n_points - 1))
        return self._sums * inverse[:, None] * inverse

    def update(self, rows: Points) -> None:
        """Add some points.

        Args:
            rows: (any number of points, n_features).

        Raises:
            GeometryError: another number of features, NaN or infinity.
        """
        matrix = on_float64_device(as_points(rows))
        if matrix.shape[1] != self.n_features:
            raise GeometryError(f"a batch of points has {matrix.shape[1]} features; expected {self.n_features}")
        self._add(matrix)

    def _add(self, matrix: Tensor) -> None:
        if self._origin is None:
            self._origin = matrix[0].to(torch.float64)
        for place in blocks(len(matrix), self.n_features):
            block = matrix[place].to(torch.float64) - self._origin
            shift = block.mean(0)
            block -= shift
            self._sums += squared(block.T)
            self._join(len(block), shift)

    def _join(self, n_points: int, shift: Tensor) -> None:
        """Account for so many more points, whose mean is `shift` from the origin."""
        n_both = self.n_points + n_points
        apart = shift - self._shift
        self._sums.addr_(apart, apart, alpha=self.n_points * n_points / n_both)
        self._shift = self._shift + apart * (n_points / n_both)
        self.n_points = n_both

    def merge(self, other: Covariance) -> None:
        """Add the points that another one has seen.

        Raises:
            GeometryError: another number of features, or another scaling.
        """
        if (other.n_features, other.scaling) != (self.n_features, self.scaling):
            raise GeometryError(
                f"covariances of {self.n_features} features ({self.scaling}) and {other.n_features} "
                f"({other.scaling}) cannot be merged; expected the same features and scaling"
            )
        if other._origin is None:
            return
        if self._origin is None:
            self._origin = other._origin.to(self._shift.device)
        self._sums += other._sums.to(self._sums.device)
        self._join(
            other.n_points,
            other._shift.to(self._shift.device) + (other._origin.to(self._shift.device) - self._origin),
        )

    @classmethod
    def of(cls, points: Points, *, scaling: Scaling = "none") -> Covariance:
        """The products of a cloud at hand, on its device; only one block of it is held in float64.

        Raises:
            GeometryError: NaN or infinity.
        """
        return cls._of_checked(on_float64_device(as_points(points)), scaling)

    @classmethod
    def _of_checked(cls, matrix: Tensor, scaling: Scaling) -> Covariance:
        covariance = cls(matrix.shape[1], scaling=scaling, device=matrix.device)
        covariance._add(matrix)
        return covariance


def check_scaling(scaling: str) -> None:
    """Raise GeometryError for a scaling that does not exist."""
    if scaling not in ("none", "standardise"):
        raise GeometryError(f"scaling = {scaling!r}; expected 'none' or 'standardise'")


def require_two(n_points: int) -> None:
    """Raise GeometryError for fewer than two points."""
    if n_points < 2:
        raise GeometryError(f"{n_points} point has no variance; a manifold needs at least 2 images of the class")


def on_float64_device(matrix: Tensor) -> Tensor:
    """The matrix where float64 is to be had."""
    return matrix.cpu() if matrix.device.type == "mps" else matrix  # Apple's GPUs have none


def blocks(length: int, width: int) -> Iterator[slice]:
    """Slices of `length` such that each, `width` wide, is held in float64 without much memory."""
    step = max(1, _BLOCK_ELEMENTS // width)
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def centred(
    columns: Tensor, scaling: Scaling, dtype: torch.dtype = torch.float64, room: Tensor | None = None
) -> Tensor:
    """(n_points, n_features) of this type, centred over the points, and scaled where asked for.

    `room` is a CPU tensor of the type, of at least this size, that is written over: new memory for every block costs
    more than what is done in it. On a CPU this and `squared` are numpy's, whose products and decompositions are the
    faster ones there; steps that alternate between its threads and those of torch are slower than either.
    """
    if columns.device.type != "cpu":
        block = columns.to(dtype)
        block = block - block[:1]
        block -= block.mean(0)
        return block if scaling == "none" else block * inverse_roots(block.square().sum(0) / (len(block) - 1))
    given = columns.numpy()
    array = np.empty(given.shape, _NUMPY[dtype]) if room is None else room.numpy()[: len(given), : given.shape[1]]
    np.copyto(array, given)
    with np.errstate(over="ignore", invalid="ignore"):
        array -= array[:1].copy()  # so that a constant feature becomes exactly 0 and an offset costs nothing
        array -= array.mean(0)
        if scaling == "standardise":
            variances = np.square(array).sum(0) / (len(array) - 1)
            array *= np.where(variances > 0, variances, np.inf) ** -0.5
    return torch.from_numpy(array)


_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


def squared(matrix: Tensor) -> Tensor:
    """matrix @ matrix.T; numpy sees that it is symmetric, and does half of the work."""
    if matrix.device.type != "cpu":
        return matrix @ matrix.T
    array = matrix.numpy()
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused when the spectrum is taken
        return torch.from_numpy(array @ array.T)


def add_squared(total: Tensor, matrix: Tensor) -> None:
    """total += matrix @ matrix.T."""
    if matrix.device.type != "cpu":
        total.addmm_(matrix, matrix.T)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        np.add(total.numpy(), squared(matrix).numpy(), out=total.numpy())


def inverse_roots(variances: Tensor) -> Tensor:
    """1 / sqrt(variance), and 0 where the variance is 0."""
    return torch.where(variances > 0, variances, torch.inf).rsqrt()
