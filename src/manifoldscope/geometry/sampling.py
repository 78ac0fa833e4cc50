"""What that many points can and cannot show: standard errors, curves over their number, equal numbers for all classes.

Nothing here draws with replacement. A bootstrap repeats points, which span fewer dimensions than distinct ones and have
no distance to their copies: of 50 points whose PCA dimension is 41, bootstrap samples show 25.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, overload

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Cloud, Clouds
from manifoldscope.geometry.estimate import Estimate, JointEstimate, noting_ceiling
from manifoldscope.geometry.manifold import ClassManifold, as_points
from manifoldscope.geometry.measures import MEASURES, measure
from manifoldscope.geometry.moments import Scaling
from manifoldscope.geometry.subsets import (
    Manifold,
    Parts,
    Place,
    Wanted,
    as_subject,
    checked_sizes,
    described,
    finite_or_reason,
    half_rows,
    halved,
    mean_of,
    parts_or_reason,
    random_rows,
    random_subset,
    require_at_least_one,
    single,
    size_grid,
    sizes_of,
    standard_deviation,
    whole_or_reason,
)

UNSTABLE = 0.1
"""A value that falls by more than this share when half of the points are left out describes the sample."""

_MOST_GROWTH = 2.0
"""How many times its value for half of the points a measure shows of all of them, where it grows in proportion."""


def halves(points: Manifold, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
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
    matrix = as_points(points)
    first, second = half_rows(len(matrix), generator)
    return matrix[first.to(matrix.device)], matrix[second.to(matrix.device)]


@overload
def subsampled(
    points: Manifold | Cloud,
    measures: Sequence[Wanted],
    estimates: Sequence[Estimate] | None = None,
    *,
    n_splits: int = 5,
    generator: torch.Generator,
    scaling: Scaling = "none",
) -> list[Estimate]: ...
@overload
def subsampled(
    points: Sequence[Manifold] | Clouds,
    measures: Sequence[Wanted],
    estimates: Sequence[JointEstimate] | None = None,
    *,
    n_splits: int = 5,
    generator: torch.Generator,
    scaling: Scaling = "none",
) -> list[JointEstimate]: ...
def subsampled(
    points: Manifold | Cloud | Sequence[Manifold] | Clouds,
    measures: Sequence[Wanted],
    estimates: Sequence[Estimate] | Sequence[JointEstimate] | None = None,
    *,
    n_splits: int = 5,
    generator: torch.Generator,
    scaling: Scaling = "none",
) -> list[Estimate] | list[JointEstimate]:
    """Several measures of the same points, with standard errors, and notes where a value describes the sample.

    The points are split at random into two halves A and B, `n_splits` times; of a list of classes, every class at
    once. All measures see the same halves, and share what they read off them.

    Standard error: sqrt(mean (A - B)^2) / 2. The halves are independent samples of n / 2 points, so (A - B)^2 is on
    average twice the variance of a half; and that is taken to be twice the variance of the whole, as it is for a value
    that averages over points. The bias that both halves have cancels, and is not part of the standard error. Where the
    value falls with fewer points its error falls along, as that of a dimension does; there the standard error is
    multiplied by value / mean of the halves (by 2 at most).

    For Gaussian points with power-law variances the mean standard error is 0.7 to 1.1 of the true standard deviation
    for the participation ratio, 0.8 to 1.3 for TwoNN and 1.0 to 1.3 for maximum likelihood (50 to 200 points,
    exponents 0 to 2), and 0.9 for the PCA dimension of 200 points with 300 features and exponents 1 and 2. It fails
    where the true error is below a whole step of the measure, or held down by a ceiling: the PCA dimension of 100
    points with exponent 1 in 1,000 features is 80, give or take 0.5, and shows 0.1. A standard error of 0 says less
    than one step, not none. It is too large (by 1.5) for the decay exponent, whose error falls faster with more points.
    Five splits of the same points are not five samples: the standard error is itself known to about a third. Points
    that are no independent draws (frames of one video) have a larger error than their halves show.

    Note: where the mean over the halves lies more than 10% below the value, and by more than the standard error, the
    value describes the sample.

    Args:
        points: (n_points, n_features) or a `Cloud`; or a list of them, one a class, or a `Clouds`.
        measures: names, or (name, parameters).
        estimates: what `measure` gave for each; measured here if omitted. A standard error of the measure's own
            is replaced.
        n_splits: how many times the points are halved, at least once.
        generator: a CPU generator that chooses the halves.
        scaling: as for `measure`.

    Returns:
        An estimate for each measure, or for a list a `JointEstimate` with standard errors of classes, whole and pairs.
        Fewer than four points (of any class) cannot be halved; then, and where the halves have no value, there is no
        standard error and the note says so.

    Raises:
        GeometryError: as `measure`; or no splits, or another number of estimates than of measures.

    References:
        Politis, Romano and Wolf, Subsampling (1999), chapter 2.

    Example:
        >>> points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        >>> (estimate,) = subsampled(points, ["participation_ratio"], generator=torch.Generator().manual_seed(1))
        >>> round(estimate.value, 2), round(estimate.stderr, 2)
        (2.61, 0.22)
    """
    require_at_least_one("n_splits", n_splits)
    if isinstance(measures, str):
        raise GeometryError(f"measures = {measures!r}; expected a list of names, such as [{measures!r}]")
    wanted = [(item, {}) if isinstance(item, str) else (item[0], dict(item[1])) for item in measures]
    subject = as_subject(points, [name for name, _ in wanted], scaling)
    found: list[Any] = list(estimates or [measure(name, subject, **settings) for name, settings in wanted])
    if len(found) != len(wanted):
        raise GeometryError(f"{len(found)} estimates for {len(wanted)} measures; expected one each, or none at all")
    n_points = min(sizes_of(subject))
    if n_points < 4:
        reason = f"no standard error: {n_points} points are too few to halve"
        return [_changed(estimate, lambda _, part: part.noting(reason)) for estimate in found]
    seen: list[list[tuple[Parts, Parts]]] = [[] for _ in wanted]
    for _ in range(n_splits):
        pair = halved(subject, generator)
        for (name, settings), splits in zip(wanted, seen, strict=True):
            splits.append((parts_or_reason(name, pair[0], settings), parts_or_reason(name, pair[1], settings)))
    return [_changed(estimate, partial(_judged, splits)) for estimate, splits in zip(found, seen, strict=True)]


@dataclass(frozen=True)
class Curve:
    """A measure as a function of the number of points.

    Attributes:
        measure, parameters: what was measured.
        sizes: numbers of points, ascending.
        mean: of the value, over the draws of each size; NaN where it has none, and then the note says why.
        standard_deviation: standard deviation of the value over the draws. Draws from n points overlap, so that this is
            about sqrt(1 - size / n) times the spread of fresh samples, and 0 where all points are drawn.
        ceiling: the largest value that that many points could have shown; None where there is no bound.
        n_points, n_features: the shape of the sample that was drawn from; of a list, of its smallest class.
        draws: how many draws of each size.
        note: why there are no values, where there are none.

    Example:
        >>> points = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        >>> found = curve("pca_dimension", points, sizes=(20, 50), generator=torch.Generator().manual_seed(1))
        >>> found.mean, found.standard_deviation, found.ceiling
        ((3.0, 3.0), (0.0, 0.0), (3, 3))
    """

    measure: str
    sizes: tuple[int, ...]
    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    ceiling: tuple[float | None, ...]
    n_points: int
    n_features: int
    draws: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def curve(
    name: str,
    points: Manifold | Cloud | Sequence[Manifold] | Clouds,
    *,
    sizes: Sequence[int] | None = None,
    draws: int = 10,
    generator: torch.Generator,
    scaling: Scaling = "none",
    **parameters: Any,
) -> Curve:
    """A measure of ever more of the points, drawn at random without replacement.

    A curve that has not levelled off says that the value grows with the sample, whatever the value.

    Args:
        name: one of `MEASURES.names()`.
        points: (n_points, n_features); or for a joint measure a list of classes, of each of which that many points are
            drawn, and whose value as a whole is followed.
        sizes: numbers of points; by default all of them, and fewer by steps of sqrt(2) down to 8.
        draws: how many draws of each size; all points are drawn once.
        generator: a CPU generator that chooses the points.
        scaling: as for `measure`; each draw is scaled anew.
        **parameters: of the measure.

    Raises:
        GeometryError: as `measure`; sizes below 2 or above the number of points; no draws; a list for a measure that
            says nothing of the whole.

    Example:
        >>> points = torch.randn(40, 500, generator=torch.Generator().manual_seed(0))
        >>> found = curve("participation_ratio", points, generator=torch.Generator().manual_seed(1))
        >>> found.sizes, [round(mean) for mean in found.mean]
        ((10, 14, 20, 28, 40), [9, 13, 18, 26, 36])
    """
    require_at_least_one("draws", draws)
    subject = as_subject(points, [name], scaling)
    n_points = min(sizes_of(subject))
    chosen = checked_sizes(size_grid(n_points, smallest=8) if sizes is None else sizes, n_points)
    settings = MEASURES[name].validate(parameters)
    found: list[list[Estimate]] = []
    reasons: dict[str, None] = {}
    for size in chosen:
        times = 1 if all(size == each for each in sizes_of(subject)) else draws
        tried = [whole_or_reason(name, random_subset(subject, size, generator), settings) for _ in range(times)]
        found.append([estimate for estimate in tried if isinstance(estimate, Estimate)])
        reasons.update({f"{size} points: {reason}": None for reason in tried if isinstance(reason, str)})
    values = [[estimate.value for estimate in estimates] for estimates in found]
    return Curve(
        measure=name,
        sizes=chosen,
        mean=tuple(map(mean_of, values)),
        standard_deviation=tuple(map(standard_deviation, values)),
        ceiling=tuple(estimates[0].ceiling if estimates else None for estimates in found),
        n_points=n_points,
        n_features=subject.n_features,
        draws=draws,
        parameters=described(settings, subject),
        note="; ".join(reasons),
    )


def equal_sizes(
    manifolds: Sequence[Manifold], *, n_points: int | None = None, generator: torch.Generator
) -> list[ClassManifold]:
    """As many points of each class, drawn at random without replacement, so that classes of any size can be compared.

    Most measures grow with the number of points, so that a class with more images seems to have more dimensions.
    One draw wastes the points that are left out; `measure_at` averages over many.

    Args:
        manifolds: (n_points, n_features) each.
        n_points: how many of each; as many as the smallest class has if omitted.
        generator: a CPU generator that chooses the points.

    Raises:
        GeometryError: no manifolds, or a class with fewer points than that.

    Example:
        >>> drawn = equal_sizes([torch.eye(5), torch.eye(5)[:3]], generator=torch.Generator().manual_seed(0))
        >>> [manifold.n_points for manifold in drawn]
        [3, 3]
    """
    classes = [each if isinstance(each, ClassManifold) else ClassManifold(as_points(each)) for each in manifolds]
    if not classes:
        raise GeometryError("there are no manifolds to draw from; give a list of (n_points, n_features), one a class")
    smallest = min(each.n_points for each in classes)
    size = smallest if n_points is None else n_points
    if not 1 <= size <= smallest:
        raise GeometryError(
            f"n_points = {size}; the smallest class has {smallest} points, so expected 1 to {smallest} of each"
        )
    return [
        replace(each, points=each.points[random_rows(each.n_points, size, generator).to(each.points.device)])
        for each in classes
    ]


def measure_at(
    name: str,
    points: Manifold | Cloud,
    *,
    n_points: int,
    draws: int = 10,
    generator: torch.Generator,
    scaling: Scaling = "none",
    **parameters: Any,
) -> Estimate:
    """A measure as that many points of the class would show it on average, so that classes of any size can be compared.

    The value is the mean over draws of n_points = m of the n points, without replacement. Its standard error is that
    of a mean over all such draws from the n points, m / n of the variance of one draw (taken to be inversely
    proportional to m, and found from disjoint draws as in `subsampled`), and of having made only some of them. Seen
    with participation ratios it is right to a tenth for m up to n / 2 and to a quarter above; for TwoNN, whose mean
    over draws is steadier than that, it is up to twice too large.

    Args:
        name: one of `MEASURES.names()`, not a joint measure.
        points: (number of points, n_features).
        n_points: the number to compare at, as that of the smallest class.
        draws: how many times points are drawn; where they are at most half of all, two disjoint samples each time.
        generator: a CPU generator that chooses the points.
        scaling: as for `measure`; each draw is scaled anew.
        **parameters: of the measure.

    Returns:
        The estimate, with `n_points` and its ceiling for that number of points; NaN with the reason where none of the
        draws has a value.

    Raises:
        GeometryError: as `measure`; more points than there are, or fewer than two; no draws.

    References:
        Hoeffding, "A class of statistics with asymptotically normal distribution" (1948): the variance of such a mean.

    Example:
        >>> points = torch.randn(200, 500, generator=torch.Generator().manual_seed(0))
        >>> seed = torch.Generator().manual_seed(1)
        >>> estimate = measure_at("participation_ratio", points, n_points=50, generator=seed)
        >>> round(estimate.value, 1), estimate.ceiling, estimate.note.split("; ")[0]
        (44.6, 49, 'mean over 20 draws of 50 of 200 points')
    """
    require_at_least_one("draws", draws)
    cloud = single(as_subject(points, [name], scaling))
    total = cloud.n_points
    (size,) = checked_sizes([n_points], total)
    settings = MEASURES[name].validate(parameters)
    apart = min(size, total // 2)
    estimates: list[Estimate] = []
    pairs: list[tuple[float, float]] = []
    reason = ""
    for _ in range(draws):
        order = torch.randperm(total, generator=generator)
        tried = [whole_or_reason(name, cloud.subset(order[:size]), settings)] if size > apart else []
        if apart >= 2:
            first, second = (
                whole_or_reason(name, cloud.subset(rows), settings) for rows in torch.split(order, apart)[:2]
            )
            if isinstance(first, Estimate) and isinstance(second, Estimate):
                pairs.append((first.value, second.value))
            if size == apart:
                tried = [first, second]
        estimates += [estimate for estimate in tried if isinstance(estimate, Estimate)]
        reason = next((why for why in tried if isinstance(why, str)), reason)
    if not estimates:
        note = f"none of {draws} draws of {size} of {total} points has a value: {reason}"
        return Estimate(math.nan, size, cloud.n_features, parameters=described(settings, cloud), note=note)
    values = [estimate.value for estimate in estimates]
    chosen = 0.0 if size == total else standard_deviation(values) / math.sqrt(len(values))
    sampled = standard_error(mean_of(values), pairs, share=apart / total) if pairs else None
    note = f"mean over {len(values)} draws of {size} of {total} points" if size < total else estimates[0].note
    found = Estimate(
        value=mean_of(values),
        n_points=size,
        n_features=cloud.n_features,
        ceiling=estimates[0].ceiling,
        stderr=None if sampled is None else math.hypot(sampled, chosen),
        parameters=estimates[0].parameters,
        note=note,
        bounded_by=estimates[0].bounded_by,
    )
    return found if size == total else noting_ceiling(found)


def _changed(found: Estimate | JointEstimate, change: Any) -> Any:
    """The same, of the same type, with `change(place, estimate)` for each of its estimates."""
    if isinstance(found, Estimate):
        return change("whole", found)
    return JointEstimate(
        classes=tuple(change(place, estimate) for place, estimate in enumerate(found.classes)),
        whole=None if found.whole is None else change("whole", found.whole),
        pairs={places: change(places, estimate) for places, estimate in found.pairs.items()},
    )


def _judged(splits: Sequence[tuple[Parts, Parts]], place: Place, estimate: Estimate) -> Estimate:
    """The estimate with its standard error and notes, from what each pair of halves showed."""
    pairs: list[tuple[float, float]] = []
    reason = ""
    for pair in splits:
        tried = [half if isinstance(half, str) else finite_or_reason(half[place]) for half in pair]
        values = [found.value for found in tried if isinstance(found, Estimate)]
        if len(values) == 2:
            pairs.append((values[0], values[1]))
        else:
            reason = next(found for found in tried if isinstance(found, str))
    if not math.isfinite(estimate.value):
        return replace(estimate, stderr=None)
    if not pairs:
        return replace(estimate, stderr=None).noting(f"no standard error: of half of the points, {reason}")
    mean = mean_of([value for pair in pairs for value in pair])
    estimate = replace(estimate, stderr=standard_error(estimate.value, pairs, share=0.5), falls_when_halved=False)
    if not estimate.value > 0 or not estimate.value - mean > (estimate.stderr or 0.0):
        return estimate
    fall = 1 - mean / estimate.value
    if not fall > UNSTABLE:
        return estimate
    estimate = replace(estimate, falls_when_halved=True)
    return estimate.noting(f"falls by {fall:.0%} when half of the points are left out: it describes the sample")


def standard_error(value: float, pairs: Sequence[tuple[float, float]], *, share: float) -> float:
    """Of the value of all points, from those of disjoint parts that hold `share` of them each; see `subsampled`."""
    plain = math.sqrt(mean_of([(first - second) ** 2 for first, second in pairs]) / 2 * share)
    mean = mean_of([part for pair in pairs for part in pair])
    grown = value / mean if mean > 0 and value - mean > plain else 1.0
    return plain * min(grown, _MOST_GROWTH)
