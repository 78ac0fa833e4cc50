"""Mean-field theory of object manifolds: capacity, radius and dimension of the manifolds that a linear readout sees."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy import integrate, stats
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.estimate import JointEstimate, estimate_of
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.measures import INVARIANCES, MEASURES
from manifoldscope.geometry.moments import on_float64_device
from manifoldscope.geometry.nonnegative import nonnegative_least_squares
from manifoldscope.geometry.spectrum import principal_coordinates
from manifoldscope.seeds import generator

_STEPS = 400
"""Steps of the batched solver after which what is left is solved one problem at a time."""

_AT_ONCE = 1 << 17
"""Multipliers that are worked on at once (1 MiB): what fits into a processor's cache is faster."""

_NO_CENTRE = 1e-9
"""A centroid nearer than this share of the extent of the data to their mean has no direction."""

_READ_OFF = ("inverse", "radius", "dimension")
"""What is read off the anchor points: 1 / capacity, radius and dimension."""

_SAME = 1e-13
"""Points of a manifold that differ by less than this share of the largest number in the data differ by rounding."""


@dataclass(frozen=True, eq=False)
class ManifoldCapacity:
    """What the mean-field theory says of each manifold, and of all of them.

    Attributes:
        capacities: (n_classes,) float64, the number of such manifolds for each feature that a linear readout can
            classify at random; at most 2 without a margin.
        radii: (n_classes,), of the anchor points, relative to the norm of the centroid.
        dimensions: (n_classes,), of the directions of the anchor points.
        capacity_errors, radius_errors, dimension_errors: (n_classes,), standard errors over the random directions.
        capacity: harmonic mean over the manifolds, which is the capacity of all of them together.
        radius, dimension: arithmetic means over the manifolds.
        centroid_cosine: mean over pairs of |cosine| between the centroids, seen from the mean of all points; before
            the common directions are removed.
        n_common: how many directions common to the centroids were removed.
        notes: one for each manifold; empty where there is nothing to know.
        parameters: directions, margin, common and seed.
    """

    capacities: Tensor
    radii: Tensor
    dimensions: Tensor
    capacity_errors: Tensor
    radius_errors: Tensor
    dimension_errors: Tensor
    capacity: float
    radius: float
    dimension: float
    centroid_cosine: float
    n_common: int
    notes: tuple[str, ...]
    parameters: Mapping[str, Any]


def mean_field_geometry(
    manifolds: Sequence[Points | ClassManifold] | Clouds,
    *,
    directions: int = 300,
    margin: float = 0.0,
    common: bool = True,
    seed: int = 0,
) -> ManifoldCapacity:
    """Capacity, radius and dimension of manifolds by their mean-field theory.

    A manifold is seen from the mean of all points, in units of the norm of its centroid: s in its own coordinates, and
    a last one of 1. For a standard normal direction t, v is the nearest point to t with v . s >= margin for all s; then
    1 / capacity is the mean of |v - t|^2. The anchor point (v - t) / (v_0 - t_0), a weighted mean of the points that
    support v (of the nearest point where v = t), has the radius sqrt(mean |s|^2), and with d coordinates the dimension
    d (mean cosine between t and s)^2; the dimension is reckoned as in the published code.

    The theory takes centroids and directions to be independent between manifolds. Where centroids have directions in
    common (a few of their principal axes), these are removed first: as many as leave the least mean |cosine| between
    what is left of the centroids. The published procedure looks for such directions by descent from random starts
    instead.

    A manifold is the convex hull of its points. Few points of a round one make it too easy: 50 points on a ball of 10
    dimensions and radius 1 have about twice the ball's capacity.

    Args:
        manifolds: (n_points, n_features) each, at least two of one layer.
        directions: standard normal directions for each manifold; the relative standard error of a capacity is about
            sqrt(2 / (directions n)) where n points support v.
        margin: of the classification, in units of the norm of the centroid; not negative.
        common: whether to remove what the centroids have in common.
        seed: of the directions.

    Raises:
        GeometryError: one manifold, fewer than two directions, a negative margin, or points that cannot be measured.

    References:
        Chung, Lee and Sompolinsky, "Classification and geometry of general perceptual manifolds" (2018), section IV;
        Cohen, Chung, Lee and Sompolinsky, "Separability and geometry of object manifolds in deep neural networks"
        (2020), Methods.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> points = torch.randn(20, 1, 100, generator=generator).expand(20, 2, 100)
        >>> round(mean_field_geometry(points + 1e-6 * torch.randn(20, 2, 100, generator=generator)).capacity, 1)
        2.0
    """
    if directions < 2:
        raise GeometryError(f"directions = {directions}; expected at least 2, such as 300")
    if not margin >= 0 or math.isinf(margin):
        raise GeometryError(f"margin = {margin}; expected a number of at least 0")
    clouds = manifolds if isinstance(manifolds, Clouds) else Clouds(list(manifolds))
    if len(clouds) < 2:
        raise GeometryError("one manifold has no capacity; give the points of at least two classes of one layer")
    return clouds.once(_capacity, directions=directions, margin=margin, common=common, seed=seed)


def ball_capacity(radius: float, dimension: int) -> float:
    """The capacity of a ball, by the theory, without a margin.

    1 / capacity is the mean squared distance of a standard normal (t_0, t) in 1 + d dimensions to the cone
    v_0 >= R |v|: 0 inside it, |t|^2 + t_0^2 beyond its polar cone, and (R |t| - t_0)^2 / (1 + R^2) between.

    Args:
        radius: R, in units of the norm of the centroid; not negative.
        dimension: d, at least 1.

    Raises:
        GeometryError: a negative radius, or no dimension.

    References:
        Chung, Lee and Sompolinsky (2018), section V.

    Example:
        >>> ball_capacity(0.0, 5), round(ball_capacity(1.0, 5), 9)
        (2.0, 0.333333333)
    """
    if not radius >= 0 or dimension < 1:
        raise GeometryError(f"radius = {radius}, dimension = {dimension}; expected at least 0 and at least 1")
    if radius == 0:
        return 2.0

    def given(length: float) -> float:
        """Mean over t_0 of the squared distance, for |t| of this length."""
        high, low = radius * length, -length / radius
        # moments of a standard normal over an interval: of 1, x and x^2
        between = stats.norm.cdf(high) - stats.norm.cdf(low)
        first = stats.norm.pdf(low) - stats.norm.pdf(high)
        second = between + low * stats.norm.pdf(low) - high * stats.norm.pdf(high)
        middle = (high**2 * between - 2 * high * first + second) / (1 + radius**2)
        below = stats.norm.cdf(low)
        return float(middle + length**2 * below + below - low * stats.norm.pdf(low))

    chi = stats.chi(dimension)
    inverse, _ = integrate.quad(lambda x: given(x) * chi.pdf(x), 0, chi.isf(1e-15), epsabs=1e-12, limit=200)
    return 1 / float(inverse)


def _seconds(n_points: int, n_classes: int, settings: Mapping[str, Any]) -> float:
    """What these measures take together: they are read off one computation."""
    return float(n_classes * (3e-3 + 5.5e-6 * n_points**2) * settings.get("directions", 300) / 300)


@MEASURES.of_clouds("capacity", invariant_to=INVARIANCES, seconds=_seconds)
def capacity(
    clouds: Clouds, *, directions: int = 300, margin: float = 0.0, common: bool = True, seed: int = 0
) -> JointEstimate:
    """How many such manifolds for each feature a linear readout can classify at random, by mean-field theory.

    A class has its own capacity; the layer has the harmonic mean over classes, which is the capacity of all of them
    together. 2 is that of points, and the most without a margin. See `mean_field_geometry` for the equations and what
    they assume: few points of a round manifold overstate it, and correlations between manifolds are not in it
    (`effective_capacity` has them). The standard error is over the random directions.

    Args:
        clouds: of at least two classes, or their points; see `measure`.
        directions: random directions for each class.
        margin: of the classification, in units of the norm of the centroid.
        common: whether to remove what the centroids have in common first.
        seed: of the directions.

    Raises:
        GeometryError: one class, fewer than two directions, or a negative margin.

    References:
        Chung, Lee and Sompolinsky (2018); Cohen, Chung, Lee and Sompolinsky (2020): see `mean_field_geometry`.

    Example:
        >>> points = torch.randn(9, 30, 200, generator=torch.Generator().manual_seed(0))
        >>> near = capacity(list(points + points[:, :1])).whole.value
        >>> capacity(list(points + 3 * points[:, :1])).whole.value > near
        True
    """
    found = mean_field_geometry(clouds, directions=directions, margin=margin, common=common, seed=seed)
    return _joint(clouds, found, found.capacities, found.capacity_errors, found.capacity)


@MEASURES.of_clouds("radius", invariant_to=INVARIANCES, seconds=_seconds)
def radius(
    clouds: Clouds, *, directions: int = 300, margin: float = 0.0, common: bool = True, seed: int = 0
) -> JointEstimate:
    """The effective radius of the anchor-point distribution, in units of the norm of the centroid (Chung et al. 2018).

    The root of the mean squared distance of the anchor points from the centroid, over random directions; the layer has
    the mean over classes. See `mean_field_geometry`, from which it is read. Fewer points show a smaller radius.

    Args:
        clouds, directions, margin, common, seed: see `capacity`.

    Raises:
        GeometryError: one class, fewer than two directions, or a negative margin.

    References:
        Chung, Lee and Sompolinsky (2018); Cohen, Chung, Lee and Sompolinsky (2020): see `mean_field_geometry`.

    Example:
        >>> points = torch.randn(9, 30, 200, generator=torch.Generator().manual_seed(0))
        >>> radius(list(points + 3 * points[:, :1])).whole.value < 1
        True
    """
    found = mean_field_geometry(clouds, directions=directions, margin=margin, common=common, seed=seed)
    return _joint(clouds, found, found.radii, found.radius_errors, found.radius)


@MEASURES.of_clouds("manifold_dimension", invariant_to=INVARIANCES, seconds=_seconds)
def manifold_dimension(
    clouds: Clouds, *, directions: int = 300, margin: float = 0.0, common: bool = True, seed: int = 0
) -> JointEstimate:
    """The effective dimension of the anchor-point distribution (Chung et al. 2018).

    d (mean cosine between random directions and their anchor points)^2 for a manifold that spans d dimensions; the
    layer has the mean over classes. See `mean_field_geometry`, from which it is read. Fewer points show fewer
    dimensions.

    Args:
        clouds, directions, margin, common, seed: see `capacity`.

    Raises:
        GeometryError: one class, fewer than two directions, or a negative margin.

    References:
        Chung, Lee and Sompolinsky (2018); Cohen, Chung, Lee and Sompolinsky (2020): see `mean_field_geometry`.

    Example:
        >>> points = torch.randn(9, 30, 200, generator=torch.Generator().manual_seed(0))
        >>> manifold_dimension(list(points + 3 * points[:, :1])).whole.value < 29
        True
    """
    found = mean_field_geometry(clouds, directions=directions, margin=margin, common=common, seed=seed)
    return _joint(clouds, found, found.dimensions, found.dimension_errors, found.dimension, bounded=True)


def _joint(
    clouds: Clouds, found: ManifoldCapacity, values: Tensor, errors: Tensor, whole: float, *, bounded: bool = False
) -> JointEstimate:
    """One value of each class with its standard error, and that of the layer, whose error is that of a mean.

    `bounded` values cannot exceed the dimensions that the points of the class span.
    """
    classes = tuple(
        estimate_of(
            clouds,
            place,
            value=float(values[place]),
            stderr=float(errors[place]),
            ceiling=min(cloud.n_points - 1, clouds.n_features) if bounded else None,
            parameters=found.parameters,
            note=found.notes[place],
        )
        for place, cloud in enumerate(clouds)
    )
    known = errors[torch.isfinite(errors)]
    missing = int(values.isnan().sum())
    return JointEstimate(
        classes=classes,
        whole=estimate_of(
            clouds,
            value=whole,
            stderr=float(known.norm()) / len(known) if len(known) else None,
            parameters=found.parameters,
            note=f"{missing} of {len(clouds)} classes have no value" if missing else "",
        ),
    )


def _capacity(points: Sequence[Tensor], *, directions: int, margin: float, common: bool, seed: int) -> ManifoldCapacity:
    seen = _seen_from_their_mean(points, common=common)
    found = {name: torch.full((len(points), 2), math.nan, dtype=torch.float64) for name in _READ_OFF}
    for group in _groups(seen.coordinates, directions):
        shapes = torch.stack([seen.coordinates[place] for place in group])
        drawn = torch.stack([_directions(shapes.shape[2], directions, seed, place) for place in group])
        for name, values in _anchors(shapes, drawn.to(shapes.device), margin).items():
            found[name][group] = values.cpu()
    inverse, inverse_error = found["inverse"].T
    radii, radius_errors = found["radius"].T
    dimensions, dimension_errors = found["dimension"].T
    return ManifoldCapacity(
        capacities=1 / inverse,
        radii=radii,
        dimensions=dimensions,
        capacity_errors=inverse_error / inverse**2,
        radius_errors=radius_errors,
        dimension_errors=dimension_errors,
        capacity=float(1 / inverse.nanmean()),
        radius=float(radii.nanmean()),
        dimension=float(dimensions.nanmean()),
        centroid_cosine=seen.correlation,
        n_common=seen.n_common,
        notes=seen.notes,
        parameters={"directions": directions, "margin": margin, "common": common, "seed": seed},
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """Manifolds as the theory sees them.

    Attributes:
        coordinates: by place, (n_points, 1 + d); those whose centroid has no direction are left out.
        notes: one for each manifold.
        correlation, n_common: of the centroids; see `ManifoldCapacity`.
    """

    coordinates: Mapping[int, Tensor]
    notes: tuple[str, ...]
    correlation: float
    n_common: int


def _seen_from_their_mean(points: Sequence[Tensor], *, common: bool) -> _Seen:
    matrices = [on_float64_device(each).to(torch.float64) for each in points]
    rounding = _SAME * max(float(each.abs().max()) for each in matrices) * matrices[0].shape[1] ** 0.5
    mean = torch.cat(matrices).mean(0)
    matrices = [each - mean for each in matrices]
    centroids = torch.stack([each.mean(0) for each in matrices])
    extent = max(float(each.norm(dim=1).max()) for each in matrices)
    axes, correlation = _common_axes(centroids, extent, look=common)
    notes = [""] * len(matrices)
    coordinates: dict[int, Tensor] = {}
    for place, each in enumerate(matrices):
        left = each - (each @ axes.T) @ axes
        centroid = left.mean(0)
        norm = float(centroid.norm())
        if norm <= _NO_CENTRE * extent:
            notes[place] = (
                "its centroid is the mean of all points (less what the centroids have in common): no direction"
            )
            continue
        coordinates[place] = _coordinates((left - centroid) / norm, rounding / norm)
        if coordinates[place].shape[1] == 1:
            notes[place] = "all points are the same: a point, without radius and dimension"
    return _Seen(coordinates, tuple(notes), correlation, len(axes))


def _directions(width: int, number: int, seed: int, place: int) -> Tensor:
    """(width, number) standard normal; those of one manifold do not depend on how many there are."""
    return torch.randn(width, number, dtype=torch.float64, generator=generator(seed, "capacity", place))


def _common_axes(centroids: Tensor, extent: float, *, look: bool) -> tuple[Tensor, float]:
    """(k, n_features) directions that the centroids have in common, and their mean |cosine| with all directions left
    in.

    The first k principal axes of the centroids, for the k that leaves the least mean |cosine|.
    """
    products = centroids @ centroids.T
    before = _mean_cosine(products, extent)
    if not look or len(centroids) < 3 or math.isnan(before):
        return centroids[:0], before
    _, _, axes = torch.linalg.svd(centroids - centroids.mean(0), full_matrices=False)
    parts = centroids @ axes.T
    best, kept = before, 0
    for k in range(1, len(centroids) - 1):
        products = products - parts[:, k - 1 : k] @ parts[:, k - 1 : k].T
        correlation = _mean_cosine(products, extent)
        if correlation < best:
            best, kept = correlation, k
    return axes[:kept], before


def _mean_cosine(products: Tensor, extent: float) -> float:
    """Mean |cosine| over pairs of vectors, from their inner products; NaN where one of them has no direction."""
    norms = products.diagonal().clamp(min=0).sqrt()
    if bool((norms <= _NO_CENTRE * extent).any()):
        return math.nan
    cosines = products / norms[:, None] / norms
    n = len(products)
    return float((cosines.abs().sum() - n) / (n * (n - 1)))


def _coordinates(points: Tensor, rounding: float) -> Tensor:
    """(n_points, 1 + d): a 1 and the d principal coordinates, the largest first; the same in any order and axes.

    A direction in which no point is farther out than `rounding` is not one.
    """
    own = principal_coordinates(points, least=len(points) * rounding**2)
    return torch.cat([torch.ones(len(points), 1, dtype=torch.float64, device=points.device), own], 1)


def _groups(coordinates: Mapping[int, Tensor], directions: int) -> Iterator[list[int]]:
    """Manifolds of one shape, as many as fit into memory at once."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, own in coordinates.items():
        by_shape.setdefault(tuple(own.shape), []).append(place)
    for (n_points, _), places in by_shape.items():
        step = max(1, _AT_ONCE // (n_points * directions))
        for start in range(0, len(places), step):
            yield places[start : start + step]


def _anchors(points: Tensor, directions: Tensor, margin: float) -> dict[str, Tensor]:
    """1 / capacity, radius and dimension of some manifolds, with standard errors: (n_classes, 2) each.

    Args:
        points: (n_classes, n_points, 1 + d), the first coordinate 1.
        directions: (n_classes, 1 + d, n_directions).
    """
    multipliers = support(points, directions, margin)
    moved = points.mT @ multipliers
    squares = moved.square().sum(1)
    n_directions, d = squares.shape[1], points.shape[2] - 1
    found = {"inverse": torch.stack([squares.mean(1), squares.std(1) / n_directions**0.5], 1)}
    if d == 0:
        nothing = torch.zeros(len(points), 2, dtype=torch.float64, device=points.device)
        return {**found, "radius": nothing, "dimension": nothing}
    total = multipliers.sum(1, keepdim=True)
    nearest = (points @ directions).argmin(1, keepdim=True).expand(-1, d, -1)
    anchors = torch.where(total > 0, moved[:, 1:] / total, points[:, :, 1:].mT.gather(2, nearest))
    lengths = anchors.square().sum(1)
    own = directions[:, 1:]
    cosines = -(own * anchors).sum(1) / (own.norm(dim=1) * lengths.sqrt()).clamp(min=1e-300)
    radius = lengths.mean(1).sqrt()
    radius_error = lengths.std(1) / n_directions**0.5 / (2 * radius)
    cosine = cosines.mean(1)
    dimension_error = 2 * d * cosine.abs() * cosines.std(1) / n_directions**0.5
    found["radius"] = torch.stack([radius, radius_error], 1)
    found["dimension"] = torch.stack([d * cosine**2, dimension_error], 1)
    return found


def support(points: Tensor, directions: Tensor, margin: float = 0.0) -> Tensor:
    """For each direction t the multipliers z >= 0 of the points S for which v = t + S^T z is nearest to t.

    v is the nearest vector to t with S v >= margin.

    Args:
        points: (n_manifolds, n_points, n_features), the first feature 1.
        directions: (n_manifolds, n_features, n_directions).
        margin: not negative.

    Returns:
        (n_manifolds, n_points, n_directions) float64.

    Example:
        >>> points = torch.tensor([[[1.0, 0.5], [1.0, -0.5]]]).double()
        >>> t = torch.tensor([[[0.0], [3.0]]]).double()
        >>> (t[0] + points[0].T @ support(points, t)[0]).flatten().round(decimals=6).tolist()
        [1.2, 2.4]
    """
    targets = -directions
    targets[:, 0] += margin  # the first feature is 1, so that S y = margin - S t
    multipliers, _ = nonnegative_least_squares(points, targets, steps=_STEPS)
    return multipliers
