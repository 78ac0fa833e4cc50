"""To more points than there are, where that can be told; and what a sample of a known law would show."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Cloud
from manifoldscope.geometry.estimate import NEAR_CEILING, Estimate
from manifoldscope.geometry.measures import MEASURES, measure
from manifoldscope.geometry.moments import Gram, Scaling, blocks
from manifoldscope.geometry.reference import power_law_variances
from manifoldscope.geometry.sampling import UNSTABLE, Curve, curve, subsampled
from manifoldscope.geometry.spectrum import Spectrum
from manifoldscope.geometry.subsets import (
    Manifold,
    as_subject,
    finite_or_reason,
    mean_of,
    require_at_least_one,
    single,
    size_grid,
    standard_deviation,
)

FARTHEST = 4
"""How many times its points a sample is extrapolated to, at most: as far as its own curve can be tested."""

_IMMATERIAL = 0.02
"""A prediction that misses by less than this share of the value has not missed."""

_TOO_VAGUE = 0.25
"""An extrapolation whose standard error is more than this share of its value is refused."""

_FEWEST_TO_FIT = 32
"""Points from which on a quarter of them, and steps of sqrt(2) down from it to 4, are three sizes to fit a law to."""


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
        draws: how many draws of each size the curve is made of, and how many split halves the standard error.
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
    cloud = single(as_subject(points, [name], scaling))
    total = cloud.n_points
    if n_points < total:
        raise GeometryError(f"n_points = {n_points} is within the {total} points at hand; use measure_at for fewer")
    require_at_least_one("draws", draws)
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
    seen = curve(name, cloud, sizes=size_grid(total, smallest=4), draws=draws, generator=generator, **parameters)
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
    require_at_least_one("draws", draws)
    require_at_least_one("n_features", n_features)
    if n_points < 2:
        raise GeometryError(f"n_points = {n_points}; a sample needs at least 2 points to have variances")
    if not exponent >= 0 or math.isinf(exponent):
        raise GeometryError(f"exponent = {exponent}; expected one of at least 0, as 1.0")
    settings: dict[str, Any] = {"first": first, "last": last}
    scales = power_law_variances(n_features, exponent).sqrt()
    tried = []
    for _ in range(draws):
        spectrum = _spectrum_of_sample(n_points, scales, generator)
        tried.append(finite_or_reason(measure("decay_exponent", spectrum, **settings)))
    found = [estimate for estimate in tried if isinstance(estimate, Estimate)]
    reason = next((why for why in tried if isinstance(why, str)), "")
    values = [estimate.value for estimate in found]
    return Estimate(
        value=mean_of(values),
        n_points=n_points,
        n_features=n_features,
        stderr=standard_deviation(values) if len(values) > 1 else None,
        parameters=settings,
        note=f"mean over {len(values)} Gaussian samples of exponent {exponent:g}" if values else reason,
    )


def _spectrum_of_sample(n_points: int, scales: Tensor, generator: torch.Generator) -> Spectrum:
    """The spectrum of Gaussian points with these standard deviations; many features are drawn in blocks."""
    if n_points > len(scales):
        return Spectrum.of(torch.randn(n_points, len(scales), dtype=torch.float64, generator=generator) * scales)
    gram = Gram(n_points)
    for columns in blocks(len(scales), n_points):
        some = scales[columns]
        gram.update(torch.randn(n_points, len(some), dtype=torch.float64, generator=generator) * some)
    return Spectrum.of_moments(gram)


def _worst_miss(seen: Curve, stderr: float, known: float | None) -> float | str:
    """By how much 1 / value is missed at most when a quarter of the points predicts the larger sizes; or what is wrong.

    Allowed is the standard error of the value, twice the error of having made few draws, or what does not matter.
    """
    place = len(seen.sizes) - 5  # four steps of sqrt(2) below all points
    size, value = seen.sizes[place], seen.mean[place]
    slope = known or _slope(seen, place + 1)
    worst = 0.0
    for larger, actual, spread in list(zip(seen.sizes, seen.mean, seen.standard_deviation, strict=True))[place + 1 :]:
        predicted = _carried(value, size, larger, slope)
        drawn = math.hypot(seen.standard_deviation[place] * (predicted / value) ** 2, spread) / math.sqrt(seen.draws)
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
