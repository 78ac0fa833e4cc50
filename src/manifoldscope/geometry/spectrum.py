"""Spectrum: the variances of a cloud of points along its principal axes, exact and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points

Scaling = Literal["none", "standardise"]
"""What is done to the features of a manifold before it is measured: nothing, or each to unit variance."""

_BLOCK_ELEMENTS = 1 << 22
"""How many numbers are held in float64 at once (32 MiB) while a spectrum is accumulated."""

_ROUNDING = 1e-5
"""By how much of itself the unexplained share may exceed 1 - fraction and still count as reached.

Rounding activations to float32 moves shares of variance by up to about 1e-7; a spectrum whose cumulative share falls
on the fraction must not need one more component because of that.
"""


def standardise(points: Points) -> Tensor:
    """Centre each feature and scale it to unit variance (divisor n - 1) within the manifold.

    Args:
        points: (n_points, n_features), at least two points.

    Returns:
        (n_points, n_features) of the same dtype; features that are constant become 0.

    Raises:
        GeometryError: fewer than two points, NaN or infinity.

    Example:
        >>> standardise(torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]]))
        tensor([[-1.,  0.],
                [ 0.,  0.],
                [ 1.,  0.]])
    """
    matrix = _on_float64_device(as_points(points))
    _require_two(len(matrix))
    result = torch.empty_like(matrix)
    for columns in _blocks(matrix.shape[1], len(matrix)):
        result[:, columns] = _centred(matrix[:, columns], "standardise").to(result.dtype)
    return result


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The variances of a cloud of points along its principal axes.

    Args:
        variances: at most min(n_points - 1, n_features) numbers, descending, not negative; kept as float64 on the CPU.
            Variances along further axes are 0.
        n_points, n_features: the shape of the sample that they describe.
        scaling: what was done to the features first.

    Raises:
        GeometryError: variances that are not finite, negative, ascending, or more than the sample can show.

    Example:
        >>> spectrum = Spectrum(torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04]), n_points=1000, n_features=5)
        >>> spectrum.dimension(0.80), spectrum.dimension(0.95), round(spectrum.participation_ratio(), 3)
        (2, 4, 2.815)
    """

    variances: Tensor
    n_points: int
    n_features: int
    scaling: Scaling = "none"

    def __post_init__(self) -> None:
        variances = torch.as_tensor(self.variances).detach().cpu().to(torch.float64)
        object.__setattr__(self, "variances", variances)
        _require_two(self.n_points)
        if variances.ndim != 1 or not torch.isfinite(variances).all():
            raise GeometryError(f"variances of shape {tuple(variances.shape)} must be a list of finite numbers")
        if bool((variances < 0).any()) or bool((variances.diff() > 0).any()):
            raise GeometryError("variances must be descending and not negative; sort them with .sort(descending=True)")
        if len(variances) > self._most:
            raise GeometryError(
                f"{len(variances)} variances; {self.n_points} points with {self.n_features} features have at most "
                f"{self._most}"
            )

    @classmethod
    def of(cls, points: Points | ClassManifold, *, scaling: Scaling = "none") -> Spectrum:
        """The exact spectrum of a cloud: centred, and not scaled unless asked for.

        Variances have the divisor n_points - 1. Sums are accumulated in float64 over blocks, from the Gram matrix of
        the points where there are no more points than features and from the covariance of the features otherwise, so
        that beside the points only min(n_points, n_features)^2 numbers and one block are held.

        Args:
            points: (n_points, n_features), on any device, at least two points.
            scaling: "standardise" scales each feature to unit variance first (see `standardise`).

        Raises:
            GeometryError: fewer than two points, NaN or infinity, or variances that overflow float64.

        Example:
            >>> spectrum = Spectrum.of(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]))
            >>> spectrum.variances.round(decimals=3).tolist()
            [1.333, 1.333]
        """
        matrix = _on_float64_device(points.points if isinstance(points, ClassManifold) else as_points(points))
        n_points, n_features = matrix.shape
        _require_two(n_points)
        check_scaling(scaling)
        moments = _gram(matrix, scaling) if n_points <= n_features else _covariance(matrix, scaling)
        return cls._of_moments(moments, n_points, n_features, scaling)

    @classmethod
    def of_gram(cls, gram: Tensor, *, n_features: int) -> Spectrum:
        """The spectrum of points known by their inner products alone, as a layer too large to hold leaves them.

        Args:
            gram: (n_points, n_points) inner products, of points centred or not.
            n_features: how many features the points had.

        Raises:
            GeometryError: a matrix that is not square, or not finite, or of fewer than two points.

        Example:
            >>> points = torch.eye(3)
            >>> Spectrum.of_gram(points @ points.T, n_features=3).variances.round(decimals=3).tolist()
            [0.5, 0.5]
        """
        products = _on_float64_device(gram.detach()).to(torch.float64)
        if products.ndim != 2 or products.shape[0] != products.shape[1] or not torch.isfinite(products).all():
            raise GeometryError(f"a Gram matrix of shape {tuple(gram.shape)}; expected square and finite")
        _require_two(len(products))
        centred = products - products.mean(0) - products.mean(1, keepdim=True) + products.mean()
        return cls._of_moments(centred, len(products), n_features, "none")

    @classmethod
    def _of_moments(cls, moments: Tensor, n_points: int, n_features: int, scaling: Scaling) -> Spectrum:
        if not torch.isfinite(moments).all():
            raise GeometryError("the points are so far apart that their variances overflow; divide them by a constant")
        variances = torch.linalg.eigvalsh(moments).flip(0).cpu()[: min(n_points - 1, n_features)] / (n_points - 1)
        # Below this share of the largest, an eigenvalue is the rounding of the decomposition.
        floor = variances.max() * max(moments.shape) * torch.finfo(torch.float64).eps
        return cls(torch.where(variances > floor, variances, 0.0), n_points, n_features, scaling)

    @property
    def _most(self) -> int:
        return min(self.n_points - 1, self.n_features)

    @property
    def total_variance(self) -> float:
        """The sum of the variances over all axes, in squared units of the features."""
        return float(self.variances.sum())

    @property
    def explained_variance(self) -> Tensor:
        """Cumulative shares of the variance, float64 of the length of `variances`; all 0 for a constant cloud."""
        return self.variances.cumsum(0) / (self.total_variance or 1.0)

    def dimension(self, fraction: float = 0.95) -> int:
        """The smallest number of principal axes whose share of the variance reaches `fraction`, up to rounding.

        A constant cloud has dimension 0; `fraction=1` gives the rank.

        Raises:
            GeometryError: a fraction outside (0, 1].
        """
        _check_fraction(fraction)
        if self.total_variance == 0:
            return 0
        # unexplained[k] is the share that is left after k + 1 axes; summed from the small end, it is exact there.
        unexplained = self.variances.flip(0).cumsum(0).flip(0).roll(-1) / self.total_variance
        unexplained[-1] = 0.0
        reached = unexplained <= (1 - fraction) * (1 + _ROUNDING)
        return int(reached.to(torch.int8).argmax()) + 1

    def dimension_ceiling(self, fraction: float = 0.95) -> int:
        """The largest `dimension(fraction)` that so many points and features can show: ceil(f min(m - 1, D)).

        Raises:
            GeometryError: a fraction outside (0, 1].

        Example:
            >>> Spectrum(torch.ones(49), n_points=50, n_features=2048).dimension_ceiling(0.95)
            47
        """
        _check_fraction(fraction)
        return math.ceil(round(fraction * self._most, 9))

    def participation_ratio(self) -> float:
        """(sum of variances)^2 / sum of squared variances: r for r equal variances, 0 for a constant cloud."""
        if self.total_variance == 0:
            return 0.0
        shares = self.variances / self.total_variance
        return float(1 / (shares**2).sum())


def spectra(manifolds: Sequence[Points | ClassManifold], *, scaling: Scaling = "none") -> list[Spectrum]:
    """The spectra of several clouds, in their order."""
    return [Spectrum.of(manifold, scaling=scaling) for manifold in manifolds]


def check_scaling(scaling: str) -> None:
    """Raise GeometryError for a scaling that does not exist."""
    if scaling not in ("none", "standardise"):
        raise GeometryError(f"scaling = {scaling!r}; expected 'none' or 'standardise'")


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise GeometryError(f"fraction = {fraction}; expected a share of the variance above 0 and at most 1, as 0.95")


def _require_two(n_points: int) -> None:
    if n_points < 2:
        raise GeometryError(f"{n_points} point has no variance; a manifold needs at least 2 images of the class")


def _on_float64_device(matrix: Tensor) -> Tensor:
    return matrix.cpu() if matrix.device.type == "mps" else matrix  # Apple's GPUs have no float64


def _blocks(length: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK_ELEMENTS // width)
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def _centred(columns: Tensor, scaling: Scaling) -> Tensor:
    """All points of some features in float64, centred, and scaled where asked for."""
    block = columns.to(torch.float64)
    block = block - block[0]  # first, so that a constant feature becomes exactly 0 and a large offset costs no digits
    block -= block.mean(0)
    return block if scaling == "none" else block * _inverse(block.square().sum(0) / (len(block) - 1))


def _inverse(variances: Tensor) -> Tensor:
    return torch.where(variances > 0, variances, torch.inf).rsqrt()


def _gram(matrix: Tensor, scaling: Scaling) -> Tensor:
    n_points, n_features = matrix.shape
    gram = torch.zeros(n_points, n_points, dtype=torch.float64, device=matrix.device)
    for columns in _blocks(n_features, n_points):
        block = _centred(matrix[:, columns], scaling)
        gram.addmm_(block, block.T)
    return gram


def _covariance(matrix: Tensor, scaling: Scaling) -> Tensor:
    n_points, n_features = matrix.shape
    origin = matrix[0].to(torch.float64)
    mean = torch.zeros_like(origin)
    for rows in _blocks(n_points, n_features):
        mean += (matrix[rows].to(torch.float64) - origin).sum(0) / n_points
    moments = torch.zeros(n_features, n_features, dtype=torch.float64, device=matrix.device)
    for rows in _blocks(n_points, n_features):
        block = matrix[rows].to(torch.float64) - origin - mean
        moments.addmm_(block.T, block)
    if scaling == "standardise":
        inverse = _inverse(moments.diagonal() / (n_points - 1))
        moments *= inverse[:, None] * inverse
    return moments
