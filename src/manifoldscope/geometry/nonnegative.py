"""Nonnegative least squares for many targets at once: the projections on cones that theories of capacity ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

Array = np.ndarray[Any, np.dtype[np.float64]]

EXACT = 1e-7
"""Largest violation of the optimality conditions, as a share of the problem's largest number, of a solved problem."""

_LOOK, _RELAXATION = 10, 1.8
"""Steps between two looks at what has converged; and over-relaxation, of which 1.5 to 1.8 is advised."""

_WORTH_LEAVING = 0.85
"""Share of the problems up to which those still open go on by themselves."""

_WORTH_CHANGING, _MOST_CHANGE, _LEAST_PENALTY, _SETTLED = 1.5, 10.0, 1e-6, 200
"""Factors by which the penalty changes at one look, at least and at most; the least of it, as a share of the first one;
and the step after which it stays as it is, since convergence is known for a constant penalty alone."""


def nonnegative_least_squares(
    points: Tensor,
    targets: Tensor,
    *,
    signs: Tensor | None = None,
    steps: int = 400,
    enough: float = EXACT,
    tolerance: float = EXACT,
) -> tuple[Tensor, Tensor]:
    """The weights w >= 0 for which S^T w is nearest to y, for many targets y and few S; or w of other given signs.

    They minimise w K w / 2 - b w with K = S S^T and b = S y. By the alternating direction method of multipliers: all
    problems with one S share the inverse of K plus a penalty, so that a step is two matrix products for all of them.
    The penalty follows the residuals: the best one differs by a factor of a hundred between problems. Problems that are
    solved leave; those that are not after `steps` are solved one at a time by an active set method, which is quick once
    it is about known which weights are not 0.

    Args:
        points: (n_manifolds, n, d) S, float64.
        targets: (n_manifolds, d, n_problems) y.
        signs: (n_manifolds, n, n_problems) of +1 and -1; all +1 if omitted.
        steps: at most.
        enough: violation of the optimality conditions at which a problem is solved and leaves.
        tolerance: violation above which a problem that has not left is solved by itself.

    Returns:
        w, (n_manifolds, n, n_problems); and (n_manifolds, n_problems) the largest violation of the optimality
        conditions, as a share of the largest |b|; 0 for what was solved by itself.

    References:
        Boyd, Parikh, Chu, Peleato and Eckstein, "Distributed optimization and statistical learning via the alternating
        direction method of multipliers" (2011), sections 3.1, 3.4.1, 3.4.3 and 5.2; Wohlberg, "ADMM penalty parameter
        selection by residual balancing" (2017), equation 20, for the penalty.

    Example:
        >>> points = torch.eye(2)[None].double()
        >>> weights, missed = nonnegative_least_squares(points, torch.tensor([[[3.0], [-1.0]]]).double())
        >>> weights.flatten().round(decimals=5).abs().tolist(), float(missed) < 1e-6
        ([3.0, 0.0], True)
    """
    weights, missed = _together(points, points @ targets, signs, steps, enough)
    unsolved = missed > tolerance
    for place in unsolved.any(1).nonzero().flatten().tolist():
        own = points[place].cpu().numpy()
        for problem in unsolved[place].nonzero().flatten().tolist():
            sign = torch.ones_like(weights[place, :, problem]) if signs is None else signs[place, :, problem]
            target, start = targets[place, :, problem], sign * weights[place, :, problem]
            exact = _alone(own, target.cpu().numpy(), sign.cpu().numpy(), start.cpu().numpy())
            weights[place, :, problem] = sign * torch.from_numpy(exact).to(weights)
            missed[place, problem] = 0.0
    return weights, missed


def _alone(points: Array, target: Array, sign: Array, start: Array) -> Array:
    """(n,) the weights of one problem, times their signs: of those that bear at the start, and those that then should.

    Points that should bear come until there are none: their condition is violated by more than `EXACT`. None goes, so
    that it ends.
    """
    allowed = EXACT * float(np.abs(points @ target).max(initial=1e-300))
    chosen = start > 0
    while True:
        some = chosen.nonzero()[0]
        cone = sign[some, None] * points[some]
        found = nnls(cone.T, target, maxiter=100 * len(some))[0] if len(some) else np.zeros(0)  # of none it crashes
        rises = sign * (points @ (target - found @ cone))
        rises[some] = 0
        weights = np.zeros_like(start)
        weights[some] = found
        if not (rises > allowed).any():
            return weights
        chosen |= rises > allowed


def _together(points: Tensor, wanted: Tensor, signs: Tensor | None, steps: int, enough: float) -> tuple[Tensor, Tensor]:
    """The weights after that many steps, and what they miss."""
    penalty = points.square().sum((1, 2), keepdim=True).clamp(min=1e-150) / min(points.shape[1:])  # a mean eigenvalue
    least = _LEAST_PENALTY * penalty
    smoothed = _smoother(points, penalty)
    weights, scaled = torch.zeros_like(wanted), torch.zeros_like(wanted)
    missed = torch.full_like(wanted[:, 0], torch.inf)
    constant, solved = smoothed(wanted) / penalty, weights
    still = torch.arange(wanted.shape[2], device=wanted.device).expand_as(missed)
    for step in range(1, steps + 1):
        free = smoothed(solved - scaled).add_(constant)
        moved = torch.lerp(solved, free, _RELAXATION).add_(scaled)
        before, solved = solved, moved.clamp(min=0) if signs is None else (signs * moved).clamp_(min=0).mul_(signs)
        scaled = moved.sub_(solved)
        if step % _LOOK and step < steps:
            continue
        violation = _violation(points, wanted, signs, solved)
        weights = weights.scatter(2, still[:, None].expand_as(solved), solved)
        missed = missed.scatter(1, still, violation)
        n_open = int((violation > enough).sum(1).max())
        if n_open == 0:
            break
        change = _balance(free - solved, solved - before, solved, scaled)
        if n_open <= _WORTH_LEAVING * violation.shape[1]:
            hardest = violation.topk(n_open, dim=1).indices
            still = still.gather(1, hardest)
            columns = hardest[:, None].expand(-1, wanted.shape[1], -1)
            wanted, constant, solved, scaled = (each.gather(2, columns) for each in (wanted, constant, solved, scaled))
            signs = None if signs is None else signs.gather(2, columns)
        if step <= _SETTLED and float(torch.maximum(change, 1 / change).max()) > _WORTH_CHANGING:
            former, penalty = penalty, (penalty * change).maximum(least)
            scaled = scaled * (former / penalty)
            smoothed = _smoother(points, penalty)
            constant = smoothed(wanted) / penalty
    return weights, missed


def _smoother(points: Tensor, penalty: Tensor) -> Callable[[Tensor], Tensor]:
    """penalty (K + penalty)^-1 times some vectors, through the smaller of the two sides."""
    narrow = points.shape[2] < points.shape[1]
    products = points.mT @ points if narrow else points @ points.mT
    products.diagonal(dim1=1, dim2=2).add_(penalty[:, 0])
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(products))
    left = points @ inverse if narrow else penalty * inverse

    def smoothed(vectors: Tensor) -> Tensor:
        return torch.baddbmm(vectors, left, points.mT @ vectors, alpha=-1) if narrow else left @ vectors

    return smoothed


def _balance(primal: Tensor, dual: Tensor, solved: Tensor, scaled: Tensor) -> Tensor:
    """(n_manifolds, 1, 1): the factor on the penalty that brings the two relative residuals together."""

    def length(each: Tensor) -> Tensor:
        norms: Tensor = each.norm(dim=(1, 2), keepdim=True)
        return norms.clamp(min=1e-300)

    ratio = (length(primal) / length(solved)) / (length(dual) / length(scaled))
    return ratio.sqrt().clamp(1 / _MOST_CHANGE, _MOST_CHANGE)


def _violation(points: Tensor, wanted: Tensor, signs: Tensor | None, solved: Tensor) -> Tensor:
    """(n_manifolds, n_problems): a weight is 0 and its gradient not negative, or the gradient is 0."""
    gradient = points @ (points.mT @ solved) - wanted
    of_weight = solved * points.square().sum(2, keepdim=True)
    if signs is not None:
        gradient, of_weight = signs * gradient, signs * of_weight
    violation: Tensor = torch.minimum(of_weight, gradient).abs().amax(1) / wanted.abs().amax(1).clamp(min=1e-300)
    return violation
