"""How much of what a measure says of classes another sample of their images would say as well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.measures import MEASURES, measure
from manifoldscope.geometry.moments import Scaling
from manifoldscope.geometry.sampling import standard_error
from manifoldscope.geometry.subsets import (
    Manifold,
    as_subject,
    described,
    halved,
    mean_of,
    parts_or_reason,
    require_at_least_one,
    sizes_of,
    standard_deviation,
)

_TWO_SIDED_95 = 1.959964
"""How many standard errors of a normal variable a 95% interval reaches to either side."""


@dataclass(frozen=True)
class Agreement:
    """How well two halves of the points agree on the order of the classes.

    Attributes:
        halves: correlation over the classes between the values of two halves of their points.
        full: the same between two samples of all points, by Spearman and Brown: 2 r / (1 + r); r where it is below 0.
        low, high: 95% interval of `full`.
    """

    halves: float
    full: float
    low: float
    high: float


@dataclass(frozen=True)
class Reliability:
    """How much of what a measure says of classes another sample of their images would say as well.

    Attributes:
        measure, parameters: what was measured.
        pearson, spearman: agreement of values, and of their ranks.
        standard_deviation: standard deviation of the value over classes.
        standard_error: standard error of the value of one class, typically (root of the mean square; see `subsampled`).
        n_classes: classes that were compared.
        n_splits: how many times the points were halved.
        note: what a reader must know before using it; empty where there is nothing.
    """

    measure: str
    pearson: Agreement
    spearman: Agreement
    standard_deviation: float
    standard_error: float
    n_classes: int
    n_splits: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def reliability(
    name: str,
    manifolds: Sequence[Manifold] | Clouds,
    *,
    n_splits: int = 10,
    generator: torch.Generator,
    scaling: Scaling = "none",
    **parameters: Any,
) -> Reliability:
    """Split-half reliability of a measure over the classes of a layer.

    Each class is halved at random, `n_splits` times; the values of one half are correlated over classes with those of
    the other, the correlations are averaged (as Fisher's z), and taken from half to full length by the formula of
    Spearman and Brown. No association of the measure with anything else can be expected to exceed the root of it.

    The interval is Fisher's, for one split: with standard error 1 / sqrt(classes - 3) of z, and 1.06 times that for
    ranks. Averaging over splits makes the estimate no less dependent on which classes there are. Three classes leave
    the whole range. The formula is for values whose halves differ by noise alone: of a dimension that few points hold
    down, halves tell the classes apart less well, and the reliability of all points is underestimated (0.45 where
    fresh samples of 60 points correlate by 0.51; the interval holds the true value).

    Args:
        name: one of `MEASURES.names()`, with a value for each class.
        manifolds: (n_points, n_features) each, at least three, of at least four points each.
        n_splits: how many times the points are halved.
        generator: a CPU generator that chooses the halves.
        scaling: as for `measure`.
        **parameters: of the measure.

    Returns:
        The reliability; NaN with the reason where the values do not vary, or fewer than three classes have any.

    Raises:
        GeometryError: as `measure`; fewer than three classes, a class of fewer than four points, no splits, or a
            measure that says nothing of single classes.

    References:
        Spearman, "Correlation calculated from faulty data" (1910); Brown, "Some experimental results in the correlation
        of mental abilities" (1910). Ranks: Fieller, Hartley and Pearson, "Tests for rank correlation coefficients. I"
        (1957).

    Example:
        >>> scales = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0])
        >>> noise = torch.randn(5, 200, 9, generator=torch.Generator().manual_seed(0))
        >>> classes = [cloud * scale ** torch.arange(9) for cloud, scale in zip(noise, scales)]
        >>> found = reliability("participation_ratio", classes, generator=torch.Generator().manual_seed(1))
        >>> round(found.pearson.full, 2), found.spearman.full > 0.99, found.n_classes, found.note
        (1.0, True, 5, '')
    """
    require_at_least_one("n_splits", n_splits)
    clouds = as_subject(manifolds, [name], scaling)
    if not isinstance(clouds, Clouds) or len(clouds) < 3:
        raise GeometryError("reliability compares classes; give a list of at least 3, each (n_points, n_features)")
    sizes = sizes_of(clouds)
    if min(sizes) < 4:
        raise GeometryError(f"a class has {min(sizes)} points; expected at least 4 of each, to be halved")
    settings = MEASURES[name].validate(parameters)
    whole = measure(name, clouds, **settings)
    if not whole.classes:
        raise GeometryError(f"{name} says nothing of single classes; choose a measure that gives each a value")
    first: list[list[float]] = []
    second: list[list[float]] = []
    reasons: list[str] = []
    for _ in range(n_splits):
        for half, seen in zip(halved(clouds, generator), (first, second), strict=True):
            found = parts_or_reason(name, half, settings)
            if isinstance(found, str):
                reasons.append(found)
                seen.append([math.nan] * len(clouds))
            else:
                seen.append([found[place].value for place in range(len(clouds))])
    values = np.array([estimate.value for estimate in whole.classes])
    one, other = np.array(first), np.array(second)  # (n_splits, n_classes)
    kept = np.isfinite(one).all(0) & np.isfinite(other).all(0) & np.isfinite(values)
    values, one, other = values[kept], one[:, kept], other[:, kept]
    notes = []
    if len(values) < len(clouds):
        notes.append(f"{len(clouds) - len(values)} of {len(clouds)} classes have no value for each half")
        notes += reasons[:1]
    if len(set(sizes)) > 1:
        notes.append(
            f"classes have {min(sizes)} to {max(sizes)} points, which alone makes values differ: draw equal sizes first"
        )
    errors = [
        standard_error(value, list(zip(a, b, strict=True)), share=0.5)
        for value, a, b in zip(values.tolist(), one.T.tolist(), other.T.tolist(), strict=True)
    ]
    spread, noise = standard_deviation(values.tolist()), math.sqrt(mean_of([error**2 for error in errors]))
    if len(values) < 3:
        notes.append(f"{len(values)} classes have values; a correlation needs 3")
    elif spread**2 < 2 * noise**2:
        notes.append(
            f"the classes differ by {spread:.2g} (sd), hardly more than two samples of one class: each has a standard "
            f"error of {noise:.2g}"
        )
    pearson = [_correlation(a, b) for a, b in zip(one, other, strict=True)]
    spearman = [_correlation(rankdata(a), rankdata(b)) for a, b in zip(one, other, strict=True)]
    if len(values) >= 3 and any(map(math.isnan, pearson)):
        notes.append("the classes have one value for some of the halves, so that there is no correlation")
    return Reliability(
        measure=name,
        pearson=_agreement(pearson, len(values), error=1.0),
        spearman=_agreement(spearman, len(values), error=1.06),
        standard_deviation=spread,
        standard_error=noise,
        n_classes=len(values),
        n_splits=n_splits,
        parameters=described(settings, clouds),
        note="; ".join(notes),
    )


def _correlation(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """Pearson's; NaN where either does not vary, or of fewer than three."""
    if len(first) < 3 or not standard_deviation(first.tolist()) or not standard_deviation(second.tolist()):
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def _agreement(correlations: Sequence[float], n_classes: int, *, error: float) -> Agreement:
    """Averaged over splits and taken to full length, with an interval from `error` / sqrt(n_classes - 3)."""
    if not correlations or any(map(math.isnan, correlations)):
        return Agreement(math.nan, math.nan, math.nan, math.nan)
    z = mean_of([math.atanh(max(-1 + 1e-12, min(1 - 1e-12, r))) for r in correlations])
    reach = _TWO_SIDED_95 * error / math.sqrt(n_classes - 3) if n_classes > 3 else math.inf
    low, middle, high = (math.tanh(end) for end in (z - reach, z, z + reach))
    return Agreement(middle, _full_length(middle), _full_length(low), _full_length(high))


def _full_length(correlation: float) -> float:
    return 2 * correlation / (1 + correlation) if correlation > 0 else correlation
