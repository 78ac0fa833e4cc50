"""What so many points can and cannot show: standard errors, curves over their number, nulls, reliability, more points.

Nothing here draws with replacement. A bootstrap repeats points, which span fewer dimensions than distinct ones and have
no distance to their copies: of 50 points whose PCA dimension is 41, bootstrap samples show 25.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Cloud, Clouds
from manifoldscope.geometry.estimate import MEASURES, NEAR_CEILING, Estimate, JointEstimate, measure
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.moments import Gram, Scaling, blocks
from manifoldscope.geometry.reference import power_law_variances
from manifoldscope.geometry.spectrum import Spectrum

UNSTABLE = 0.1
"""A value that falls by more than this share when half of the points are left out describes the sample."""

FARTHEST = 4
"""How many times its points a sample is extrapolated to, at most: as far as its own curve can be tested."""

_MOST_GROWTH = 2.0
"""How many times its value for half of the points a measure shows of all of them, where it grows in proportion."""

_IMMATERIAL = 0.02
"""A prediction that misses by less than this share of the value has not missed."""

_TOO_VAGUE = 0.25
"""An extrapolation whose standard error is more than this share of its value is refused."""

_FEWEST_TO_FIT = 32
"""Points from which on a quarter of them, and steps of sqrt(2) down from it to 4, are three sizes to fit a law to."""

_EQUAL = 1e-9
"""Values that differ by less than this share of themselves differ by rounding."""

_TWO_SIDED_95 = 1.959964
"""How many standard errors of a normal variable a 95% interval reaches to either side."""

Manifold: TypeAlias = Points | ClassManifold
Wanted: TypeAlias = str | tuple[str, Mapping[str, Any]]
"""A measure by its name, or with its parameters."""


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
    matrix = _matrix(points)
    first, second = _half_rows(len(matrix), generator)
    return matrix[first.to(matrix.device)], matrix[second.to(matrix.device)]


def with_half_sample_note(
    estimate: Estimate,
    name: str,
    points: Manifold,
    *,
    generator: torch.Generator,
    scaling: Scaling = "none",
    parameters: Mapping[str, Any] | None = None,
) -> Estimate:
    """The estimate with the note of `subsampled`, from one pair of halves, and without a standard error.

    Example:
        >>> points = torch.randn(40, 500, generator=torch.Generator().manual_seed(0))
        >>> whole = measure("participation_ratio", points)
        >>> noted = with_half_sample_note(
        ...     whole, "participation_ratio", points, generator=torch.Generator().manual_seed(1)
        ... )
        >>> noted.note.split("; ")[-1]
        'falls by 49% when half of the points are left out: it describes the sample'
    """
    if estimate.n_points < 4:
        return estimate
    wanted = [(name, parameters or {})]
    cloud = Cloud(points, scaling=scaling)
    (found,) = subsampled(cloud, wanted, [estimate], n_splits=1, generator=generator)
    return replace(found, stderr=estimate.stderr)


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
        estimates: what `measure` gave for each; measured here where left out. A standard error of the measure's own
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
    _require_at_least_one("n_splits", n_splits)
    wanted = [(item, {}) if isinstance(item, str) else (item[0], dict(item[1])) for item in measures]
    subject = _subject(points, [name for name, _ in wanted], scaling)
    found: list[Any] = list(estimates or [measure(name, subject, **settings) for name, settings in wanted])
    if len(found) != len(wanted):
        raise GeometryError(f"{len(found)} estimates for {len(wanted)} measures; expected one each, or none at all")
    n_points = min(_sizes(subject))
    if n_points < 4:
        reason = f"no standard error: {n_points} points are too few to halve"
        return [_changed(estimate, lambda _, part: part.noting(reason)) for estimate in found]
    seen: list[list[tuple[_Parts, _Parts]]] = [[] for _ in wanted]
    for _ in range(n_splits):
        pair = _halved(subject, generator)
        for (name, settings), splits in zip(wanted, seen, strict=True):
            splits.append((_parts_or_reason(name, pair[0], settings), _parts_or_reason(name, pair[1], settings)))
    return [_changed(estimate, partial(_judged, splits)) for estimate, splits in zip(found, seen, strict=True)]


@dataclass(frozen=True)
class Curve:
    """A measure as a function of the number of points.

    Attributes:
        measure, parameters: what was measured.
        sizes: numbers of points, ascending.
        mean: of the value, over the draws of each size; NaN where it has none, and then the note says why.
        spread: standard deviation of the value over the draws. Draws from n points overlap, so that this is about
            sqrt(1 - size / n) times the spread of fresh samples, and 0 where all points are drawn.
        ceiling: the largest value that so many points could have shown; None where there is no bound.
        n_points, n_features: the shape of the sample that was drawn from; of a list, of its smallest class.
        draws: how many draws of each size.
        note: why there are no values, where there are none.

    Example:
        >>> points = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        >>> found = curve("pca_dimension", points, sizes=(20, 50), generator=torch.Generator().manual_seed(1))
        >>> found.mean, found.spread, found.ceiling
        ((3.0, 3.0), (0.0, 0.0), (3, 3))
    """

    measure: str
    sizes: tuple[int, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
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
        points: (n_points, n_features); or for a joint measure a list of classes, of each of which so many points are
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
    _require_at_least_one("draws", draws)
    subject = _subject(points, [name], scaling)
    n_points = min(_sizes(subject))
    chosen = _checked_sizes(_grid(n_points, smallest=8) if sizes is None else sizes, n_points)
    settings = MEASURES[name].validate(parameters)
    found: list[list[Estimate]] = []
    reasons: dict[str, None] = {}
    for size in chosen:
        times = 1 if all(size == each for each in _sizes(subject)) else draws
        tried = [_whole_or_reason(name, _drawn(subject, size, generator), settings) for _ in range(times)]
        found.append([estimate for estimate in tried if isinstance(estimate, Estimate)])
        reasons.update({f"{size} points: {reason}": None for reason in tried if isinstance(reason, str)})
    values = [[estimate.value for estimate in estimates] for estimates in found]
    return Curve(
        measure=name,
        sizes=chosen,
        mean=tuple(map(_mean, values)),
        spread=tuple(map(_sd, values)),
        ceiling=tuple(estimates[0].ceiling if estimates else None for estimates in found),
        n_points=n_points,
        n_features=subject.n_features,
        draws=draws,
        parameters=_described(settings, subject),
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
        n_points: how many of each; as many as the smallest class has where left out.
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
        replace(each, points=each.points[_rows(each.n_points, size, generator).to(each.points.device)])
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
    """A measure as so many points of the class would show it on average, so that classes of any size can be compared.

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
    _require_at_least_one("draws", draws)
    cloud = _single(_subject(points, [name], scaling))
    total = cloud.n_points
    (size,) = _checked_sizes([n_points], total)
    settings = MEASURES[name].validate(parameters)
    apart = min(size, total // 2)
    estimates: list[Estimate] = []
    pairs: list[tuple[float, float]] = []
    reason = ""
    for _ in range(draws):
        order = torch.randperm(total, generator=generator)
        tried = [_whole_or_reason(name, cloud.subset(order[:size]), settings)] if size > apart else []
        if apart >= 2:
            first, second = (
                _whole_or_reason(name, cloud.subset(rows), settings) for rows in torch.split(order, apart)[:2]
            )
            if isinstance(first, Estimate) and isinstance(second, Estimate):
                pairs.append((first.value, second.value))
            if size == apart:
                tried = [first, second]
        estimates += [estimate for estimate in tried if isinstance(estimate, Estimate)]
        reason = next((why for why in tried if isinstance(why, str)), reason)
    if not estimates:
        note = f"none of {draws} draws of {size} of {total} points has a value: {reason}"
        return Estimate(math.nan, size, cloud.n_features, parameters=_described(settings, cloud), note=note)
    values = [estimate.value for estimate in estimates]
    chosen = 0.0 if size == total else _sd(values) / math.sqrt(len(values))
    sampled = _standard_error(_mean(values), pairs, share=apart / total) if pairs else None
    ceiling = estimates[0].ceiling
    note = f"mean over {len(values)} draws of {size} of {total} points" if size < total else estimates[0].note
    found = Estimate(
        value=_mean(values),
        n_points=size,
        n_features=cloud.n_features,
        ceiling=ceiling,
        stderr=None if sampled is None else math.hypot(sampled, chosen),
        parameters=estimates[0].parameters,
        note=note,
    )
    if size == total or not ceiling or found.value < NEAR_CEILING * ceiling:
        return found
    return found.noting(f"{found.value:.3g} is within 10% of {ceiling:.3g}, the most that {size} points can show")


@dataclass(frozen=True)
class Null:
    """What a measure shows of clouds in which there is nothing to find, and where the observed value falls among them.

    Attributes:
        observed: the value of the cloud itself.
        values: those of the draws, ascending.
        note: what a reader must know before using it; empty where there is nothing.

    Example:
        >>> null = Null(observed=9.0, values=(1.0, 2.0, 3.0))
        >>> null.mean, null.sd, null.z, null.p_value, null.quantile(0.5)
        (2.0, 1.0, 7.0, 0.5, 2.0)
    """

    observed: float
    values: tuple[float, ...]
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(sorted(self.values)))
        if not self.note and not (self.values and all(map(math.isfinite, [self.observed, *self.values]))):
            raise GeometryError("a null without values, or with one that is not finite, needs a note that says why")

    @property
    def mean(self) -> float:
        """Of the draws; NaN where there are none."""
        return _mean(self.values)

    @property
    def sd(self) -> float:
        """Standard deviation over the draws; 0 where they differ by rounding only, NaN where there are none."""
        return _sd(self.values)

    @property
    def z(self) -> float:
        """How many standard deviations the observed value lies above the mean of the draws.

        0 where it differs from the mean by rounding only; infinite where it differs and the draws do not.
        """
        above = self.observed - self.mean
        if abs(above) <= _EQUAL * abs(self.mean):
            return 0.0
        return above / self.sd if self.sd else math.copysign(math.inf, above)

    @property
    def p_value(self) -> float:
        """Two-sided, by rank: twice the smaller share of values as far out, the observed one counted among them.

        It cannot be below 2 / (draws + 1): twenty draws cannot show a p of 0.05. NaN where there is no value.
        """
        if math.isnan(self.observed) or not self.values:
            return math.nan
        slack = _EQUAL * abs(self.observed)
        as_high = sum(value >= self.observed - slack for value in self.values)
        as_low = sum(value <= self.observed + slack for value in self.values)
        return min(1.0, 2 * (1 + min(as_high, as_low)) / (1 + len(self.values)))

    def quantile(self, share: float) -> float:
        """The value below which this share of the draws lies, interpolated; NaN where there are none.

        Raises:
            GeometryError: a share outside [0, 1].
        """
        if not 0 <= share <= 1:
            raise GeometryError(f"share = {share}; expected one from 0 to 1, as 0.975")
        return float(np.quantile(self.values, share)) if self.values else math.nan


@dataclass(frozen=True)
class JointNull:
    """What a measure shows of classes in which there is nothing to find.

    Attributes:
        classes: of each class, in the order given; empty where the measure has none.
        whole: of the layer as a whole; the mean over the classes where the measure has no such value.
        pairs: by the places (i, j) of two classes; empty where the measure does not compare pairs.
    """

    classes: tuple[Null, ...] = ()
    whole: Null | None = None
    pairs: Mapping[tuple[int, int], Null] = field(default_factory=dict)


def gaussian_null(
    name: str,
    points: Manifold | Cloud,
    *,
    covariance: Literal["isotropic", "same"] = "isotropic",
    draws: int = 20,
    generator: torch.Generator,
    scaling: Scaling = "none",
    **parameters: Any,
) -> Null:
    """A measure of Gaussian clouds with as many points and features.

    "isotropic": all features independent and of one variance, that gives the same total on average. It shows what the
    numbers of points and features alone give; a class with any structure at all lies below.

    "same": the covariance of the sample is exactly that of the points, and all else is Gaussian. A measure that reads
    the spectrum shows the same value each time; what another one shows beyond this null is not of second order
    (curvature, clusters, heavy tails). For a Gaussian cloud of any covariance, how its points lie is independent of
    their sample covariance, so that the rank of the observed value tests just that, whatever the number of points.
    Clouds drawn from the sample's covariance instead would have the bias of a sample twice.

    Args:
        name: one of `MEASURES.names()`, not a joint measure.
        points: (n_points, n_features).
        covariance: "isotropic" or "same".
        draws: how many Gaussian clouds.
        generator: a CPU generator that draws them.
        scaling: as for `measure`.
        **parameters: of the measure.

    Raises:
        GeometryError: as `measure`; no draws, or another covariance.

    References:
        Anderson, An Introduction to Multivariate Statistical Analysis (2003), section 7.2: the triangular form of a
        Gaussian sample, which stands for all features where the measure does not change with rotation.

    Example:
        >>> points = torch.randn(30, 400, generator=torch.Generator().manual_seed(0))
        >>> null = gaussian_null("participation_ratio", points, generator=torch.Generator().manual_seed(1))
        >>> round(null.observed, 1), round(null.mean, 1), null.p_value > 0.05
        (26.9, 27.0, True)
    """
    _require_at_least_one("draws", draws)
    if covariance not in ("isotropic", "same"):
        raise GeometryError(f"covariance = {covariance!r}; expected 'isotropic' or 'same'")
    cloud = _single(_subject(points, [name], scaling))
    settings = MEASURES[name].validate(parameters)
    observed = measure(name, cloud, **settings)
    clouds = _isotropic(name, cloud, draws, generator) if covariance == "isotropic" else _alike(cloud, draws, generator)
    return _null(observed, [_whole_or_reason(name, drawn, settings) for drawn in clouds])


def shuffled_labels(
    name: str,
    manifolds: Sequence[Manifold],
    *,
    draws: int = 20,
    generator: torch.Generator,
    scaling: Scaling = "none",
    **parameters: Any,
) -> JointNull:
    """A measure of classes whose points have been pooled and dealt out again, each class as many as it had.

    It shows what groups of images that have nothing in common give, in the same layer and of the same sizes.

    Args:
        name: one of `MEASURES.names()`.
        manifolds: (n_points, n_features) each, of one layer, on one device.
        draws: how many times the points are dealt.
        generator: a CPU generator that deals them.
        scaling: as for `measure`.
        **parameters: of the measure.

    Returns:
        A null for each class, for the whole (the mean over classes where the measure gives none) and for each pair.

    Raises:
        GeometryError: as `measure`; no draws, or fewer than two classes.

    Example:
        >>> noise = torch.randn(2, 30, 6, generator=torch.Generator().manual_seed(0))
        >>> classes = [noise[0] * torch.tensor([1, 1, 0.1, 0.1, 0.1, 0.1]), noise[1]]
        >>> null = shuffled_labels("pca_dimension", classes, generator=torch.Generator().manual_seed(1))
        >>> [each.observed for each in null.classes], null.whole.observed, null.whole.mean
        ([2.0, 6.0], 4.0, 5.2)
    """
    _require_at_least_one("draws", draws)
    sizes = _sizes(Clouds(manifolds))
    if len(sizes) < 2:
        raise GeometryError("one class has no labels to shuffle; give the points of at least two")
    settings = MEASURES[name].validate(parameters)
    pool = _single(_subject(torch.cat([_matrix(each) for each in manifolds]), [name], scaling))

    def dealt(order: Tensor) -> Clouds:
        return Clouds.together([pool.subset(rows) for rows in torch.split(order, sizes)])

    observed = _parts(measure(name, dealt(torch.arange(sum(sizes))), **settings))
    tried: dict[_Place, list[Estimate | str]] = {place: [] for place in observed}
    n_classes = sum(isinstance(place, int) for place in observed)
    means: list[float] = []
    for _ in range(draws):
        found = _parts_or_reason(name, dealt(torch.randperm(sum(sizes), generator=generator)), settings)
        for place, seen in tried.items():
            seen.append(found if isinstance(found, str) else _finite_or_reason(found[place]))
        if not isinstance(found, str) and n_classes:
            means.append(_mean([found[place].value for place in range(n_classes)]))
    nulls = {place: _null(estimate, tried[place]) for place, estimate in observed.items()}
    whole = nulls.get("whole")
    if whole is None and n_classes:
        whole = _null_of_means(_mean([observed[place].value for place in range(n_classes)]), means)
    return JointNull(
        classes=tuple(nulls[place] for place in range(n_classes)),
        whole=whole,
        pairs={place: null for place, null in nulls.items() if isinstance(place, tuple)},
    )


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
        spread: standard deviation of the value over classes.
        noise: standard error of the value of one class, typically (root of the mean square; see `subsampled`).
        n_classes: classes that were compared.
        n_splits: how many times the points were halved.
        note: what a reader must know before using it; empty where there is nothing.
    """

    measure: str
    pearson: Agreement
    spearman: Agreement
    spread: float
    noise: float
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
    _require_at_least_one("n_splits", n_splits)
    clouds = _subject(manifolds, [name], scaling)
    if not isinstance(clouds, Clouds) or len(clouds) < 3:
        raise GeometryError("reliability compares classes; give a list of at least 3, each (n_points, n_features)")
    sizes = _sizes(clouds)
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
        for half, seen in zip(_halved(clouds, generator), (first, second), strict=True):
            found = _parts_or_reason(name, half, settings)
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
        _standard_error(value, list(zip(a, b, strict=True)), share=0.5)
        for value, a, b in zip(values.tolist(), one.T.tolist(), other.T.tolist(), strict=True)
    ]
    spread, noise = _sd(values.tolist()), math.sqrt(_mean([error**2 for error in errors]))
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
        spread=spread,
        noise=noise,
        n_classes=len(values),
        n_splits=n_splits,
        parameters=_described(settings, clouds),
        note="; ".join(notes),
    )


def extrapolate(
    name: str,
    points: Manifold | Cloud,
    *,
    n_points: int,
    draws: int = 20,
    generator: torch.Generator,
    scaling: Scaling = "none",
    **parameters: Any,
) -> Estimate:
    """What a measure would show of more points of the class, where that can be told; else NaN, and the reason.

    The law is 1 / value = a + b / (m - 1) for m points, carried on from the value of all points. For the participation
    ratio of Gaussian points b is 1, up to terms of the order of 1 / value. For other measures of a spectrum b is fitted
    to the curve; that does for a curve that has levelled off, and for no other (it would take 50 points of an isotropic
    Gaussian in 50 features from a PCA dimension of 30 to 53 for 200 points, which show 43).

    The law is tested first: found from a quarter of the points, it predicts all larger sizes. That is a step of the
    same factor of four which is then allowed beyond the sample. No value is given

    - where the prediction misses any of them by more than the standard error, twice the error of having made few draws,
      and 2% of the value;
    - where the value is within 10% of a ceiling that more points would raise, and so is not yet about the class;
    - beyond four times the points, a step that has not been tested;
    - where a fitted law would change the value by more than 10%;
    - for what reads distances, since neighbours come nearer by a power that depends on the dimension itself;
    - for fewer than 32 points, which leave no sizes to fit, or where the standard error exceeds a quarter of the value.

    A refusal is an estimate and no error, so that one class does not stop a study of many. For Gaussian points with
    geometric, power-law and equal variances, 50 and 200 of them extrapolated by four, most participation ratios are
    given (nine of ten; but half for 50 points of exponent 2, and none at the ceiling), and they miss by 0.6 to 1.5
    standard errors (root of the mean square).

    The standard error is that of the value of all points (see `subsampled`) and the worst miss of the test, both
    carried along the law.

    Args:
        name: one of `MEASURES.names()`, not a joint measure.
        points: (number of points, n_features).
        n_points: the number to extrapolate to.
        draws: how many draws of each size the curve is made of, and how many halvings the standard error.
        generator: a CPU generator that chooses the points.
        scaling: as for `measure`.
        **parameters: of the measure.

    Raises:
        GeometryError: as `measure`; fewer points than there are; no draws.

    References:
        Chun, Canatar, Chung and Lee, "Estimating dimensionality of neural representations from finite samples" (2026).

    Example:
        >>> points = torch.randn(200, 30, generator=torch.Generator().manual_seed(2))
        >>> more = extrapolate("participation_ratio", points, n_points=800, generator=torch.Generator().manual_seed(1))
        >>> round(more.value, 1), more.note
        (28.9, 'extrapolated from 200 points')
        >>> extrapolate("participation_ratio", points, n_points=999, generator=torch.Generator().manual_seed(1)).note
        'not extrapolated: 999 points are more than 4 times 200, farther than the curve can be tested'
    """
    cloud = _single(_subject(points, [name], scaling))
    total = cloud.n_points
    if n_points < total:
        raise GeometryError(f"n_points = {n_points} is within the {total} points at hand; use measure_at for fewer")
    _require_at_least_one("draws", draws)
    now = measure(name, cloud, **parameters)

    def refused(reason: str) -> Estimate:
        note = f"not extrapolated: {reason}"
        return replace(now, value=math.nan, ceiling=None, stderr=None, n_points=n_points, note=note)

    if MEASURES[name].traits["reads"] != "spectrum":
        return refused(f"how {name} grows with the number of points follows no law that would do for every manifold")
    if n_points > FARTHEST * total:
        return refused(
            f"{n_points} points are more than {FARTHEST} times {total}, farther than the curve can be tested"
        )
    if total < _FEWEST_TO_FIT:
        return refused(f"{total} points leave too few sizes to test a law on; expected at least {_FEWEST_TO_FIT}")
    (now,) = subsampled(cloud, [(name, parameters)], [now], n_splits=draws, generator=generator)
    if now.stderr is None or not now.value > 0:
        return refused(f"{total} points show {now.value:.3g}; expected a value above 0 with a standard error")
    seen = curve(name, cloud, sizes=_grid(total, smallest=4), draws=draws, generator=generator, **parameters)
    half, ceiling = seen.ceiling[-3], now.ceiling
    if ceiling and half and ceiling > half and now.value >= NEAR_CEILING * ceiling:
        return refused(f"{now.value:.3g} is within 10% of {ceiling:.3g}, the most that {total} points can show")
    if not all(mean > 0 for mean in seen.mean):
        return refused(f"some sizes show no value above 0 ({seen.note or 'they show 0'})")
    known = 1.0 if name == "participation_ratio" else None
    missed = _worst_miss(seen, now.stderr, known)
    if isinstance(missed, str):
        return refused(missed)
    value = _carried(now.value, total, n_points, known or _slope(seen, len(seen.sizes)))
    stderr = value**2 * math.hypot(now.stderr / now.value**2, missed)
    if known is None and not abs(value / now.value - 1) <= UNSTABLE:
        return refused(f"{now.value:.3g} has not levelled off: the law would take it to {value:.3g}")
    if not stderr <= _TOO_VAGUE * value:
        return refused(f"it would be {value:.3g} with a standard error of {stderr:.2g}, more than a quarter of it")
    note = f"extrapolated from {total} points"
    return replace(now, value=value, ceiling=None, stderr=stderr, n_points=n_points, note=note)


def expected_decay_exponent(
    exponent: float,
    n_points: int,
    n_features: int,
    *,
    first: int = 1,
    last: int | None = None,
    draws: int = 8,
    generator: torch.Generator,
) -> Estimate:
    """The decay exponent that Gaussian samples of a known power law show: what to compare a measured one with.

    The variances of the features are 1, 2^-exponent, 3^-exponent, ... Few points see too little of their tail and show
    too small an exponent: an exponent of 1 in 2,048 features shows as 0.71 for 50 points and 0.85 for 300; large
    exponents are hardly affected.

    Args:
        exponent: the true one, not negative.
        n_points, n_features: the shape of the sample.
        first, last: the ranks to fit, as for `decay_exponent`.
        draws: how many samples.
        generator: a CPU generator that draws them.

    Returns:
        The mean over the samples; its standard error is their standard deviation, that is the error of one sample.

    Raises:
        GeometryError: a negative exponent, fewer than two points, no features or no draws.

    Example:
        >>> found = expected_decay_exponent(1.0, 50, 2048, generator=torch.Generator().manual_seed(0))
        >>> 0.65 < found.value < 0.73, found.stderr < 0.05
        (True, True)
    """
    _require_at_least_one("draws", draws)
    _require_at_least_one("n_features", n_features)
    if n_points < 2:
        raise GeometryError(f"n_points = {n_points}; a sample needs at least 2 points to have variances")
    if not exponent >= 0 or math.isinf(exponent):
        raise GeometryError(f"exponent = {exponent}; expected one of at least 0, as 1.0")
    settings: dict[str, Any] = {"first": first, "last": last}
    scales = power_law_variances(n_features, exponent).sqrt()
    tried = []
    for _ in range(draws):
        spectrum = _spectrum_of_sample(n_points, scales, generator)
        tried.append(_finite_or_reason(measure("decay_exponent", spectrum, **settings)))
    found = [estimate for estimate in tried if isinstance(estimate, Estimate)]
    reason = next((why for why in tried if isinstance(why, str)), "")
    values = [estimate.value for estimate in found]
    return Estimate(
        value=_mean(values),
        n_points=n_points,
        n_features=n_features,
        stderr=_sd(values) if len(values) > 1 else None,
        parameters=settings,
        note=f"mean over {len(values)} Gaussian samples of exponent {exponent:g}" if values else reason,
    )


_Place: TypeAlias = int | str | tuple[int, int]
_Parts: TypeAlias = dict[_Place, Estimate] | str
"""The estimates of a joint measure by class, "whole" or pair; of one cloud as "whole"; or why there are none."""


def _parts(found: Estimate | JointEstimate) -> dict[_Place, Estimate]:
    if isinstance(found, Estimate):
        return {"whole": found}
    parts: dict[_Place, Estimate] = dict(enumerate(found.classes))
    if found.whole is not None:
        parts["whole"] = found.whole
    for places, estimate in found.pairs.items():
        parts[places] = estimate
    return parts


def _parts_or_reason(name: str, subject: Cloud | Clouds, settings: Mapping[str, Any]) -> _Parts:
    try:
        return _parts(measure(name, subject, **settings))
    except GeometryError as error:
        return str(error)


def _whole_or_reason(name: str, subject: Cloud | Clouds, settings: Mapping[str, Any]) -> Estimate | str:
    """The value of a cloud, or of classes as a whole, if it is finite."""
    found = _parts_or_reason(name, subject, settings)
    if isinstance(found, str):
        return found
    if "whole" not in found:
        raise GeometryError(f"{name} says nothing of several classes as a whole; give the points of one class")
    return _finite_or_reason(found["whole"])


def _finite_or_reason(estimate: Estimate) -> Estimate | str:
    if math.isfinite(estimate.value):
        return estimate
    return estimate.note or f"the value is {estimate.value}"


def _changed(found: Estimate | JointEstimate, change: Any) -> Any:
    """The same, of the same type, with `change(place, estimate)` for each of its estimates."""
    if isinstance(found, Estimate):
        return change("whole", found)
    return JointEstimate(
        classes=tuple(change(place, estimate) for place, estimate in enumerate(found.classes)),
        whole=None if found.whole is None else change("whole", found.whole),
        pairs={places: change(places, estimate) for places, estimate in found.pairs.items()},
    )


def _judged(splits: Sequence[tuple[_Parts, _Parts]], place: _Place, estimate: Estimate) -> Estimate:
    """The estimate with its standard error and notes, from what each pair of halves showed."""
    pairs: list[tuple[float, float]] = []
    reason = ""
    for pair in splits:
        tried = [half if isinstance(half, str) else _finite_or_reason(half[place]) for half in pair]
        values = [found.value for found in tried if isinstance(found, Estimate)]
        if len(values) == 2:
            pairs.append((values[0], values[1]))
        else:
            reason = next(found for found in tried if isinstance(found, str))
    if not math.isfinite(estimate.value):
        return replace(estimate, stderr=None)
    if not pairs:
        return replace(estimate, stderr=None).noting(f"no standard error: of half of the points, {reason}")
    mean = _mean([value for pair in pairs for value in pair])
    estimate = replace(estimate, stderr=_standard_error(estimate.value, pairs, share=0.5))
    if not estimate.value > 0 or not estimate.value - mean > (estimate.stderr or 0.0):
        return estimate
    fall = 1 - mean / estimate.value
    if not fall > UNSTABLE:
        return estimate
    return estimate.noting(f"falls by {fall:.0%} when half of the points are left out: it describes the sample")


def _standard_error(value: float, pairs: Sequence[tuple[float, float]], *, share: float) -> float:
    """Of the value of all points, from those of disjoint parts that hold `share` of them each; see `subsampled`."""
    plain = math.sqrt(_mean([(first - second) ** 2 for first, second in pairs]) / 2 * share)
    mean = _mean([part for pair in pairs for part in pair])
    grown = value / mean if mean > 0 and value - mean > plain else 1.0
    return plain * min(grown, _MOST_GROWTH)


def _matrix(points: Manifold) -> Tensor:
    return points.points if isinstance(points, ClassManifold) else as_points(points)


def _subject(
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


def _single(subject: Cloud | Clouds) -> Cloud:
    if isinstance(subject, Clouds):
        raise GeometryError(f"{len(subject)} manifolds; expected the points of one class, (n_points, n_features)")
    return subject


def _sizes(subject: Cloud | Clouds) -> list[int]:
    return [cloud.n_points for cloud in ([subject] if isinstance(subject, Cloud) else subject)]


def _rows(n_points: int, size: int, generator: torch.Generator) -> Tensor:
    """Some of the rows, in their order."""
    return torch.randperm(n_points, generator=generator)[:size].sort().values


def _half_rows(n_points: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(n_points, generator=generator)
    half = n_points // 2
    return order[:half], order[half : 2 * half]


def _drawn(subject: Cloud | Clouds, size: int, generator: torch.Generator) -> Cloud | Clouds:
    """So many of the points, of each class."""
    rows = [_rows(n_points, size, generator) for n_points in _sizes(subject)]
    return subject.subset(rows[0]) if isinstance(subject, Cloud) else subject.subset(rows)


def _halved(subject: Cloud | Clouds, generator: torch.Generator) -> tuple[Cloud | Clouds, Cloud | Clouds]:
    """Two disjoint halves of the points, of each class."""
    rows = [_half_rows(n_points, generator) for n_points in _sizes(subject)]
    if isinstance(subject, Cloud):
        return subject.subset(rows[0][0]), subject.subset(rows[0][1])
    return subject.subset([first for first, _ in rows]), subject.subset([second for _, second in rows])


def _grid(n_points: int, *, smallest: int) -> tuple[int, ...]:
    """n_points, and fewer by steps of sqrt(2) while there are at least `smallest`; ascending."""
    sizes = [n_points]
    while (size := round(n_points / 2 ** (len(sizes) / 2))) >= max(smallest, 2) and size < sizes[-1]:
        sizes.append(size)
    return tuple(reversed(sizes))


def _checked_sizes(sizes: Sequence[int], n_points: int) -> tuple[int, ...]:
    chosen = tuple(sorted(set(sizes)))
    if not chosen or chosen[0] < 2 or chosen[-1] > n_points:
        raise GeometryError(
            f"{list(sizes)} of {n_points} points cannot be drawn; expected from 2 to {n_points}, each point once"
        )
    return chosen


def _described(settings: Mapping[str, Any], subject: Cloud | Clouds) -> dict[str, Any]:
    """The parameters as an estimate has them."""
    return dict(settings) if subject.scaling == "none" else {**settings, "scaling": subject.scaling}


def _require_at_least_one(what: str, number: int) -> None:
    if number < 1:
        raise GeometryError(f"{what} = {number}; expected at least 1")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _sd(values: Sequence[float]) -> float:
    """Standard deviation, divisor n - 1; 0 of one value and of values that differ by rounding, NaN of none."""
    if len(values) < 2 or max(values) - min(values) <= _EQUAL * max(map(abs, values)):
        return 0.0 if values else math.nan
    return float(np.std(values, ddof=1))


def _null(observed: Estimate, tried: Sequence[Estimate | str]) -> Null:
    values = tuple(found.value for found in tried if isinstance(found, Estimate))
    reasons = [found for found in tried if isinstance(found, str)]
    notes = [] if math.isfinite(observed.value) else [observed.note or f"the observed value is {observed.value}"]
    if reasons:
        notes.append(f"{len(reasons)} of {len(tried)} draws have no value: {reasons[0]}")
    return Null(observed.value, values, note="; ".join(notes))


def _null_of_means(observed: float, means: Sequence[float]) -> Null:
    finite = tuple(mean for mean in means if math.isfinite(mean))
    complete = len(finite) == len(means) > 0 and math.isfinite(observed)
    return Null(observed, finite, note="" if complete else "some classes have no value, and so no mean over classes")


def _isotropic(name: str, cloud: Cloud, draws: int, generator: torch.Generator) -> Iterator[Cloud]:
    """Clouds of independent features, all of one variance that makes up the same total."""
    n_points, n_features = cloud.n_points, cloud.n_features
    scale = math.sqrt(cloud.spectrum.total_variance / n_features)
    device = cloud.points.device
    blind = {"rotation", "shift"} <= set(MEASURES[name].traits["invariant_to"])
    for _ in range(draws):
        if blind and cloud.scaling == "none" and n_features > n_points:
            drawn = _triangular(n_points, n_features, generator) * scale
            yield Cloud(drawn.to(device))._of_layer(n_features)
        else:
            drawn = torch.randn(n_points, n_features, dtype=torch.float64, generator=generator) * scale
            centre = 0.0 if blind else cloud.points.mean(0, dtype=torch.float64)
            yield Cloud(drawn.to(device) + centre, scaling=cloud.scaling)


def _triangular(n_points: int, n_features: int, generator: torch.Generator) -> Tensor:
    """(n_points, n_points) float64: a standard Gaussian sample of n_features >= n_points, turned until triangular."""
    numbers = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    lower = torch.randn(n_points, n_points, dtype=torch.float64, generator=generator).tril(-1)
    lengths = np.sqrt(numbers.chisquare(n_features - np.arange(n_points)))
    return lower + torch.diag(torch.from_numpy(lengths))


def _alike(cloud: Cloud, draws: int, generator: torch.Generator) -> Iterator[Cloud]:
    """Gaussian clouds whose sample covariance and mean are those of the cloud."""
    points = cloud.points.to(torch.float64)
    centre = points.mean(0)
    _, lengths, axes = torch.linalg.svd(points - centre, full_matrices=False)
    rank = min(cloud.n_points - 1, points.shape[1])
    axes = lengths[:rank, None] * axes[:rank]
    for _ in range(draws):
        drawn = torch.randn(cloud.n_points, rank, dtype=torch.float64, generator=generator)
        scores, upper = torch.linalg.qr((drawn - drawn.mean(0)).to(points.device))
        turned = scores * upper.diagonal().sign()  # without it the directions would not be uniform
        yield Cloud(turned @ axes + centre, scaling=cloud.scaling)._of_layer(cloud.n_features)


def _spectrum_of_sample(n_points: int, scales: Tensor, generator: torch.Generator) -> Spectrum:
    """The spectrum of Gaussian points with these standard deviations; many features are drawn in blocks."""
    if n_points > len(scales):
        return Spectrum.of(torch.randn(n_points, len(scales), dtype=torch.float64, generator=generator) * scales)
    gram = Gram(n_points)
    for columns in blocks(len(scales), n_points):
        some = scales[columns]
        gram.update(torch.randn(n_points, len(some), dtype=torch.float64, generator=generator) * some)
    return Spectrum.of_moments(gram)


def _correlation(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """Pearson's; NaN where either does not vary, or of fewer than three."""
    if len(first) < 3 or not _sd(first.tolist()) or not _sd(second.tolist()):
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def _agreement(correlations: Sequence[float], n_classes: int, *, error: float) -> Agreement:
    """Averaged over splits and taken to full length, with an interval from `error` / sqrt(n_classes - 3)."""
    if not correlations or any(map(math.isnan, correlations)):
        return Agreement(math.nan, math.nan, math.nan, math.nan)
    z = _mean([math.atanh(max(-1 + 1e-12, min(1 - 1e-12, r))) for r in correlations])
    reach = _TWO_SIDED_95 * error / math.sqrt(n_classes - 3) if n_classes > 3 else math.inf
    low, middle, high = (math.tanh(end) for end in (z - reach, z, z + reach))
    return Agreement(middle, _full_length(middle), _full_length(low), _full_length(high))


def _full_length(correlation: float) -> float:
    return 2 * correlation / (1 + correlation) if correlation > 0 else correlation


def _worst_miss(seen: Curve, stderr: float, known: float | None) -> float | str:
    """By how much 1 / value is missed at most when a quarter of the points predicts the larger sizes; or what is wrong.

    Allowed is the standard error of the value, twice the error of having made few draws, or what does not matter.
    """
    place = len(seen.sizes) - 5  # four steps of sqrt(2) below all points
    size, value = seen.sizes[place], seen.mean[place]
    slope = known or _slope(seen, place + 1)
    worst = 0.0
    for larger, actual, spread in list(zip(seen.sizes, seen.mean, seen.spread, strict=True))[place + 1 :]:
        predicted = _carried(value, size, larger, slope)
        drawn = math.hypot(seen.spread[place] * (predicted / value) ** 2, spread) / math.sqrt(seen.draws)
        allowed = max(stderr, 2 * drawn, _IMMATERIAL * actual)
        if math.isinf(predicted) or abs(predicted - actual) > allowed:
            return (
                f"from {size} points, the law predicts {predicted:.3g} for {larger} where {actual:.3g} is seen, "
                f"farther off than {allowed:.2g}"
            )
        worst = max(worst, abs(1 / predicted - 1 / actual))
    return worst


def _slope(seen: Curve, n_sizes: int) -> float:
    """b of 1 / value = a + b / (m - 1), fitted to the last five of the first `n_sizes` sizes.

    Weights of value^2 make misses count relative to the value.
    """
    last = slice(max(0, n_sizes - 5), n_sizes)
    values = np.array(seen.mean[last])
    x, y = 1 / (np.array(seen.sizes[last]) - 1), 1 / values
    (slope, _) = np.polyfit(x, y, 1, w=values)
    return float(slope)


def _carried(value: float, size: int, to: int, slope: float) -> float:
    """The value that `to` points show if `size` points show this one; infinite where the law gives none."""
    inverse = 1 / value + slope * (1 / (to - 1) - 1 / (size - 1))
    return 1 / inverse if inverse > 0 else math.inf
