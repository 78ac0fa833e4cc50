"""What so many points can and cannot show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from manifoldscope.geometry.estimate import Estimate, measure
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.spectrum import Scaling

UNSTABLE = 0.1
"""A value that falls by more than this share when half of the points are left out describes the sample."""


def halves(points: Points | ClassManifold, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The points in two halves, chosen at random without replacement; of an odd number, one point is in neither.

    Replacement would repeat points, and repeated points span fewer dimensions than distinct ones.

    Args:
        points: (n_points, n_features), at least two.
        generator: a CPU generator, so that every device draws the same halves.

    Example:
        >>> first, second = halves(torch.arange(10.0)[:, None], generator=torch.Generator().manual_seed(0))
        >>> len(first), sorted(torch.cat([first, second]).flatten().int().tolist())
        (5, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    matrix = points.points if isinstance(points, ClassManifold) else as_points(points)
    order = torch.randperm(len(matrix), generator=generator).to(matrix.device)
    half = len(matrix) // 2
    return matrix[order[:half]], matrix[order[half : 2 * half]]


def with_half_sample_note(
    estimate: Estimate,
    name: str,
    points: Points | ClassManifold,
    *,
    generator: torch.Generator,
    scaling: Scaling = "none",
    parameters: Mapping[str, Any] | None = None,
) -> Estimate:
    """The estimate, with a note where it falls by more than 10% when half of the points are left out.

    The value is compared with the mean over two disjoint halves. Fewer than four points cannot be halved, and get no
    note (their ceiling says enough); nor does a value that is not a positive number.

    Args:
        estimate: what `measure(name, points, scaling=scaling, **parameters)` gave.
        generator: a CPU generator that chooses the halves.

    Example:
        >>> points = torch.randn(40, 500, generator=torch.Generator().manual_seed(0))
        >>> whole = measure("participation_ratio", points)
        >>> noted = with_half_sample_note(
        ...     whole, "participation_ratio", points, generator=torch.Generator().manual_seed(1)
        ... )
        >>> noted.note.split("; ")[-1]
        'falls by 49% when half of the points are left out: it describes the sample'
    """
    if estimate.n_points < 4 or not estimate.value > 0:
        return estimate
    settings = parameters or {}
    values = [measure(name, half, scaling=scaling, **settings).value for half in halves(points, generator=generator)]
    fall = 1 - sum(values) / len(values) / estimate.value
    if not fall > UNSTABLE:
        return estimate
    return estimate.noting(f"falls by {fall:.0%} when half of the points are left out: it describes the sample")
