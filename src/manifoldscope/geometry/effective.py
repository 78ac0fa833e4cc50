"""The effective geometry of manifold capacity: capacity, radius, dimension and alignments of manifolds as they lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.estimate import NEAR_CEILING, Estimate, JointEstimate, estimate_of
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.measures import INVARIANCES, MEASURES
from manifoldscope.geometry.moments import on_float64_device
from manifoldscope.geometry.nonnegative import nonnegative_least_squares
from manifoldscope.geometry.spectrum import principal_coordinates
from manifoldscope.seeds import generator

_STEPS = 50
"""Steps of the solver for all problems together, after which what is left is solved one by one: few points bear,
and those are about known by then."""

_ENOUGH = 1e-4
"""Violation of the optimality conditions of a solved problem: the capacity is right to second order in it."""

_ROUNDING = 1e-9
"""An anchor point nearer to its centre than this share of the extent of the data is the centre, up to rounding."""


@dataclass(frozen=True, eq=False)
class EffectiveGeometry:
    """What random dichotomies and directions say of manifolds as they lie.

    Attributes:
        capacity: number of manifolds for each feature that can be classified at random; per class `capacities`, whose
            harmonic mean it is.
        radius, dimension: of the anchor points around their centres; per class `radii` and `dimensions`.
        centre_alignments, axis_alignments, centre_axis_alignments: (n_classes, n_classes) mean |cosine| between anchor
            centres; between deviations of anchor points from them; and between the centre of one class (row) and the
            deviations of another (column). The diagonals mean nothing.
        capacity_error: standard error of the capacity over the draws.
        utility: what capacity has in common with radius and dimension: capacity = utility (1 + radius^-2) / dimension.
        least: the smallest capacity that that many classes can show in the dimensions that their points span.
        missed: largest violation of the optimality conditions, as a share of the problem's largest number.
        parameters: directions and seed.
    """

    capacity: float
    radius: float
    dimension: float
    capacities: Tensor
    radii: Tensor
    dimensions: Tensor
    centre_alignments: Tensor
    axis_alignments: Tensor
    centre_axis_alignments: Tensor
    capacity_error: float
    utility: float
    least: float
    missed: float
    parameters: Mapping[str, Any]


def effective_geometry(
    manifolds: Sequence[Points | ClassManifold] | Clouds, *, directions: int = 200, seed: int = 0
) -> EffectiveGeometry:
    """Capacity, radius, dimension and alignments of manifolds on their own correlations.

    For random labels y of the P manifolds and a standard normal direction t, let p be the projection of t on the cone
    that the points y_i s span. Then 1 / capacity is the mean of |p|^2 / P: nothing is assumed of how centres and
    directions of the manifolds are correlated. p is a sum over the manifolds of anchor points s_i, weighted means of
    their points. With S_0 their means over the draws (anchor centres), S_1 the rest, and t_1 = S_1 t, one row a
    manifold,

        dimension = b / P,  radius^2 = c / (b - c),  utility = c / a
        capacity = P / a = utility (1 + radius^-2) / dimension

    for the means a of |p|^2, b of t_1 (S_1 S_1^T)^+ t_1 and c of t_1 (S_1 S_1^T + S_0 S_0^T)^+ t_1. A manifold that
    does not bear on a draw has no anchor point there and adds nothing; where all bear on all draws, for large radii in
    many dimensions, the utility is near 1. Capacity and dimension of one class are its own terms of a and b, which few
    classes can make negative. Its radius is that of its anchor points alone, sqrt(mean |s_1|^2) / |s_0|, since its
    terms of c are often negative; for uncorrelated manifolds it is the same.

    p has at most the d dimensions that all points span, so that the capacity is at least P / d: a value near it says
    that random labels cannot be separated in them, and no more. There p is t itself, which many weighted sums of points
    make up: then anchor points, and so radius, dimension, utility and alignments, depend on which of them the solver
    finds.

    Points are seen from the mean of all. The cost is that of a quadratic program over all points of all classes for
    each draw; they share one matrix, of (number of points)^2 numbers.

    Args:
        manifolds: (n_points, n_features) each, at least two of one layer.
        directions: how many are drawn at random, each with labels.
        seed: of these draws.

    Raises:
        GeometryError: one manifold, fewer than two directions, or points that are all the same.

    References:
        Chou, Kim, Arend, Yang, Mensh, Shim, Perich and Chung, "Geometry linked to untangling efficiency reveals
        structure and computation in neural populations" (2024); Chou, Kirsanov, Yang and Chung, "Diagnosing
        generalization failures from representational geometry markers" (2026), for the three factors;
        Wakhloo, Sussman and Chung, "Linear classification of neural manifolds with correlated variability" (2023).

    Example:
        >>> points = torch.randn(30, 2, 400, generator=torch.Generator().manual_seed(0))
        >>> 1.8 < effective_geometry(list(points[:, :1].expand(-1, 2, -1))).capacity < 2.2  # single points: 2
        True
    """
    if directions < 2:
        raise GeometryError(f"directions = {directions}; expected at least 2, such as 200")
    clouds = manifolds if isinstance(manifolds, Clouds) else Clouds(list(manifolds))
    if len(clouds) < 2:
        raise GeometryError("one manifold has no capacity; give the points of at least two classes of one layer")
    return clouds.once(_effective, directions=directions, seed=seed)


def _seconds(n_points: int, n_classes: int, settings: Mapping[str, Any]) -> float:
    """What these measures take together: they are read off one computation."""
    return float(8e-7 * (n_points * n_classes) ** 2 * settings.get("directions", 200) / 200)


@MEASURES.of_clouds("effective_capacity", invariant_to=INVARIANCES, seconds=_seconds, version=2)
def effective_capacity(clouds: Clouds, *, directions: int = 200, seed: int = 0) -> JointEstimate:
    """How many such manifolds for each feature a linear readout can classify at random, as they lie.

    Unlike `capacity`, it assumes nothing of how centres and directions of the manifolds are correlated; it agrees with
    `simulated_capacity`. The layer's capacity is the harmonic mean of the classes', which say how much room each takes.
    See `effective_geometry`. Few points of a round manifold overstate it.

    Args:
        clouds: of at least two classes, or their points; see `measure`.
        directions: how many are drawn at random, each with labels.
        seed: of these draws.

    Raises:
        GeometryError: one class, fewer than two directions, or points that are all the same.

    References:
        Chou et al. (2024); Wakhloo, Sussman and Chung (2023): see `effective_geometry`.

    Example:
        >>> points = torch.randn(9, 20, 100, generator=torch.Generator().manual_seed(0))
        >>> near = effective_capacity(list(points + points[:, :1])).whole.value
        >>> effective_capacity(list(points + 3 * points[:, :1])).whole.value > near
        True
    """
    found = effective_geometry(clouds, directions=directions, seed=seed)
    return _joint(clouds, found, found.capacities, found.capacity, stderr=found.capacity_error)


@MEASURES.of_clouds("effective_radius", invariant_to=INVARIANCES, seconds=_seconds, version=2)
def effective_radius(clouds: Clouds, *, directions: int = 200, seed: int = 0) -> JointEstimate:
    """The effective radius of the anchor points of random dichotomies, relative to their centre (Chou et al. 2024).

    See `effective_geometry`. Fewer points show a smaller radius.

    Args:
        clouds, directions, seed: see `effective_capacity`.

    Raises:
        GeometryError: one class, fewer than two directions, or points that are all the same.

    References:
        Chou et al. (2024): see `effective_geometry`.

    Example:
        >>> points = torch.randn(9, 20, 100, generator=torch.Generator().manual_seed(0))
        >>> effective_radius(list(points + 9 * points[:, :1])).whole.value < 1
        True
    """
    found = effective_geometry(clouds, directions=directions, seed=seed)
    return _joint(clouds, found, found.radii, found.radius)


@MEASURES.of_clouds("effective_dimension", invariant_to=INVARIANCES, seconds=_seconds, version=2)
def effective_dimension(clouds: Clouds, *, directions: int = 200, seed: int = 0) -> JointEstimate:
    """The effective dimension of the anchor points of random dichotomies (Chou et al. 2024).

    See `effective_geometry`. Fewer points show fewer dimensions.

    Args:
        clouds, directions, seed: see `effective_capacity`.

    Raises:
        GeometryError: one class, fewer than two directions, or points that are all the same.

    References:
        Chou et al. (2024): see `effective_geometry`.

    Example:
        >>> points = torch.randn(9, 20, 100, generator=torch.Generator().manual_seed(0))
        >>> 1 < effective_dimension(list(points + points[:, :1])).whole.value < 19
        True
    """
    found = effective_geometry(clouds, directions=directions, seed=seed)
    return _joint(clouds, found, found.dimensions, found.dimension)


@MEASURES.of_clouds("effective_alignment", invariant_to=INVARIANCES, seconds=_seconds, version=2)
def effective_alignment(
    clouds: Clouds,
    *,
    of: Literal["centres", "axes", "centres and axes"] = "centres",
    directions: int = 200,
    seed: int = 0,
) -> JointEstimate:
    """How much the manifolds share their directions: the mean |cosine| between what bears on random classifications.

    Of anchor centres; of the deviations of anchor points from their centres ("axes"); or of the centre of one class and
    the deviations of another. A pair has its own value (for "centres and axes" the mean of both ways), a class the mean
    over its pairs, the layer the mean over all. Unrelated directions in d dimensions show sqrt(2 / (pi d)).

    Args:
        clouds, directions, seed: see `effective_capacity`.
        of: "centres", "axes", or "centres and axes".

    Raises:
        GeometryError: one class, fewer than two directions, or points that are all the same.

    References:
        Chou et al. (2024): see `effective_geometry`.

    Example:
        >>> points = torch.randn(9, 20, 100, generator=torch.Generator().manual_seed(0))
        >>> shared = 3 * torch.randn(9, 1, 1, generator=torch.Generator().manual_seed(1)) * torch.ones(100)
        >>> effective_alignment(list(points + shared)).whole.value > 0.5
        True
    """
    found = effective_geometry(clouds, directions=directions, seed=seed)
    cosines = {
        "centres": found.centre_alignments,
        "axes": found.axis_alignments,
        "centres and axes": (found.centre_axis_alignments + found.centre_axis_alignments.T) / 2,
    }[of]
    n_classes = len(clouds)
    each = (cosines.sum(1) - cosines.diagonal()) / (n_classes - 1)
    joint = _joint(clouds, found, each, float(each.mean()), of=of)
    assert joint.whole is not None
    parameters, note = joint.whole.parameters, joint.whole.note
    pairs = {
        (i, j): estimate_of(clouds, i, j, value=float(cosines[i, j]), parameters=parameters, note=note)
        for i, j in combinations(range(n_classes), 2)
    }
    return replace(joint, pairs=pairs)


def _joint(
    clouds: Clouds,
    found: EffectiveGeometry,
    values: Tensor,
    whole: float,
    *,
    stderr: float | None = None,
    **more: str,
) -> JointEstimate:
    """One value of each class, and that of the layer; a class of which the draws tell nothing has none."""
    parameters = {**more, **found.parameters}
    crowded = ""
    if found.least > NEAR_CEILING * found.capacity:
        crowded = (
            f"the capacity is within 10% of {found.least:.3g}, the least that {len(clouds)} classes can show in the "
            "dimensions that they span: random labels cannot be separated there"
        )

    def estimate(*places: int, value: float, stderr: float | None = None) -> Estimate:
        reason = _why_none(value)
        note = "; ".join(filter(None, [reason, crowded]))
        known = math.nan if reason else value
        return estimate_of(clouds, *places, value=known, stderr=stderr, parameters=parameters, note=note)

    return JointEstimate(
        classes=tuple(estimate(place, value=value) for place, value in enumerate(values.tolist())),
        whole=estimate(value=whole, stderr=stderr),
    )


def _why_none(value: float) -> str:
    """Why the value of a class says nothing of it; empty where it does."""
    if not math.isfinite(value):
        return "it never bears on a classification"
    return "its own terms are outweighed by those of the other classes (they come to less than 0)" if value < 0 else ""


def _effective(points: Sequence[Tensor], *, directions: int, seed: int) -> EffectiveGeometry:
    drawn = _drawn(points, directions, seed)
    n_classes = len(points)
    number = drawn.bears.sum(0)[:, None]  # of draws on which a class bears
    centres = drawn.anchors.sum(0) / number.clamp(min=1)
    axes = drawn.anchors - centres
    varies = drawn.bears & (axes.norm(dim=2) > _ROUNDING * drawn.extent)
    axes = torch.where(varies[..., None], axes, 0.0)
    t = (axes @ drawn.directions[..., None]).squeeze(2)
    own, of_centres = axes @ axes.mT, centres @ centres.T
    dimensions = (t * _solve(own, t)).mean(0)
    near = float((t * _solve(own + of_centres, t)).mean(0).sum())
    far = max(float(dimensions.sum()) - near, 0.0)
    extents = axes.square().sum((0, 2)) / number[:, 0].clamp(min=1)
    inverse = float(drawn.squares.mean()) / n_classes
    return EffectiveGeometry(
        capacity=1 / inverse,
        radius=0.0 if near <= 0 else math.sqrt(near / far) if far else math.inf,
        dimension=float(dimensions.mean()),
        capacities=(1 / drawn.parts.mean(1)).cpu(),
        radii=torch.where(extents > 0, (extents / centres.square().sum(1)).sqrt(), 0.0).cpu(),
        dimensions=dimensions.cpu(),
        centre_alignments=_cosines(centres, centres).abs().cpu(),
        axis_alignments=torch.stack([_cosines(each, each).abs() for each in axes]).mean(0).cpu(),
        centre_axis_alignments=torch.stack([_cosines(centres, each).abs() for each in axes]).mean(0).cpu(),
        capacity_error=float(drawn.squares.std()) / math.sqrt(directions) / n_classes / inverse**2,
        utility=near / n_classes / inverse,
        least=n_classes / drawn.anchors.shape[2],
        missed=drawn.missed,
        parameters={"directions": directions, "seed": seed},
    )


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What each draw of labels and a direction finds.

    Attributes:
        directions: (n_draws, d) t, in the d dimensions that the points span.
        anchors: (n_draws, n_classes, d), 0 where a class does not bear on the draw.
        bears: (n_draws, n_classes).
        squares: (n_draws,) |p|^2.
        parts: (n_classes, n_draws), the share of each class in it.
        extent: of the data.
        missed: see `EffectiveGeometry`.
    """

    directions: Tensor
    anchors: Tensor
    bears: Tensor
    squares: Tensor
    parts: Tensor
    extent: float
    missed: float


def _drawn(points: Sequence[Tensor], draws: int, seed: int) -> _Drawn:
    matrices = [on_float64_device(each).to(torch.float64) for each in points]
    counts = [len(each) for each in matrices]
    cloud = torch.cat(matrices)
    cloud = cloud - cloud.mean(0)
    extent = float(cloud.norm(dim=1).max())
    if extent == 0:
        raise GeometryError("all points of all classes are the same, so there is nothing to classify")
    coordinates = principal_coordinates(cloud)
    drawing = generator(seed, "effective geometry")
    labels = (torch.randint(0, 2, (len(counts), draws), generator=drawing) * 2 - 1).to(cloud)
    signs = labels.repeat_interleave(torch.tensor(counts, device=cloud.device), 0)
    # as many numbers as there are points, so that the first are the same however many dimensions the points span
    directions = torch.randn(len(cloud), draws, dtype=torch.float64, generator=drawing).to(cloud)
    directions = directions[: coordinates.shape[1]]
    found, missed = nonnegative_least_squares(
        coordinates[None], directions[None], signs=signs[None], steps=_STEPS, enough=_ENOUGH, tolerance=_ENOUGH
    )
    solved = found[0]
    projections = coordinates @ directions
    reached = coordinates @ (coordinates.T @ solved)
    shares = solved * (2 * projections - reached)  # y_i lambda_i s_i . t; their sum to second order in what is missed
    of_class = [torch.split(each, counts) for each in (coordinates, solved.abs(), shares)]
    totals = torch.stack([weights.sum(0) for weights in of_class[1]], 1)  # (draws, n_classes)
    anchors = torch.stack([weights.T @ own for own, weights, _ in zip(*of_class, strict=True)], 1)
    return _Drawn(
        directions=directions.T,
        anchors=anchors * torch.where(totals > 0, 1 / totals, 0.0)[..., None],
        bears=totals > 0,
        squares=shares.sum(0),
        parts=torch.stack([share.sum(0) for share in of_class[2]]),
        extent=extent,
        missed=float(missed.max()),
    )


def _solve(matrices: Tensor, right: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.pinv(matrices, hermitian=True) @ right[..., None]
    return solved.squeeze(-1)


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """(n, m) cosines between rows; 0 where one of them has no length."""
    lengths = first.norm(dim=1)[:, None] * second.norm(dim=1)
    return torch.where(lengths > 0, first @ second.T / lengths.clamp(min=1e-300), 0.0)
