"""Measures read off distances: the dimension of a manifold that may be curved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from scipy.optimize import brentq
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Cloud
from manifoldscope.geometry.distances import Neighbours
from manifoldscope.geometry.estimate import Estimate
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.measures import INVARIANCES, MEASURES
from manifoldscope.geometry.spectrum import spectra

_TIE = 1e-9
"""Distances whose logarithms differ by less are the same up to rounding."""

_AT_ONCE = 1 << 24
"""Numbers of the neighbourhoods that are held at once (128 MiB)."""


@MEASURES.of_cloud("two_nn", invariant_to=INVARIANCES, version=2)
def two_nn(cloud: Cloud, *, method: Literal["fit", "mle"] = "fit", discard: float = 0.1) -> Estimate:
    """The dimension at the smallest scale, from how much farther the second neighbour is than the first.

    Where the density is even over the distance to the second neighbour, mu = r2 / r1 has the distribution
    1 - mu^-d. "fit" draws a line through the origin of -log(1 - F) against log mu, without the largest ratios; "mle" is
    the maximum likelihood over all of them, (n - 1) / sum(log mu), free of bias for independent ratios.

    It is a local measure: noise at the scale of the nearest neighbours adds dimensions, and a high dimension is
    understated, since points enough to fill it are never there: 2,500 points of cubes of 10, 24 and 70 dimensions show
    about 8.5, 18 and 40. "mle" comes with the standard error of its likelihood, value / sqrt(n), which takes the ratios
    for independent; they share neighbours, and samples were seen to spread by up to a third more.

    Args:
        cloud: of the class, at least three distinct points. Points that are equal up to rounding (see `Neighbours.of`)
            count once, and are noted; equal distances (a ratio of 1, as between points of a grid) are counted like any
            other ratio, and are noted.
        method: "fit" as in the paper, or "mle".
        discard: share of the largest ratios left out of the fit, in [0, 1).

    Raises:
        GeometryError: a share outside [0, 1).

    References:
        Facco, d'Errico, Rodriguez and Laio, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
        information" (2017).

    Example:
        >>> from manifoldscope.geometry.reference import sphere
        >>> round(two_nn(Cloud(sphere(2000, 3, generator=torch.Generator().manual_seed(0)))).value, 1)
        3.0
    """
    if not 0 <= discard < 1:
        raise GeometryError(f"discard = {discard}; expected a share of the ratios from 0 up to, but not, 1")
    parameters = {"method": method, "discard": discard}
    found = cloud.neighbours(2)
    if found.n_points < 3:
        return _too_few(cloud, found, parameters, needed=3)
    logs = _log_ratios(found.distances[:, 1], found.distances[:, 0]).sort().values
    n = len(logs)
    total = float(logs.sum())
    if total == 0:
        return _no_value(cloud, parameters, "every point has its two nearest neighbours at one distance, as on a grid")
    if method == "mle":
        value = (n - 1) / total
        return _noting_ties(_estimate(cloud, found, value, parameters, stderr=value / n**0.5), logs)
    used = min(n - 1, max(1, int(round(n * (1 - discard), 9))))  # the last one has F = 1, infinitely high
    heights = -(1 - torch.arange(1, used + 1, dtype=torch.float64, device=logs.device) / n).log()
    slope_below = float(logs[:used] @ logs[:used])
    if slope_below == 0:
        return _no_value(cloud, parameters, f"{used} of {n} ratios of neighbour distances are 1, as on a grid")
    return _noting_ties(_estimate(cloud, found, float(logs[:used] @ heights) / slope_below, parameters), logs)


@MEASURES.of_cloud("mle", invariant_to=INVARIANCES, version=2)
def mle(cloud: Cloud, *, n_neighbours: int = 20) -> Estimate:
    """The dimension by maximum likelihood from the distances to the nearest neighbours of each point.

    With T_j the distance to the j-th of k neighbours, a point says 1 / m = sum_j log(T_k / T_j) / (k - 1); these are
    averaged over the points before they are inverted, so that a few points with near neighbours do not weigh most.
    (Dividing by k - 2 would free each point's own m of bias; averaged inverses need no such correction.) Smaller k
    looks closer and is noisier; high dimensions are understated, as by `two_nn` and more so.

    Args:
        cloud: of the class. Where it has no more than `n_neighbours` other distinct points, all of them are used, and
            noted.
        n_neighbours: k, at least 2.

    Raises:
        GeometryError: fewer than 2 neighbours asked for.

    References:
        Levina and Bickel, "Maximum likelihood estimation of intrinsic dimension" (2004), equation 8; MacKay and
        Ghahramani, "Comments on 'Maximum likelihood estimation of intrinsic dimension'" (2005).

    Example:
        >>> from manifoldscope.geometry.reference import sphere
        >>> round(mle(Cloud(sphere(2000, 3, generator=torch.Generator().manual_seed(0)))).value, 1)
        3.0
    """
    if n_neighbours < 2:
        raise GeometryError(f"n_neighbours = {n_neighbours}; expected at least 2")
    parameters = {"n_neighbours": n_neighbours}
    found = cloud.neighbours(n_neighbours)
    if found.n_points < 3:
        return _too_few(cloud, found, parameters, needed=3)
    inverse = float(_log_ratios(found.distances[:, -1:], found.distances[:, :-1]).mean())
    if inverse == 0:
        return _no_value(cloud, parameters, "every point has all its nearest neighbours at one distance")
    estimate = _estimate(cloud, found, 1 / inverse, parameters)
    return estimate if found.k == n_neighbours else estimate.noting(f"only {found.k} neighbours are there")


@MEASURES.of_cloud("gride", invariant_to=INVARIANCES, version=2)
def gride(cloud: Cloud, *, n1: int = 2) -> Estimate:
    """The dimension at a scale, from how much farther the 2 n1-th neighbour is than the n1-th.

    The ratio mu = r_2n1 / r_n1 has density d (mu^d - 1)^(n1 - 1) / (B(n1, n1) mu^(d (2 n1 - 1) + 1)) where the points
    are evenly dense; d maximises the likelihood, and its standard error is that of the likelihood, for ratios that
    were independent. They are not: samples were seen to spread by up to a third more, and by two thirds more at n1 = 8
    on a roll of two dimensions. With n1 = 1 it is `two_nn` by maximum likelihood. A larger n1 looks from farther away,
    where noise counts less and curvature more: `gride_curve` gives dimension against scale.

    Args:
        cloud: of the class (or its points), more than 2 n1 distinct points.
        n1: rank of the nearer neighbour, at least 1; the farther one has rank 2 n1.

    Raises:
        GeometryError: n1 below 1.

    References:
        Denti, Doimo, Laio and Mira, "The generalized ratios intrinsic dimension estimator" (2022).

    Example:
        >>> from manifoldscope.geometry.reference import sphere
        >>> round(gride(Cloud(sphere(2000, 3, generator=torch.Generator().manual_seed(0)))).value, 1)
        3.0
    """
    if n1 < 1:
        raise GeometryError(f"n1 = {n1}; expected at least 1")
    parameters = {"n1": n1}
    found = cloud.neighbours(2 * n1)
    if found.k < 2 * n1:
        return _too_few(cloud, found, parameters, needed=2 * n1 + 1)
    logs = _log_ratios(found.distances[:, 2 * n1 - 1], found.distances[:, n1 - 1])
    total, n = float(logs.sum()), len(logs)
    if total == 0:
        return _no_value(cloud, parameters, f"every point has its neighbours {n1} and {2 * n1} at one distance")

    def score(d: float) -> float:
        """Derivative of the log-likelihood; it falls from infinity to below 0."""
        # u / (1 - exp(-d u)), which is 1 / d where u is 0
        terms = torch.where(logs > 0, logs / -torch.expm1(-d * logs), 1 / d)
        return n / d + (n1 - 1) * float(terms.sum()) - (2 * n1 - 1) * total

    below, above = n / ((2 * n1 - 1) * total), n / total
    value = above if n1 == 1 else float(brentq(score, below * (1 - 1e-9), above * (1 + 1e-9), xtol=1e-12 * above))
    spread = torch.where(logs > 0, logs**2 * (-value * logs).exp() / torch.expm1(-value * logs) ** 2, 1 / value**2)
    information = n / value**2 + (n1 - 1) * float(spread.sum())
    return _estimate(cloud, found, value, parameters, stderr=information**-0.5)


def gride_curve(
    points: Points | ClassManifold | Cloud, scales: Sequence[int] = (1, 2, 4, 8, 16, 32)
) -> dict[int, Estimate]:
    """`gride` at several scales: dimension against the distance from which a manifold is looked at.

    Args:
        points: (n_points, n_features).
        scales: values of n1; those that need more points than there are, are left out.

    Returns:
        The estimate at each scale.

    Example:
        >>> from manifoldscope.geometry.reference import sphere
        >>> curve = gride_curve(sphere(500, 2, generator=torch.Generator().manual_seed(0)), scales=(1, 8, 900))
        >>> {scale: round(estimate.value) for scale, estimate in curve.items()}
        {1: 2, 8: 2}
    """
    cloud = points if isinstance(points, Cloud) else Cloud(points)
    cloud.neighbours(2 * max(scales))  # one search for all scales
    return {n1: gride(cloud, n1=n1) for n1 in scales if 2 * n1 < cloud.neighbours(1).n_points}


@MEASURES.of_cloud("local_pca", invariant_to=INVARIANCES, version=3)
def local_pca(cloud: Cloud, *, n_neighbours: int = 30, fraction: float = 0.95) -> Estimate:
    """The mean over the points of the PCA dimension of each point's neighbourhood.

    A neighbourhood is a point and its nearest neighbours; small against the curvature it is flat, and its principal
    components count the dimensions of the manifold. It shows at most ceil(fraction min(k, n_features)) of them, so k
    must be well above the answer; curvature and noise add, too few neighbours take away.

    scikit-dimension's `lPCA(ver="ratio")` keeps components until 5% of the variance by default, and not 95%; its `fit`
    is of the whole cloud, its `fit_pw` of neighbourhoods, from which it leaves out the point itself.

    Args:
        cloud: of the class, or its points; see `measure`.
        n_neighbours: k, at least 2; all others where there are fewer, which is noted.
        fraction: share of the variance to reach, in (0, 1].

    Raises:
        GeometryError: fewer than 2 neighbours asked for, or a fraction outside (0, 1].

    References:
        Fukunaga and Olsen, "An algorithm for finding intrinsic dimensionality of data" (1971).

    Example:
        >>> from manifoldscope.geometry.reference import sphere
        >>> local_pca(Cloud(sphere(2000, 3, generator=torch.Generator().manual_seed(0)))).value
        3.0
    """
    if n_neighbours < 2:
        raise GeometryError(f"n_neighbours = {n_neighbours}; expected at least 2")
    parameters = {"n_neighbours": n_neighbours, "fraction": fraction}
    found = cloud.neighbours(n_neighbours)
    if found.n_points < 3:
        return _too_few(cloud, found, parameters, needed=3)
    around = torch.cat([torch.arange(found.n_points, device=found.places.device)[:, None], found.places], 1)
    points = cloud.points[found.kept]
    dimensions: list[int] = []
    ceiling = 0
    for some in torch.split(around, max(1, _AT_ONCE // (around.shape[1] * points.shape[1]))):
        local = spectra([points[rows] for rows in some])
        dimensions += [spectrum.dimension(fraction) for spectrum in local]
        ceiling = local[0].dimension_ceiling(fraction)
    estimate = _estimate(cloud, found, sum(dimensions) / len(dimensions), parameters, ceiling=ceiling)
    if found.k < cloud.n_features:
        estimate = replace(estimate, bounded_by="neighbours" if found.k < found.n_points - 1 else "points")
    return estimate if found.k == n_neighbours else estimate.noting(f"only {found.k} neighbours are there")


def _estimate(
    cloud: Cloud,
    found: Neighbours,
    value: float,
    parameters: Mapping[str, Any],
    *,
    stderr: float | None = None,
    ceiling: float | None = None,
) -> Estimate:
    return Estimate(
        value=value,
        n_points=cloud.n_points,
        n_features=cloud.n_features,
        ceiling=ceiling,
        stderr=stderr,
        parameters=parameters,
        note=_counting_once(found.n_duplicates),
    )


def _counting_once(n_duplicates: int) -> str:
    if n_duplicates == 1:
        return "1 point equals another one up to rounding and counts once"
    return f"{n_duplicates} points equal another one up to rounding and count once" if n_duplicates else ""


def _log_ratios(farther: Tensor, nearer: Tensor) -> Tensor:
    """Logarithms of ratios of distances; 0 where they differ by rounding."""
    logs = (farther / nearer).log()
    return torch.where(logs > _TIE, logs, 0.0)


def _noting_ties(estimate: Estimate, logs: Tensor) -> Estimate:
    ties = int((logs == 0).sum())
    if not ties:
        return estimate
    return estimate.noting(f"{ties} of {len(logs)} points have their two nearest neighbours at one distance")


def _too_few(cloud: Cloud, found: Neighbours, parameters: Mapping[str, Any], *, needed: int) -> Estimate:
    return _no_value(
        cloud,
        parameters,
        f"{found.n_points} distinct {'point' if found.n_points == 1 else 'points'}; this needs {needed} at least",
    )


def _no_value(cloud: Cloud, parameters: Mapping[str, Any], reason: str) -> Estimate:
    return Estimate(
        value=math.nan, n_points=cloud.n_points, n_features=cloud.n_features, parameters=parameters, note=reason
    )
