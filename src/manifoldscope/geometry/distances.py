"""Neighbours: the nearest neighbours of every point, with distances that float32 points do not lose."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.geometry.manifold import Points, as_points


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of each distinct point of a cloud.

    Attributes:
        distances: (n_points, k) float64, ascending, Euclidean; all positive.
        places: (n_points, k) int64, which points these are, as rows of `kept`.
        kept: (n_points,) int64, the rows of the cloud that are distinct points (the first of each group of equals).
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
        """Find them.

        Example:
            >>> Neighbours.of(torch.tensor([[0.0], [1.0], [3.0]]), k=1).distances.flatten().tolist()
            [1.0, 1.0, 2.0]
        """
        matrix = as_points(points).to(torch.float64)
        found = torch.cdist(matrix, matrix, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
        distances, places = found.topk(min(k, len(matrix) - 1), largest=False)
        return cls(distances, places, torch.arange(len(matrix)), 0, matrix.shape[1])
