"""The effective geometry of manifold capacity: capacity, radius, dimension and alignments of manifolds as they lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.capacity import alternate
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.estimate import INVARIANCES, MEASURES, NEAR_CEILING, Estimate, JointEstimate
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.moments import on_float64_device
from manifoldscope.seeds import generator

_STEPS = 600
"""Steps of the solver, at most."""

_SOLVED = 1e-3
"""A violation of the optimality conditions above which a problem is solved by itself."""

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
        least: the smallest capacity that so many classes can show in the dimensions that their points span.
        missed: largest violation of the optimality conditions, as a share of the problem's largest number.
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


def effective_geometry(
    manifolds: Sequence[Points | ClassManifold] | Clouds, *, draws: int = 200, seed: int = 0
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
    that random labels cannot be separated in them, and no more.

    Points are seen from the mean of all. The cost is that of a quadratic program over all points of all classes for
    each draw; they share one matrix, of (number of points)^2 numbers.

    Args:
        manifolds: (n_points, n_features) each, at least two of one layer.
        draws: pairs of labels and directions.
        seed: of the draws.

    Raises:
        GeometryError: one manifold, fewer than two draws, or points that are all the same.

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
    if draws < 2:
        raise GeometryError(f"draws = {draws}; expected at least 2, such as 200")
    clouds = manifolds if isinstance(manifolds, Clouds) else Clouds(list(manifolds))
    if len(clouds) < 2:
        raise GeometryError("one manifold has no capacity; give the points of at least two classes of one layer")
    return clouds.once(_effective, draws=draws, seed=seed)


@MEASURES.register("effective_capacity", reads="clouds", invariant_to=INVARIANCES)
def effective_capacity(clouds: Clouds, *, draws: int = 200, seed: int = 0) -> JointEstimate:
    """How many such manifolds for each feature a linear readout can classify at random, as they lie.

    Unlike `capacity`, it assumes nothing of how centres and directions of the manifolds are correlated; it agrees with
    `simulated_capacity`. The layer's capacity is the harmonic mean of the classes', which say how much room each takes.
    See `effective_geometry`. Few points of a round manifold overstate it.

    Args:
        clouds: of at least two classes.
        draws: random labels and directions.
        seed: of the draws.

    Raises:
        GeometryError: one class, fewer than two draws, or points that are all the same.

    References:
        Chou et al. (2024); Wakhloo, Sussman and Chung (2023): see `effective_geometry`.

    Example:
        >>> from manifoldscope.geometry.estimate import measure
        >>> points = torch.randn(9, 20, 100, generator=torch.Generator().manual_seed(0))
        >>> near = measure("effective_capacity", list(points + points[:, :1])).whole.value
        >>> measure("effective_capacity", list(points + 3 * points[:, :1])).whole.value > near
        True
    """
    found = effective_geometry(clouds, draws=draws, seed=seed)
    return _joint(clouds, found, found.capacities, found.capacity, draws, seed, stderr=found.capacity_error)


@MEASURES.register("effective_radius", reads="clouds", invariant_to=INVARIANCES)
def effective_radius(clouds: Clouds, *, draws: int = 200, seed: int = 0) -> JointEstimate:
    """How far the points that bear on random classifications lie from their centre, relative to it.

    See `effective_geometry`. Fewer points show a smaller radius.

    Args:
        clouds, draws, seed: see `effective_capacity`.

    Raises:
        GeometryError: one class, fewer than two draws, or points that are all the same.

    References:
        Chou et al. (2024): see `effective_geometry`.

    Example:
        >>> from manifoldscope.geometry.estimate import measure
        >>> points = torch.randn(9, 20, 100, generator=torch.Generator().manual_seed(0))
        >>> measure("effective_radius", list(points + 9 * points[:, :1])).whole.value < 1
        True
    """
    found = effective_geometry(clouds, draws=draws, seed=seed)
    return _joint(clouds, found, found.radii, found.radius, draws, seed)


@MEASURES.register("effective_dimension", reads="clouds", invariant_to=INVARIANCES)
def effective_dimension(clouds: Clouds, *, draws: int = 200, seed: int = 0) -> JointEstimate:
    """In how many dimensions the points that bear on random classifications lie around their centre.

    See `effective_geometry`. Fewer points show fewer dimensions.

    Args:
        clouds, draws, seed: see `effective_capacity`.

    Raises:
        GeometryError: one class, fewer than two draws, or points that are all the same.

    References:
        Chou et al. (2024): see `effective_geometry`.

    Example:
        >>> from manifoldscope.geometry.estimate import measure
        >>> points = torch.randn(9, 20, 100, generator=torch.Generator().manual_seed(0))
        >>> 1 < measure("effective_dimension", list(points + points[:, :1])).whole.value < 19
        True
    """
    found = effective_geometry(clouds, draws=draws, seed=seed)
    return _joint(clouds, found, found.dimensions, found.dimension, draws, seed)


@MEASURES.register("effective_alignment", reads="clouds", invariant_to=INVARIANCES)
def effective_alignment(
    clouds: Clouds, *, of: Literal["centres", "axes", "centres and axes"] = "centres", draws: int = 200, seed: int = 0
) -> JointEstimate:
    """How much the manifolds share their directions: the mean |cosine| between what bears on random classifications.

    Of anchor centres; of the deviations of anchor points from their centres ("axes"); or of the centre of one class and
    the deviations of another. A pair has its own value (for "centres and axes" the mean of both ways), a class the mean
    over its pairs, the layer the mean over all. Unrelated directions in d dimensions show sqrt(2 / (pi d)).

    Args:
        clouds, draws, seed: see `effective_capacity`.
        of: "centres", "axes", or "centres and axes".

    Raises:
        GeometryError: one class, fewer than two draws, or points that are all the same.

    References:
        Chou et al. (2024): see `effective_geometry`.

    Example:
        >>> from manifoldscope.geometry.estimate import measure
        >>> points = torch.randn(9, 20, 100, generator=torch.Generator().manual_seed(0))
        >>> shared = 3 * torch.randn(9, 1, 1, generator=torch.Generator().manual_seed(1)) * torch.ones(100)
        >>> measure("effective_alignment", list(points + shared)).whole.value > 0.5
        True
    """
    found = effective_geometry(clouds, draws=draws, seed=seed)
    cosines = {
        "centres": found.centre_alignments,
        "axes": found.axis_alignments,
        "centres and axes": (found.centre_axis_alignments + found.centre_axis_alignments.T) / 2,
    }[of]
    n_classes = len(clouds)
    each = (cosines.sum(1) - cosines.diagonal()) / (n_classes - 1)
    joint = _joint(clouds, found, each, float(each.mean()), draws, seed, of=of)
    assert joint.whole is not None
    pairs = {
        (i, j): replace(joint.whole, value=float(cosines[i, j]), n_points=clouds[i].n_points + clouds[j].n_points)
        for i in range(n_classes)
        for j in range(i + 1, n_classes)
    }
    return replace(joint, pairs=pairs)


def _joint(
    clouds: Clouds,
    found: EffectiveGeometry,
    values: Tensor,
    whole: float,
    draws: int,
    seed: int,
    *,
    stderr: float | None = None,
    **more: str,
) -> JointEstimate:
    parameters = {**more, "draws": draws, "seed": seed}
    note = ""
    if found.least > NEAR_CEILING * found.capacity:
        note = (
            f"the capacity is within 10% of {found.least:.3g}, the least that {len(clouds)} classes can show in the "
            "dimensions that they span: random labels cannot be separated there"
        )

    def estimate(value: float, n_points: int, stderr: float | None, note: str) -> Estimate:
        reason = "" if math.isfinite(value) else "it never bears on a classification"
        if value < 0:
            reason = "below 0, and no measure of the class by itself: the other classes outweigh its own terms"
        return Estimate(
            value if math.isfinite(value) else math.nan,
            n_points=n_points,
            n_features=clouds.n_features,
            stderr=stderr,
            parameters=parameters,
            note="; ".join(filter(None, [reason, note])),
        )

    classes = tuple(
        estimate(float(value), cloud.n_points, None, note) for value, cloud in zip(values, clouds, strict=True)
    )
    return JointEstimate(classes=classes, whole=estimate(whole, clouds.n_points, stderr, note))


def _effective(points: Sequence[Tensor], *, draws: int, seed: int) -> EffectiveGeometry:
    matrices = [on_float64_device(each).to(torch.float64) for each in points]
    counts = [len(each) for each in matrices]
    sizes = torch.tensor(counts, device=matrices[0].device)
    cloud = torch.cat(matrices)
    cloud = cloud - cloud.mean(0)
    products = cloud @ cloud.T
    largest = float(products.diagonal().max())
    if largest == 0:
        raise GeometryError("all points of all classes are the same, so there is nothing to classify")
    n_classes = len(matrices)
    drawing = generator(seed, "effective geometry")
    labels = (torch.randint(0, 2, (n_classes, draws), generator=drawing) * 2 - 1).to(products)
    signs = labels.repeat_interleave(sizes, 0)
    coordinates = _principal(cloud, products)
    directions = torch.randn(len(cloud), draws, dtype=torch.float64, generator=drawing).to(products)
    shown = directions[: coordinates.shape[1]].T  # (draws, d)
    projections = coordinates @ shown.T
    # The nearest point of the polar cone to -t: its multipliers are those of the projection of t on the cone.
    solved, missed = alternate(coordinates, projections, steps=_STEPS, signs=signs)
    for draw in (missed > _SOLVED).nonzero().flatten().tolist():
        cone = (signs[:, draw, None] * coordinates).T.cpu().numpy()
        exact, _ = nnls(cone, shown[draw].cpu().numpy(), maxiter=100 * len(cloud))
        solved[:, draw] = signs[:, draw] * torch.from_numpy(np.asarray(exact)).to(solved)
        missed[draw] = 0.0
    of_class = torch.zeros(n_classes, len(cloud), dtype=torch.float64, device=cloud.device)
    of_class[torch.arange(n_classes, device=cloud.device).repeat_interleave(sizes), torch.arange(len(cloud))] = 1.0
    weights = (signs * solved).clamp(min=0)
    totals = of_class @ weights
    # |p|^2, to second order in what is missed
    squares = (solved * (2 * projections - coordinates @ (coordinates.T @ solved))).sum(0)
    parts = of_class @ (solved * projections)  # the share of each class in it: y_i lambda_i s_i . t
    shares = weights * torch.where(totals > 0, 1 / totals, 0.0).repeat_interleave(sizes, 0)
    of_each = zip(torch.split(shares, counts), torch.split(coordinates, counts), strict=True)
    anchors = torch.stack([share.T @ own for share, own in of_each], 1)  # (draws, n_classes, d)
    bears = (totals > 0).T[..., None]
    centres = anchors.sum(0) / bears.sum(0).clamp(min=1)
    axes = anchors - centres
    axes = torch.where(bears & (axes.norm(dim=2, keepdim=True) > _ROUNDING * largest**0.5), axes, 0.0)
    t = (axes @ shown[..., None]).squeeze(2)
    own, of_centres = axes @ axes.mT, centres @ centres.T
    dimensions = (t * _solve(own, t)).mean(0)
    near = float((t * _solve(own + of_centres, t)).mean(0).sum())
    far = max(float(dimensions.sum()) - near, 0.0)
    extents = axes.square().sum(2).sum(0) / bears.sum(0)[:, 0].clamp(min=1)
    inverse = float(squares.mean()) / n_classes
    capacities = 1 / parts.mean(1)
    error = float(squares.std()) / math.sqrt(draws) / n_classes / inverse**2
    return EffectiveGeometry(
        capacity=1 / inverse,
        radius=0.0 if near <= 0 else math.sqrt(near / far) if far else math.inf,
        dimension=float(dimensions.mean()),
        capacities=capacities.cpu(),
        radii=torch.where(extents > 0, (extents / centres.square().sum(1)).sqrt(), 0.0).cpu(),
        dimensions=dimensions.cpu(),
        centre_alignments=_cosines(centres, centres).abs().cpu(),
        axis_alignments=torch.stack([_cosines(each, each).abs() for each in axes]).mean(0).cpu(),
        centre_axis_alignments=torch.stack([_cosines(centres, each).abs() for each in axes]).mean(0).cpu(),
        capacity_error=error,
        utility=near / n_classes / inverse,
        least=n_classes / coordinates.shape[1],
        missed=float(missed.max()),
    )


def _principal(cloud: Tensor, products: Tensor) -> Tensor:
    """(n_points, d) coordinates of the points along the axes that they span, the same in whatever axes they come."""
    values, axes = torch.linalg.eigh(products)
    spanned = values > float(values[-1]) * len(cloud) * torch.finfo(torch.float64).eps
    own = (axes * values.clamp(min=0).sqrt())[:, spanned].flip(1)
    signed: Tensor = own * torch.where((own**3).sum(0) < 0, -1.0, 1.0)
    return signed


def _solve(matrices: Tensor, right: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.pinv(matrices, hermitian=True) @ right[..., None]
    return solved.squeeze(-1)


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """(n, m) cosines between rows; 0 where one of them has no length."""
    lengths = first.norm(dim=1)[:, None] * second.norm(dim=1)
    return torch.where(lengths > 0, first @ second.T / lengths.clamp(min=1e-300), 0.0)
