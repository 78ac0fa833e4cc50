"""Spectrum: the eigenvalues of the covariance of a cloud of points, exact and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.manifold import ClassManifold, Points, as_matrix, as_points, require_finite
from manifoldscope.geometry.moments import (
    Covariance,
    Gram,
    Scaling,
    add_squared,
    blocks,
    centred,
    check_scaling,
    inverse_roots,
    on_float64_device,
    require_two,
    squared,
)

_ROUNDING = 1e-5
"""By how much of itself the unexplained share may exceed 1 - fraction and still count as reached.

Rounding activations to float32 moves shares of variance by up to about 1e-7; a spectrum whose cumulative share falls
on the fraction must not need one more component because of that.
"""


_STACKED = 1 << 20
"""Numbers of the small clouds that are worked on together (4 to 8 MiB)."""

_WORTH_STACKING = 4
"""Clouds, of which at least this many fit into a stack, are stacked; fewer are faster one by one."""

_SAME = 1e-12
"""Share of the largest squared distance from the mean at which two points cannot be told apart by inner products."""


def standardise(points: Points) -> Tensor:
    """Centroid each feature and scale it to unit variance (divisor n - 1) within the manifold.

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
    matrix = on_float64_device(as_points(points))
    require_two(len(matrix))
    result = torch.empty_like(matrix)
    for columns in blocks(matrix.shape[1], len(matrix)):
        result[:, columns] = centred(matrix[:, columns], "standardise").to(result.dtype)
    return result


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The eigenvalues of the covariance of a cloud of points: its variances along the principal axes.

    Args:
        eigenvalues: at most min(n_points - 1, n_features) numbers, descending, not negative; kept as float64 on the
            CPU. Variances along further axes are 0.
        n_points, n_features: the shape of the sample that they describe.
        scaling: what was done to the features first.

    Raises:
        GeometryError: eigenvalues that are not finite, negative, ascending, or more than the sample can show.

    Example:
        >>> spectrum = Spectrum(torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04]), n_points=1000, n_features=5)
        >>> spectrum.dimension(0.80), spectrum.dimension(0.95), round(spectrum.participation_ratio(), 3)
        (2, 4, 2.815)
    """

    eigenvalues: Tensor
    n_points: int
    n_features: int
    scaling: Scaling = "none"

    def __post_init__(self) -> None:
        eigenvalues = torch.as_tensor(self.eigenvalues).detach().to("cpu", torch.float64)
        object.__setattr__(self, "eigenvalues", eigenvalues)
        require_two(self.n_points)
        if eigenvalues.ndim != 1 or not np.isfinite(eigenvalues.numpy()).all():
            raise GeometryError(f"eigenvalues of shape {tuple(eigenvalues.shape)} must be a list of finite numbers")
        values = eigenvalues.numpy()
        if (values[:-1] < values[1:]).any() or (values[-1:] < 0).any():
            raise GeometryError(
                "eigenvalues must be descending and not negative; sort them with .sort(descending=True)"
            )
        if len(eigenvalues) > self.most:
            raise GeometryError(
                f"{len(eigenvalues)} eigenvalues; {self.n_points} points with {self.n_features} features have at most "
                f"{self.most}"
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
            GeometryError: fewer than two points, NaN or infinity, or eigenvalues that overflow float64.

        Example:
            >>> spectrum = Spectrum.of(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]))
            >>> spectrum.eigenvalues.round(decimals=3).tolist()
            [1.333, 1.333]
        """
        matrix = on_float64_device(as_points(points))
        require_two(len(matrix))
        check_scaling(scaling)
        wide = matrix.shape[0] <= matrix.shape[1]
        return cls.of_moments(Gram._of_checked(matrix, scaling) if wide else Covariance._of_checked(matrix, scaling))

    @classmethod
    def of_moments(cls, moments: Gram | Covariance) -> Spectrum:
        """The spectrum of a cloud that arrived in pieces.

        Raises:
            GeometryError: fewer than two points, or eigenvalues that overflow float64.

        Example:
            >>> gram = Gram(3)
            >>> gram.update(torch.eye(3))
            >>> Spectrum.of_moments(gram).eigenvalues.round(decimals=3).tolist()
            [0.5, 0.5]
        """
        require_two(moments.n_points)
        return cls._of_products(moments.products, moments.n_points, moments.n_features, moments.scaling)

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
            >>> Spectrum.of_gram(points @ points.T, n_features=3).eigenvalues.round(decimals=3).tolist()
            [0.5, 0.5]
        """
        products = on_float64_device(gram.detach()).to(torch.float64)
        if products.ndim != 2 or products.shape[0] != products.shape[1] or not torch.isfinite(products).all():
            raise GeometryError(f"a Gram matrix of shape {tuple(gram.shape)}; expected square and finite")
        require_two(len(products))
        from_mean = products - products.mean(0) - products.mean(1, keepdim=True) + products.mean()
        return cls._of_products(from_mean, len(products), n_features, "none")

    @classmethod
    def _of_products(cls, products: Tensor, n_points: int, n_features: int, scaling: Scaling) -> Spectrum:
        eigenvalues = _variances(products, n_points)[: min(n_points - 1, n_features)]
        return cls(eigenvalues, n_points, n_features, scaling)

    @property
    def most(self) -> int:
        """The most eigenvalues above 0 that the sample can have: min(n_points - 1, n_features)."""
        return min(self.n_points - 1, self.n_features)

    @property
    def total_variance(self) -> float:
        """The sum of the eigenvalues over all axes, in squared units of the features."""
        return float(self.eigenvalues.sum())

    @property
    def explained_variance(self) -> Tensor:
        """Cumulative shares of the variance, float64 of the length of `eigenvalues`; all 0 for a constant cloud."""
        return self.eigenvalues.cumsum(0) / (self.total_variance or 1.0)

    def dimension(self, fraction: float = 0.95) -> int:
        """The smallest number of principal axes whose share of the variance reaches `fraction`, up to rounding.

        A constant cloud has dimension 0; `fraction=1` gives the rank.

        Raises:
            GeometryError: a fraction outside (0, 1].
        """
        _check_fraction(fraction)
        if self.total_variance == 0:
            return 0
        # left[k] is the variance that is left before axis k; summed from the small end, it is exact there.
        left = np.cumsum(self.eigenvalues.numpy()[::-1])[::-1]
        most = (1 - fraction) * (1 + _ROUNDING) * left[0]
        return len(left) - int(np.searchsorted(left[::-1], most, side="right"))

    def dimension_ceiling(self, fraction: float = 0.95) -> int:
        """The largest `dimension(fraction)` that that many points and features can show: ceil(f min(m - 1, D)).

        Raises:
            GeometryError: a fraction outside (0, 1].

        Example:
            >>> Spectrum(torch.ones(49), n_points=50, n_features=2048).dimension_ceiling(0.95)
            47
        """
        _check_fraction(fraction)
        return math.ceil(round(fraction * self.most, 9))

    def participation_ratio(self) -> float:
        """(sum of eigenvalues)^2 / sum of squared eigenvalues: r for r equal eigenvalues, 0 for a constant cloud."""
        if self.total_variance == 0:
            return 0.0
        shares = self.eigenvalues / self.total_variance
        return float(1 / (shares**2).sum())


def spectra(
    manifolds: Sequence[Points | ClassManifold], *, scaling: Scaling = "none", dtype: torch.dtype = torch.float64
) -> list[Spectrum]:
    """The spectra of several clouds, those of one shape in one batch.

    The same values as `Spectrum.of` of each up to rounding, and faster where the clouds are many and small.

    Args:
        manifolds: (n_points, n_features) each, on one device.
        scaling: as for `Spectrum.of`.
        dtype: of the sums. float32 takes half the time, and leaves each variance an error of about 1e-6 of the largest.

    Returns:
        One spectrum for each, in their order.

    Raises:
        GeometryError: a cloud of fewer than two points, NaN or infinity, or eigenvalues that overflow float64.

    Example:
        >>> [spectrum.dimension(1.0) for spectrum in spectra([torch.eye(4), torch.ones(3, 4), torch.eye(4)])]
        [3, 0, 3]
    """
    check_scaling(scaling)
    matrices = [on_float64_device(as_matrix(manifold)) for manifold in manifolds]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, matrix in enumerate(matrices):
        require_two(len(matrix))
        by_shape.setdefault(tuple(matrix.shape), []).append(place)
    found: dict[int, Spectrum] = {}
    for (n_points, n_features), places in by_shape.items():
        same = [matrices[place] for place in places]
        if n_points > n_features or len(places) == 1:
            found.update({place: Spectrum.of(each, scaling=scaling) for place, each in zip(places, same, strict=True)})
            continue
        for place, eigenvalues in zip(places, _variances_of_many(same, scaling, dtype), strict=True):
            found[place] = Spectrum(eigenvalues[: min(n_points - 1, n_features)], n_points, n_features, scaling)
    return [found[place] for place in range(len(matrices))]


def reduced(manifolds: Sequence[Points | ClassManifold]) -> list[Tensor]:
    """The clouds of one layer in as few coordinates as they have points, with all distances between them as they were.

    All points of all clouds lie in a subspace of (number of points - 1) dimensions; these are coordinates in it, found
    from the inner products of the points alone. So a layer of any width takes n_points^2 numbers, and whatever does
    not change when the layer is rotated and shifted is the same of the reduced clouds, up to the rounding of float64.
    Inner products do not tell points apart that are nearer than a millionth of the distance from the mean to the
    farthest point: they become one point, and so equal points stay equal.

    Args:
        manifolds: (n_points, n_features) each, of one layer, on one device; points in a file mapped to memory will do,
            since they are read in blocks.

    Returns:
        (n_points, at most the number of all points - 1) float64 for each cloud.

    Raises:
        GeometryError: NaN or infinity.

    Example:
        >>> points = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0)).double()
        >>> (few,) = reduced([points])
        >>> few.shape, torch.allclose(torch.cdist(few, few), torch.cdist(points, points))
        (torch.Size([4, 3]), True)
    """
    return reduced_and_merged(manifolds)[0]


def reduced_and_merged(manifolds: Sequence[Points | ClassManifold]) -> tuple[list[Tensor], Tensor]:
    """`reduced`, and of each point of all clouds the first that it has become one with, counted over all of them."""
    matrices = [on_float64_device(as_points(m)) for m in manifolds]
    sizes = [len(matrix) for matrix in matrices]
    n_points, n_features = sum(sizes), matrices[0].shape[1]
    products = torch.zeros(n_points, n_points, dtype=torch.float64, device=matrices[0].device)
    for columns in blocks(n_features, n_points):
        block = centred(torch.cat([matrix[:, columns] for matrix in matrices]), "none")
        add_squared(products, block)
    _refuse_overflow(products)
    values, axes = torch.linalg.eigh(products)
    kept = min(n_points - 1, n_features)
    coordinates = (axes * values.clamp(min=0).sqrt()).flip(1)[:, :kept]
    norms = products.diagonal()
    squares = norms[:, None] + norms - 2 * products
    first_equal = (squares <= _SAME * norms.max()).to(torch.int8).argmax(1)
    return list(torch.split(coordinates[first_equal], sizes)), first_equal


def principal_coordinates(points: Tensor, *, least: float = 0.0) -> Tensor:
    """The points along the axes that they span, the largest first: the same in whatever axes and order they come.

    Args:
        points: (n_points, n_features) float64, as they lie from the origin.
        least: squared length below which all points together do not span an axis; beyond rounding.

    Returns:
        (n_points, d); each axis points to where the cubes of its coordinates have a positive sum.

    Example:
        >>> principal_coordinates(torch.tensor([[0.0, -3.0], [1.0, 0.0]]).double()).abs().tolist()
        [[3.0, 0.0], [0.0, 1.0]]
    """
    narrow = points.shape[1] < points.shape[0]
    values, axes = torch.linalg.eigh(points.T @ points if narrow else points @ points.T)
    kept = values > max(float(values[-1]) * len(points) * torch.finfo(torch.float64).eps, least)
    own = (points @ axes[:, kept] if narrow else axes[:, kept] * values[kept].sqrt()).flip(1)
    signed: Tensor = own * torch.where((own**3).sum(0) < 0, -1.0, 1.0)
    return signed


def _variances_of_many(matrices: Sequence[Tensor], scaling: Scaling, dtype: torch.dtype) -> Tensor:
    """(number of clouds, n_points) float64 on the CPU, descending; of clouds of one shape, perhaps not finite."""
    products = torch.cat(list(_grams(matrices, scaling, dtype)))
    if not torch.isfinite(products).all():
        for matrix in matrices:
            require_finite(matrix)
    return _variances(products, len(matrices[0]))


def _grams(matrices: Sequence[Tensor], scaling: Scaling, dtype: torch.dtype) -> Iterator[Tensor]:
    """Inner products, (some clouds, n_points, n_points) float64 at a time, summed up in `dtype`.

    Small clouds are stacked, as many as stay in the processor's own memory; of large ones, each is work enough.
    """
    n_points, n_features = matrices[0].shape
    at_once = _STACKED // (n_points * n_features)
    if at_once < _WORTH_STACKING:
        columns = n_features if dtype == torch.float32 else next(blocks(n_features, n_points)).stop
        room = torch.empty(n_points, columns, dtype=dtype)
        yield from (_gram(matrix, scaling, room)[None] for matrix in matrices)
        return
    stack = torch.empty(at_once, n_points, n_features, dtype=dtype, device=matrices[0].device)
    for start in range(0, len(matrices), at_once):
        some = stack[: len(matrices) - start]
        for place, matrix in zip(some, matrices[start:], strict=False):
            place.copy_(matrix)
        some -= some[:, :1].clone()  # as in `centred`
        some -= some.mean(1, keepdim=True)
        if scaling == "standardise":
            some *= inverse_roots(some.square().sum(1, keepdim=True) / (n_points - 1))
        yield torch.bmm(some, some.mT).to(torch.float64)


def _gram(matrix: Tensor, scaling: Scaling, room: Tensor) -> Tensor:
    """(n_points, n_points) float64, summed up in the type of `room`."""
    if room.dtype == torch.float64 and matrix.numel() > room.numel():
        return Gram._of_checked(matrix, scaling).products
    return squared(centred(matrix, scaling, room.dtype, room)).to(torch.float64)


def _variances(products: Tensor, n_points: int) -> Tensor:
    """(..., size) float64 on the CPU, descending: eigenvalues of (..., size, size) products over n_points - 1."""
    _refuse_overflow(products)
    eigenvalues = _eigenvalues(products).flip(-1) / (n_points - 1)
    # Below this share of the largest, an eigenvalue is the rounding of the decomposition.
    floor = eigenvalues[..., :1] * products.shape[-1] * torch.finfo(torch.float64).eps
    return torch.where(eigenvalues > floor, eigenvalues, 0.0)


def _eigenvalues(products: Tensor) -> Tensor:
    """Ascending, on the CPU; of one matrix computed by numpy there, see `moments.centred`."""
    if products.device.type == "cpu" and products.ndim == 2:
        return torch.from_numpy(np.linalg.eigvalsh(products.numpy()))
    values: Tensor = torch.linalg.eigvalsh(products)
    return values.cpu()


def _refuse_overflow(products: Tensor) -> None:
    finite = np.isfinite(products.numpy()) if products.device.type == "cpu" else torch.isfinite(products)
    if not finite.all():
        raise GeometryError("the points are so far apart that their eigenvalues overflow; divide them by a constant")


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise GeometryError(f"fraction = {fraction}; expected a share of the variance above 0 and at most 1, as 0.95")
