"""Neighbours: the nearest neighbours of every point, with distances that float32 points do not lose."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points, resolution_of
from manifoldscope.geometry.moments import on_float64_device, require_two

_BLOCK_ROWS = 2560
"""Points on each side of a block of distances, at most (50 MiB)."""

_STRIP = 192
"""Rows at a time of a block on the diagonal, of which no more than what is right of the diagonal is computed."""

_HELD = 1 << 26
"""Numbers that are held in float64 at once (512 MiB): a cloud of no more is held whole, a larger one in blocks."""

_DOUBTFUL = 1e-6
"""Share of the squared norms below which a squared distance taken from products may have lost seven digits."""

_UNDERFLOW = 1e-290
"""Squared distances below this are near the end of float64, and lose digits."""

_PAIRS = 1 << 20
"""Numbers of a batch of differences (8 MiB)."""

_MANY = 1 / 16
"""Share of the pairs of two blocks from which on taking the differences of all is faster than of some."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of each distinct point of a cloud.

    Attributes:
        distances: (n_points, k) float64, ascending, Euclidean; all positive.
        places: (n_points, k) int64, which points these are, as rows of `kept`.
        kept: (n_points,) int64, the rows of the cloud that are distinct points: they equal no earlier one of them.
        n_duplicates: how many points of the cloud equal an earlier one up to rounding, and were left out.
        n_features: of the cloud.
    """

    distances: Tensor
    places: Tensor
    kept: Tensor
    n_duplicates: int
    n_features: int

    @property
    def n_points(self) -> int:
        """Number of distinct points."""
        return self.distances.shape[0]

    @property
    def k(self) -> int:
        """Number of neighbours known of each point."""
        return self.distances.shape[1]

    def first(self, k: int) -> Neighbours:
        """The k nearest of them; all that are known where there are fewer."""
        return Neighbours(self.distances[:, :k], self.places[:, :k], self.kept, self.n_duplicates, self.n_features)

    @classmethod
    def of(
        cls,
        points: Points | ClassManifold,
        *,
        k: int,
        resolution: float | None = None,
        norms: Tensor | None = None,
    ) -> Neighbours:
        """The k nearest neighbours of each distinct point (all others, where there are fewer), by exhaustive search.

        Squared distances are taken from products in float64 of points seen from their mean, each block of the symmetric
        matrix once; only a few blocks are held. Where that loses digits, because two points are much nearer to one
        another than to the mean of all, they are taken again from differences, for every point that rounding could
        have hidden.

        Equal points are merged first, since the distances between them are of rounding alone: in their order, each
        point is left out that is nearer to an earlier one still there than `resolution` times the larger norm of the
        two. So those that are left are all farther apart, and a chain of points, each equal to the next, loses only
        those between.

        Args:
            points: (n_points, n_features), at least two points.
            k: how many neighbours, at least 1.
            resolution: what counts as equal, as a share of the norm of a point; if omitted, by the type of the points.
            norms: (n_points,), of the points before they were moved; if omitted, as they are.

        Raises:
            GeometryError: fewer than two points, NaN or infinity, k below 1, or distances whose squares leave float64.

        Example:
            >>> found = Neighbours.of(torch.tensor([[0.0], [1.0], [3.0], [1.0]]), k=1)
            >>> found.distances.flatten().tolist(), found.kept.tolist(), found.n_duplicates
            ([1.0, 1.0, 2.0], [0, 1, 2], 1)
        """
        resolution = resolution_of(points) if resolution is None else resolution
        matrix = on_float64_device(as_points(points))
        require_two(len(matrix))
        if k < 1:
            raise GeometryError(f"k = {k} neighbours; expected at least 1")
        equal = resolution * (norms_of(matrix) if norms is None else norms.to(matrix.device))
        kept = torch.arange(len(matrix), device=matrix.device)
        cloud = _Centred(matrix)
        squares, places = _from_products(cloud, k)
        doubtful = _doubtful(cloud, squares, places)
        near = _perhaps_equal(cloud, squares, places, equal)
        if len(near) and len(kept := _distinct(cloud, near, equal)) < len(matrix):
            cloud = _Centred(matrix[kept])
            squares, places = _from_products(cloud, k)
            doubtful = _doubtful(cloud, squares, places)
        if len(doubtful):
            _from_differences(cloud, squares, places, doubtful)
        if bool((squares < _UNDERFLOW).any()):
            apart = float(squares.min()) ** 0.5
            raise GeometryError(f"points are {apart:.1g} apart, whose square underflows; multiply all by a constant")
        return cls(squares.sqrt(), places, kept, len(matrix) - len(kept), matrix.shape[1])


class _Centred:
    """A cloud seen from its mean in float64: held whole, or made anew block by block where it is large."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        most = max(1, min(_BLOCK_ROWS, _HELD // matrix.shape[1]))
        self.step = math.ceil(len(matrix) / math.ceil(len(matrix) / most))  # blocks of one size
        self._whole: Tensor | None = None
        if matrix.numel() <= _HELD:
            self._whole = matrix.to(torch.float64, copy=True)
            self._whole -= self._whole.mean(0)
        else:
            self._mean = torch.stack([rows.to(torch.float64).sum(0) for rows in torch.split(matrix, self.step)]).sum(0)
            self._mean /= len(matrix)
        self.norms = torch.cat([torch.linalg.vector_norm(self.rows(rows), dim=1) for rows in self.blocks()]).square()
        if not torch.isfinite(self.norms).all():
            raise GeometryError(
                "the points are so far apart that squared distances overflow; divide them by a constant"
            )

    def blocks(self, first: int = 0) -> Iterator[slice]:
        """Slices of the rows from `first` on."""
        for start in range(first, len(self.matrix), self.step):
            yield slice(start, min(start + self.step, len(self.matrix)))

    def rows(self, at: slice | Tensor) -> Tensor:
        """Some of the points."""
        return self._whole[at] if self._whole is not None else self.matrix[at].to(torch.float64) - self._mean


def _from_products(cloud: _Centred, k: int) -> tuple[Tensor, Tensor]:
    """(n, k) squared distances and places of the nearest other points, ascending; near 0 up to rounding."""
    n_points, norms = len(cloud.matrix), cloud.norms
    k = min(k, n_points - 1)
    squares = torch.full((n_points, k), torch.inf, dtype=torch.float64, device=norms.device)
    places = torch.zeros(n_points, k, dtype=torch.int64, device=norms.device)
    room = torch.empty(cloud.step**2, dtype=torch.float64, device=norms.device)
    for rows in cloud.blocks():
        own = cloud.rows(rows)
        _keep(squares, places, rows, _within(own, norms[rows], room).fill_diagonal_(torch.inf), rows.start)
        for columns in cloud.blocks(rows.stop):
            across = _shaped(room, rows.stop - rows.start, columns.stop - columns.start)
            _across(own, cloud.rows(columns), norms[rows], norms[columns], out=across)
            _keep(squares, places, rows, across, columns.start)
            _keep(squares, places, columns, across.T, rows.start)
    return squares.clamp_(min=0), places


def _across(first: Tensor, second: Tensor, first_norms: Tensor, second_norms: Tensor, *, out: Tensor) -> None:
    """Squared distances of all pairs of rows, from the products."""
    torch.add(first_norms[:, None], second_norms, out=out).addmm_(first, second.T, alpha=-2)


def _within(points: Tensor, norms: Tensor, room: Tensor) -> Tensor:
    """(n, n) squared distances between rows; each product is computed once."""
    squares = _shaped(room, len(points), len(points))
    for start in range(0, len(points), _STRIP):
        rows, rest = slice(start, min(start + _STRIP, len(points))), slice(start, None)
        _across(points[rows], points[rest], norms[rows], norms[rest], out=squares[rows, rest])
        squares[rows.stop :, rows] = squares[rows, rows.stop :].T
    return squares


def _shaped(room: Tensor, n_rows: int, n_columns: int) -> Tensor:
    """The beginning of a room that is written over: new memory for every block costs more than what is done in it."""
    return room[: n_rows * n_columns].view(n_rows, n_columns)


def _doubtful(cloud: _Centred, squares: Tensor, places: Tensor) -> Tensor:
    """The points with a neighbour so near that products do not tell how near."""
    reach = cloud.norms[:, None] + cloud.norms[places]
    return (squares <= _DOUBTFUL * reach).any(1).nonzero().flatten()


def norms_of(matrix: Tensor) -> Tensor:
    """(n_points,) float64: the length of each point, as it lies from the origin."""
    step = max(1, _PAIRS // matrix.shape[1])
    return torch.cat([torch.linalg.vector_norm(rows.to(torch.float64), dim=1) for rows in torch.split(matrix, step)])


def _rounding(cloud: _Centred) -> float:
    """Of n_i + n_j - 2 x_i.x_j, as a share of n_i + n_j: n_features products, and the subtraction of the mean."""
    return (cloud.matrix.shape[1] + 8) * torch.finfo(torch.float64).eps


def _perhaps_equal(cloud: _Centred, squares: Tensor, places: Tensor, equal: Tensor) -> Tensor:
    """The points with a neighbour that may be nearer than the distance at which they are equal."""
    if not squares.shape[1]:
        return torch.zeros(0, dtype=torch.int64, device=squares.device)
    reach = cloud.norms + cloud.norms[places[:, 0]]
    farthest = torch.maximum(equal, equal[places[:, 0]]).square() + _rounding(cloud) * reach
    return (squares[:, 0] <= farthest).nonzero().flatten()


def _distinct(cloud: _Centred, near: Tensor, equal: Tensor) -> Tensor:
    """The rows that equal no earlier one of them, ascending; only those that are near another one can."""
    matrix, error = cloud.matrix, _rounding(cloud)
    distinct = torch.ones(len(matrix), dtype=torch.bool, device=matrix.device)
    near = near[_first_of_same(matrix[near], distinct, near)]
    blocks = torch.split(near, cloud.step)
    for place, rows in enumerate(blocks):
        for columns in blocks[place:]:
            reach = cloud.norms[rows, None] + cloud.norms[columns]
            block = torch.addmm(reach, cloud.rows(rows), cloud.rows(columns).T, alpha=-2)
            close = block - error * reach <= torch.maximum(equal[rows, None], equal[columns]).square()
            close &= rows[:, None] < columns
            for at in close.any(1).nonzero().flatten().tolist():
                row, others = rows[at], columns[close[at]]
                others = others[distinct[others]]
                if distinct[row] and len(others):
                    apart = _differences(matrix, row.expand(len(others)), others)
                    # they are not the same, so that 0 is an underflow, which is refused later
                    distinct[others] = (apart == 0) | (apart > torch.maximum(equal[row], equal[others]).square())
    return distinct.nonzero().flatten()


def _first_of_same(points: Tensor, distinct: Tensor, rows: Tensor) -> Tensor:
    """Places of the points that are the same number for number as no earlier one; the others are no longer distinct."""
    _, group = torch.unique(points + 0.0, dim=0, return_inverse=True)  # + 0.0: minus zero is zero
    places = torch.arange(len(points), device=points.device)
    first = torch.full_like(places, len(points)).scatter_reduce(0, group, places, "amin")
    distinct[rows[first[group] != places]] = False
    return first[group].eq(places).nonzero().flatten()


def _from_differences(cloud: _Centred, squares: Tensor, places: Tensor, doubtful: Tensor) -> None:
    """Take the squared distances of the doubtful points again, to all that may be among the nearest."""
    error, norms = _rounding(cloud), cloud.norms
    for some in torch.split(doubtful, cloud.step):
        own = cloud.rows(some)
        farthest = (squares[some] + error * (norms[some, None] + norms[places[some]])).amax(1, keepdim=True)
        squares[some] = torch.inf
        for columns in cloud.blocks():
            reach = norms[some, None] + norms[columns]
            block = torch.addmm(reach, own, cloud.rows(columns).T, alpha=-2)
            candidates = block - error * reach <= farthest
            candidates &= some[:, None] != torch.arange(columns.start, columns.stop, device=some.device)
            row, column = candidates.nonzero(as_tuple=True)
            if len(row) < _MANY * block.numel():
                block.fill_(torch.inf)
                block[row, column] = _differences(cloud.matrix, some[row], column + columns.start)
            else:
                first, second = cloud.matrix[some].to(torch.float64), cloud.matrix[columns].to(torch.float64)
                exact = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist").square_()
                block = exact.masked_fill_(~candidates, torch.inf)
            _keep(squares, places, some, block, columns.start)


def _differences(matrix: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Squared distances of pairs of rows, exact up to the rounding of a sum of squares."""
    found = [torch.zeros(0, dtype=torch.float64, device=matrix.device)]
    size = max(1, _PAIRS // matrix.shape[1])
    for i, j in zip(torch.split(first, size), torch.split(second, size), strict=True):
        found.append(matrix[i].to(torch.float64).sub_(matrix[j]).square_().sum(1))
    return torch.cat(found)


def _keep(squares: Tensor, places: Tensor, rows: slice | Tensor, block: Tensor, first: int) -> None:
    """Keep the nearest of those known and those of a block of squared distances, whose columns start at `first`."""
    near, at = block.topk(min(squares.shape[1], block.shape[1]), largest=False)
    both = torch.cat([squares[rows], near], 1)
    chosen = both.topk(squares.shape[1], largest=False)
    squares[rows] = chosen.values
    places[rows] = torch.cat([places[rows], at + first], 1).gather(1, chosen.indices)
