"""Estimate: the value of a measure with what is needed to judge it; and the registry of measures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.spectrum import Scaling, Spectrum, standardise
from manifoldscope.registry import Registry

NEAR_CEILING = 0.9
"""A value at or above this share of its ceiling says more about the sample than about the manifold."""

MEASURES = Registry("measure", package="manifoldscope.geometry")
"""Every measure of one class manifold. `reads` says what it takes: a "spectrum" or the "points" themselves."""

Reads = Literal["spectrum", "points"]


@dataclass(frozen=True)
class Estimate:
    """A measured value and the sample it rests on.

    Attributes:
        value: the measure; NaN only together with a note that gives the reason.
        n_points, n_features: the shape of the sample.
        ceiling: the largest value that so many points and features could have shown; None where there is no bound.
        stderr: standard error by subsampling, where the measure gives one.
        parameters: what else defines the measure.
        note: what a reader must know before using the value; empty where there is nothing.

    Example:
        >>> Estimate(12.0, n_points=50, n_features=2048).noting("from one layer").note
        'from one layer'
    """

    value: float
    n_points: int
    n_features: int
    ceiling: float | None = None
    stderr: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value) and not self.note:
            raise GeometryError("a measure gave NaN without a note; the note must say why there is no value")

    def noting(self, note: str) -> Estimate:
        """The same estimate with one more note."""
        return replace(self, note="; ".join(filter(None, [self.note, note])))


def measure(
    name: str, points: Points | ClassManifold | Spectrum, *, scaling: Scaling = "none", **parameters: Any
) -> Estimate:
    """The measure registered as `name`, of one cloud of points.

    Args:
        name: one of `MEASURES.names()`.
        points: (n_points, n_features), at least two points. A `Spectrum` will do for a measure that reads one, and
            saves computing it again for each of several measures; its own scaling is then the one that counts.
        scaling: "standardise" scales each feature to unit variance first.
        **parameters: the measure's own keyword-only parameters, such as `fraction`.

    Returns:
        The estimate; `parameters` has every parameter of the measure, and `scaling` where it is not "none".

    Raises:
        StudyError: a measure or a parameter that does not exist, or a value of the wrong type.
        GeometryError: points that cannot be measured, or a spectrum where the points themselves are needed.

    Example:
        >>> import torch
        >>> estimate = measure("pca_dimension", torch.eye(5), fraction=0.8)
        >>> estimate.value, estimate.ceiling, estimate.note
        (4.0, 4, '4 is within 10% of 4, the most that 5 points can show: it describes the sample')
    """
    entry = MEASURES[name]
    settings = entry.validate(parameters)
    reads: Reads = entry.traits["reads"]
    if isinstance(points, Spectrum):
        if reads != "spectrum":
            raise GeometryError(f"{name} reads the points themselves; give it the points and not their spectrum")
        if scaling not in ("none", points.scaling):
            raise GeometryError(f"the spectrum was taken with scaling {points.scaling!r}, not {scaling!r}")
        scaling = points.scaling
        estimate: Estimate = entry.target(points, **settings)
    elif reads == "spectrum":
        estimate = entry.target(Spectrum.of(points, scaling=scaling), **settings)
    else:
        matrix = points.points if isinstance(points, ClassManifold) else as_points(points)
        estimate = entry.target(standardise(matrix) if scaling == "standardise" else matrix, **settings)
    if scaling != "none":
        estimate = replace(estimate, parameters={**estimate.parameters, "scaling": scaling})
    return _noting_ceiling(estimate)


def _noting_ceiling(estimate: Estimate) -> Estimate:
    ceiling = estimate.ceiling
    if not ceiling or not estimate.value >= NEAR_CEILING * ceiling:
        return estimate
    by_points = estimate.n_points - 1 < estimate.n_features
    sample = f"{estimate.n_points} points" if by_points else f"{estimate.n_features} features"
    described = "the sample" if by_points else "the width of the layer"
    return estimate.noting(
        f"{estimate.value:.3g} is within 10% of {ceiling:.3g}, the most that {sample} can show: "
        f"it describes {described}"
    )
