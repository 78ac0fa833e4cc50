"""The effective geometry of manifold capacity: capacity, radius, dimension and alignments on the data's own correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.capacity import alternate
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.moments import on_float64_device
from manifoldscope.seeds import generator

_STEPS = 600
"""Steps of the solver, at most."""

_SOLVED = 1e-3
"""A violation of the optimality conditions above which the value says that its problems were not all solved."""


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

        dimension = mean of t_1 (S_1 S_1^T)^+ t_1 / P
        radius^2  = mean of t_1 (S_1 S_1^T + S_0 S_0^T)^+ t_1 / mean of t_1 (S_1 S_1^T + S_1 S_1^T (S_0 S_0^T)^+ S_1 S_1^T)^+ t_1

    so that the capacity is about (1 + radius^-2) / dimension. The values of one class are its own terms of these sums.

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
        structure and computation in neural populations" (2024); Wakhloo, Sussman and Chung, "Linear classification of
        neural manifolds with correlated variability" (2023).

    Example:
        >>> points = torch.randn(30, 2, 400, generator=torch.Generator().manual_seed(0))
        >>> round(effective_geometry(list(points[:, :1].expand(-1, 2, -1))).capacity, 1)  # single points
        2.0
    """
    if draws < 2:
        raise GeometryError(f"draws = {draws}; expected at least 2, such as 200")
    clouds = manifolds if isinstance(manifolds, Clouds) else Clouds(list(manifolds))
    if len(clouds) < 2:
        raise GeometryError("one manifold has no capacity; give the points of at least two classes of one layer")
    return clouds.once(_effective, draws=draws, seed=seed)


def _effective(points: Sequence[Tensor], *, draws: int, seed: int) -> EffectiveGeometry:
    matrices = [on_float64_device(each).to(torch.float64) for each in points]
    sizes = torch.tensor([len(each) for each in matrices], device=matrices[0].device)
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
    projections = coordinates @ directions[: coordinates.shape[1]]
    # The nearest point of the polar cone to -t: its multipliers are those of the projection of t on the cone.
    solved, missed = alternate(coordinates, projections, steps=_STEPS, signs=signs)
    of_class = torch.zeros(n_classes, len(cloud), dtype=torch.float64, device=cloud.device)
    of_class[torch.arange(n_classes, device=cloud.device).repeat_interleave(sizes), torch.arange(len(cloud))] = 1.0
    weights = (signs * solved).clamp(min=0)
    totals = of_class @ weights
    squares = (solved * (2 * projections - coordinates @ (coordinates.T @ solved))).sum(
        0
    )  # |p|^2, to second order in what is missed
    parts = of_class @ (solved * projections)  # the share of each class in it: y_i lambda_i s_i . t
    # anchor points by their coordinates: (draws, n_classes, d)
    anchors = torch.stack(
        [
            of_class * share @ coordinates
            for share in torch.where(totals > 0, 1 / totals, 0.0).repeat_interleave(sizes, 0).mul(weights).T
        ]
    )
    bears = (totals > 0).T[..., None]
    centres = anchors.sum(0) / bears.sum(0).clamp(min=1)
    axes = torch.where(bears, anchors - centres, 0.0)
    shown = directions[: coordinates.shape[1]].T  # (draws, d)
    t = (axes @ shown[..., None]).squeeze(2)
    own, of_centres = axes @ axes.mT, centres @ centres.T
    dimensions = (t * _solve(own, t)).mean(0)
    near = (t * _solve(own + of_centres, t)).mean(0)
    across = own + own @ torch.linalg.pinv(of_centres, hermitian=True) @ own
    far = (t * _solve(across, t)).mean(0)
    inverse = float(squares.mean()) / n_classes
    capacities = 1 / parts.mean(1)
    error = float(squares.std()) / math.sqrt(draws) / n_classes / inverse**2
    return EffectiveGeometry(
        capacity=1 / inverse,
        radius=float((near.sum() / far.sum()).sqrt()) if float(far.sum()) > 0 else 0.0,
        dimension=float(dimensions.mean()),
        capacities=capacities.cpu(),
        radii=torch.where(far > 0, (near / far).clamp(min=0).sqrt(), 0.0).cpu(),
        dimensions=dimensions.cpu(),
        centre_alignments=_cosines(centres, centres).abs().cpu(),
        axis_alignments=torch.stack([_cosines(each, each).abs() for each in axes]).mean(0).cpu(),
        centre_axis_alignments=torch.stack([_cosines(centres, each).abs() for each in axes]).mean(0).cpu(),
        capacity_error=error,
        missed=float(missed.max()),
    )


def _principal(cloud: Tensor, products: Tensor) -> Tensor:
    """(n_points, d) coordinates of the points along the axes that they span, the same in whatever axes they come."""
    values, axes = torch.linalg.eigh(products)
    spanned = values > float(values[-1]) * len(cloud) * torch.finfo(torch.float64).eps
    own = (axes * values.clamp(min=0).sqrt())[:, spanned].flip(1)
    return own * torch.where((own**3).sum(0) < 0, -1.0, 1.0)


def _solve(matrices: Tensor, right: Tensor) -> Tensor:
    return (torch.linalg.pinv(matrices, hermitian=True) @ right[..., None]).squeeze(-1)


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """(n, m) cosines between rows; 0 where one of them has no length."""
    lengths = first.norm(dim=1)[:, None] * second.norm(dim=1)
    return torch.where(lengths > 0, first @ second.T / lengths.clamp(min=1e-300), 0.0)
