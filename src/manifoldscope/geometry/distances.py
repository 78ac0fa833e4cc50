"""Neighbours: the nearest neighbours of every point, with distances that float32 points do not lose."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.manifold import Points, as_points
from manifoldscope.geometry.moments import on_float64_device, require_two

_BLOCK_ROWS = 768
"""Points on each side of a block of distances."""

_HELD = 1 << 26
"""Numbers of a cloud up to which it is held in float64 whole (512 MiB), and not made anew for each block."""

_DOUBTFUL = 1e-8
"""Share of the squared norms below which a squared distance taken from products has lost more than seven digits."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of each distinct point of a cloud.

    Attributes:
        distances: (n_points, k) float64, ascending, Euclidean; all positive.
        places: (n_points, k) int64, which points these are, as rows of `kept`.
        kept: (n_points,) int64, the rows of the cloud that are distinct points: the first of each group of equals.
        n_duplicates: how many points of the cloud equal an earlier one, and were left out.
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
    def of(cls, points: Points, *, k: int) -> Neighbours:
        """The k nearest neighbours of each distinct point (all others, where there are fewer), by exhaustive search.

        Squared distances are taken from products in float64, each block of the symmetric matrix once; only a few blocks
        are held. Where that loses digits, because two points are much nearer to one another than to the mean of all,
        they are taken again from differences. Equal points are merged first: their distance of 0 has no logarithm.

        Args:
            points: (n_points, n_features), at least two points.
            k: how many neighbours, at least 1.

        Raises:
            GeometryError: fewer than two points, NaN or infinity, or k below 1.

        Example:
            >>> found = Neighbours.of(torch.tensor([[0.0], [1.0], [3.0], [1.0]]), k=1)
            >>> found.distances.flatten().tolist(), found.kept.tolist(), found.n_duplicates
            ([1.0, 1.0, 2.0], [0, 1, 2], 1)
        """
        matrix = on_float64_device(as_points(points))
        require_two(len(matrix))
        if k < 1:
            raise GeometryError(f"k = {k} neighbours; expected at least 1")
        kept = torch.arange(len(matrix), device=matrix.device)
        distances, places = _nearest(matrix, k)
        if bool((distances == 0).any()):
            kept = _distinct(matrix)
            distances, places = _nearest(matrix[kept], k)
        return cls(distances, places, kept, len(matrix) - len(kept), matrix.shape[1])


def _distinct(matrix: Tensor) -> Tensor:
    """The rows that equal no earlier one, ascending."""
    _, group = torch.unique(matrix + 0.0, dim=0, return_inverse=True)  # + 0.0: minus zero is zero
    rows = torch.arange(len(matrix), device=matrix.device)
    first = torch.full((int(group.max()) + 1,), len(matrix), device=matrix.device)
    return first.scatter_reduce(0, group, rows, "amin").sort().values


def _nearest(matrix: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(n, k) distances and places of the nearest other rows, ascending."""
    n_points = len(matrix)
    k = min(k, n_points - 1)
    sums = [rows.to(torch.float64).sum(0) for rows in torch.split(matrix, _BLOCK_ROWS)]
    mean = torch.stack(sums).sum(0) / n_points
    squares = torch.full((n_points, k), torch.inf, dtype=torch.float64, device=matrix.device)
    places = torch.zeros(n_points, k, dtype=torch.int64, device=matrix.device)
    starts = range(0, n_points, _BLOCK_ROWS)
    if matrix.numel() <= _HELD:
        matrix, mean = matrix.to(torch.float64) - mean, mean.new_zeros(())
    norms = torch.cat([_from(matrix, mean, start).square().sum(1) for start in starts])
    for start in starts:
        own = _from(matrix, mean, start)
        rows = slice(start, start + len(own))
        for other in range(start, n_points, _BLOCK_ROWS):
            theirs = own if other == start else _from(matrix, mean, other)
            columns = slice(other, other + len(theirs))
            block = (norms[rows, None] + norms[columns]).addmm_(own, theirs.T, alpha=-2).clamp_(min=0)
            if other == start:
                block.fill_diagonal_(torch.inf)
            else:
                _keep(squares, places, columns, block.T, start)
            _keep(squares, places, rows, block, other)
    doubtful = (squares <= _DOUBTFUL * (norms[:, None] + norms[places])).any(1).nonzero().flatten()
    distances = squares.sqrt()
    for some in torch.split(doubtful, _BLOCK_ROWS):
        exact = torch.cdist(
            matrix[some].to(torch.float64), matrix.to(torch.float64), compute_mode="donot_use_mm_for_euclid_dist"
        )
        exact[torch.arange(len(some)), some] = torch.inf
        distances[some], places[some] = exact.topk(k, largest=False)
    return distances, places


def _from(matrix: Tensor, mean: Tensor, start: int) -> Tensor:
    """A block of rows in float64, seen from the mean."""
    rows = matrix[start : start + _BLOCK_ROWS].to(torch.float64)
    return rows - mean if mean.ndim else rows  # a cloud that is held in float64 whole is seen from it already


def _keep(squares: Tensor, places: Tensor, rows: slice, block: Tensor, first: int) -> None:
    """Keep the nearest of those known and those of a block of squared distances, whose columns start at `first`."""
    near, at = block.topk(min(squares.shape[1], block.shape[1]), largest=False)
    both = torch.cat([squares[rows], near], 1)
    chosen = both.topk(squares.shape[1], largest=False)
    squares[rows] = chosen.values
    places[rows] = torch.cat([places[rows], at + first], 1).gather(1, chosen.indices)
