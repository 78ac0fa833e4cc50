"""Some of the points of a cloud, or of each class, and what a measure says of them: what this room's samplers share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Cloud, Clouds
from manifoldscope.geometry.estimate import Estimate, JointEstimate
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.measures import MEASURES, measure
from manifoldscope.geometry.moments import Scaling

Manifold: TypeAlias = Points | ClassManifold
Wanted: TypeAlias = str | tuple[str, Mapping[str, Any]]
"""A measure by its name, or with its parameters."""


EQUAL = 1e-9
"""Values that differ by less than this share of themselves differ by rounding."""

Place: TypeAlias = int | str | tuple[int, int]
Parts: TypeAlias = dict[Place, Estimate] | str
"""The estimates of a joint measure by class, "whole" or pair; of one cloud as "whole"; or why there are none."""


def parts_of(found: Estimate | JointEstimate) -> dict[Place, Estimate]:
    """The estimates of a joint measure by class, "whole" or pair; one estimate as "whole"."""
    if isinstance(found, Estimate):
        return {"whole": found}
    parts: dict[Place, Estimate] = dict(enumerate(found.classes))
    if found.whole is not None:
        parts["whole"] = found.whole
    for places, estimate in found.pairs.items():
        parts[places] = estimate
    return parts


def parts_or_reason(name: str, subject: Cloud | Clouds, settings: Mapping[str, Any]) -> Parts:
    """What a measure says of some points, or why it refuses them."""
    try:
        return parts_of(measure(name, subject, **settings))
    except GeometryError as error:
        return str(error)


def whole_or_reason(name: str, subject: Cloud | Clouds, settings: Mapping[str, Any]) -> Estimate | str:
    """The value of a cloud, or of classes as a whole, if it is finite."""
    found = parts_or_reason(name, subject, settings)
    if isinstance(found, str):
        return found
    if "whole" not in found:
        raise GeometryError(f"{name} says nothing of several classes as a whole; give the points of one class")
    return finite_or_reason(found["whole"])


def finite_or_reason(estimate: Estimate) -> Estimate | str:
    """The estimate, or why it has no finite value."""
    if math.isfinite(estimate.value):
        return estimate
    return estimate.note or f"the value is {estimate.value}"


def as_subject(
    points: Manifold | Cloud | Sequence[Manifold] | Clouds, names: Sequence[str], scaling: Scaling
) -> Cloud | Clouds:
    """What is to be measured many times: in few coordinates, where none of the measures can tell."""
    subject: Cloud | Clouds
    if isinstance(points, Cloud | Clouds):
        if scaling not in ("none", points.scaling):
            raise GeometryError(f"the points were read with scaling {points.scaling!r}, not {scaling!r}")
        subject = points
    elif not isinstance(points, Tensor | np.ndarray | ClassManifold):
        subject = Clouds(points, scaling=scaling)
    else:
        subject = Cloud(points, scaling=scaling)
    blind = all({"rotation", "shift"} <= set(MEASURES[name].traits["invariant_to"]) for name in names)
    return subject.reduced() if blind else subject


def single(subject: Cloud | Clouds) -> Cloud:
    """The one cloud. Raises GeometryError for several."""
    if isinstance(subject, Clouds):
        raise GeometryError(f"{len(subject)} manifolds; expected the points of one class, (n_points, n_features)")
    return subject


def sizes_of(subject: Cloud | Clouds) -> list[int]:
    """Number of points of each class."""
    return [cloud.n_points for cloud in ([subject] if isinstance(subject, Cloud) else subject)]


def random_rows(n_points: int, size: int, generator: torch.Generator) -> Tensor:
    """Some of the rows, in their order."""
    return torch.randperm(n_points, generator=generator)[:size].sort().values


def half_rows(n_points: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The numbers of the points of two halves; of an odd number, one is in neither."""
    order = torch.randperm(n_points, generator=generator)
    half = n_points // 2
    return order[:half], order[half : 2 * half]


def random_subset(subject: Cloud | Clouds, size: int, generator: torch.Generator) -> Cloud | Clouds:
    """So many of the points, of each class."""
    rows = [random_rows(n_points, size, generator) for n_points in sizes_of(subject)]
    return subject.subset(rows[0]) if isinstance(subject, Cloud) else subject.subset(rows)


def halved(subject: Cloud | Clouds, generator: torch.Generator) -> tuple[Cloud | Clouds, Cloud | Clouds]:
    """Two disjoint halves of the points, of each class."""
    rows = [half_rows(n_points, generator) for n_points in sizes_of(subject)]
    if isinstance(subject, Cloud):
        return subject.subset(rows[0][0]), subject.subset(rows[0][1])
    return subject.subset([first for first, _ in rows]), subject.subset([second for _, second in rows])


def size_grid(n_points: int, *, smallest: int) -> tuple[int, ...]:
    """n_points, and fewer by steps of sqrt(2) while there are at least `smallest`; ascending.

    Example:
        >>> size_grid(40, smallest=8)
        (10, 14, 20, 28, 40)
    """
    sizes = [n_points]
    while (size := round(n_points / 2 ** (len(sizes) / 2))) >= max(smallest, 2) and size < sizes[-1]:
        sizes.append(size)
    return tuple(reversed(sizes))


def checked_sizes(sizes: Sequence[int], n_points: int) -> tuple[int, ...]:
    """The sizes, each once, ascending. Raises GeometryError where that many points cannot be drawn."""
    chosen = tuple(sorted(set(sizes)))
    if not chosen or chosen[0] < 2 or chosen[-1] > n_points:
        raise GeometryError(
            f"{list(sizes)} of {n_points} points cannot be drawn; expected from 2 to {n_points}, each point once"
        )
    return chosen


def described(settings: Mapping[str, Any], subject: Cloud | Clouds) -> dict[str, Any]:
    """The parameters as an estimate has them."""
    return dict(settings) if subject.scaling == "none" else {**settings, "scaling": subject.scaling}


def require_at_least_one(what: str, number: int) -> None:
    """Raise GeometryError for a number below 1."""
    if number < 1:
        raise GeometryError(f"{what} = {number}; expected at least 1")


def mean_of(values: Sequence[float]) -> float:
    """NaN of none."""
    return math.fsum(values) / len(values) if values else math.nan


def standard_deviation(values: Sequence[float]) -> float:
    """Standard deviation, divisor n - 1; 0 of one value and of values that differ by rounding, NaN of none."""
    if len(values) < 2 or max(values) - min(values) <= EQUAL * max(map(abs, values)):
        return 0.0 if values else math.nan
    return float(np.std(values, ddof=1))
