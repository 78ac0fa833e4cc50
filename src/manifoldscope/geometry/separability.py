"""The simulated capacity: how many features random dichotomies of manifolds need, by separating them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import nnls

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.estimate import JointEstimate, estimate_of
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.measures import INVARIANCES, MEASURES
from manifoldscope.geometry.spectrum import principal_coordinates
from manifoldscope.seeds import generator

_NO_MARGIN = 1e-12
"""A squared margin below this cannot be told from none."""


@dataclass(frozen=True)
class SimulatedCapacity:
    """What separating random dichotomies of manifolds says of their capacity.

    Attributes:
        capacity: number of manifolds over the number of features at which half of the dichotomies are separable.
        low, high: of the capacity, for the numbers of features at which the share is above and below one half by two
            standard errors.
        n_features: that number of features, interpolated.
        shares: by number of features, the share of dichotomies that were separable.
    """

    capacity: float
    low: float
    high: float
    n_features: float
    shares: dict[int, float]


def simulate_capacity(
    manifolds: Sequence[Points | ClassManifold] | Clouds, *, dichotomies: int = 100, seed: int = 0
) -> SimulatedCapacity:
    """The capacity of manifolds by simulation: P / N for the N random features at which half of all dichotomies of the
    P manifolds are linearly separable, each manifold whole on one side.

    Points are seen from the mean of all, projected on N Gaussian directions, and separated by a hyperplane through that
    mean, as the theories assume; whether one exists is decided with proof (see `is_separable`). N is found by halving
    an interval. It assumes nothing of how the manifolds lie, and so checks both `capacity` and `effective_capacity`.

    Args:
        manifolds: (n_points, n_features) each, at least two of one layer.
        dichotomies: random labels and projections at each N; the standard error of a share near one half is
            0.5 / sqrt(dichotomies).
        seed: of labels and projections.

    Raises:
        GeometryError: one manifold, no dichotomies, or manifolds that not even all features separate half of the time.

    References:
        Chung, Lee and Sompolinsky (2018), section VI; Cohen, Chung, Lee and Sompolinsky (2020), Methods.

    Example:
        >>> points = torch.randn(24, 1, 50, generator=torch.Generator().manual_seed(0)).expand(24, 2, 50)
        >>> found = simulate_capacity(list(points), dichotomies=40)
        >>> 1.6 < found.capacity < 2.4  # points have a capacity of 2
        True
    """
    clouds = _several(manifolds, dichotomies)
    points = torch.cat(clouds.reduced().points).to(torch.float64).cpu()
    points = principal_coordinates(points - points.mean(0))
    if not points.shape[1]:
        raise GeometryError("all points of all classes are the same, so there is nothing to separate")
    sizes = [cloud.n_points for cloud in clouds]
    shares: dict[int, float] = {}

    def share(n_features: int) -> float:
        if n_features not in shares:
            drawing = generator(seed, "simulated capacity", n_features)
            separable = 0
            for _ in range(dichotomies):
                axes = torch.randn(points.shape[1], n_features, dtype=torch.float64, generator=drawing)
                signs = torch.randint(0, 2, (len(sizes),), generator=drawing) * 2 - 1
                signed = (points @ axes) * signs.repeat_interleave(torch.tensor(sizes))[:, None]
                separable += is_separable(signed.numpy())
            shares[n_features] = separable / dichotomies
        return shares[n_features]

    most = points.shape[1]
    if share(most) < 0.5:
        raise NotSeparableError(
            f"of random dichotomies of the {len(sizes)} manifolds {share(most):.0%} are separable with all {most} "
            "features; expected at least half: fewer points, or manifolds farther apart, have a capacity"
        )
    below, above = 0, most
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if share(middle) >= 0.5 else (middle, above)
    error = 0.5 / math.sqrt(dichotomies)
    lowest, highest = below, above
    while lowest > 0 and share(lowest) > 0.5 - 2 * error:
        lowest -= 1
    while highest < most and share(highest) < 0.5 + 2 * error:
        highest += 1
    under = shares.get(below, 0.0)
    at = below + (0.5 - under) / max(share(above) - under, 1e-12) * (above - below)
    n_classes = len(sizes)
    return SimulatedCapacity(
        capacity=n_classes / at,
        low=n_classes / highest,
        high=n_classes / max(lowest, 1),
        n_features=at,
        shares=dict(sorted(shares.items())),
    )


def _seconds(n_points: int, n_classes: int, settings: Mapping[str, Any]) -> float:
    """What it takes with 100 dichotomies."""
    return float(8e-5 * (n_points * n_classes) ** 1.8)


@MEASURES.of_clouds("simulated_capacity", invariant_to=INVARIANCES, seconds=_seconds)
def simulated_capacity(clouds: Clouds, *, dichotomies: int = 100, seed: int = 0) -> JointEstimate:
    """How many such manifolds for each feature a linear readout has classified at random, when it was tried.

    Of the layer as a whole, with a quarter of the width of its interval as the standard error; there is no value where
    random labels cannot be separated even with all features. It assumes nothing, and takes long: use it to check
    `capacity` and `effective_capacity`. See `simulate_capacity`. Few points of a round manifold overstate it.

    Args:
        clouds: of at least two classes, or their points; see `measure`.
        dichotomies: random labels and projections at each number of features.
        seed: of labels and projections.

    Raises:
        GeometryError: one class, no dichotomies, or points that are all the same.

    References:
        Chung, Lee and Sompolinsky (2018); Cohen, Chung, Lee and Sompolinsky (2020): see `simulate_capacity`.

    Example:
        >>> points = torch.randn(9, 5, 60, generator=torch.Generator().manual_seed(0))
        >>> near = simulated_capacity(list(points), dichotomies=20).whole.value
        >>> simulated_capacity(list(points + 3 * points[:, :1]), dichotomies=20).whole.value > near
        True
    """
    parameters = {"dichotomies": dichotomies, "seed": seed}
    try:
        found = simulate_capacity(clouds, dichotomies=dichotomies, seed=seed)
    except NotSeparableError as error:
        return JointEstimate(whole=estimate_of(clouds, value=math.nan, parameters=parameters, note=str(error)))
    stderr = (found.high - found.low) / 4
    return JointEstimate(whole=estimate_of(clouds, value=found.capacity, stderr=stderr, parameters=parameters))


class NotSeparableError(GeometryError):
    """Not even all features separate half of the dichotomies."""


def _several(manifolds: Sequence[Points | ClassManifold] | Clouds, dichotomies: int) -> Clouds:
    clouds = manifolds if isinstance(manifolds, Clouds) else Clouds(list(manifolds))
    if len(clouds) < 2:
        raise GeometryError("one manifold has no capacity; give the points of at least two classes of one layer")
    if dichotomies < 1:
        raise GeometryError(f"dichotomies = {dichotomies}; expected at least 1, such as 100")
    return clouds


def is_separable(signed: npt.NDArray[np.float64]) -> bool:
    """Whether some w has signed @ w > 0 for all rows.

    By the least |A^T z|^2 + (1 - sum z)^2 over z >= 0 for the rows A, each of length 1. At the optimum w = A^T z has
    A w >= 1 - sum z, which is above 0 and proves that they are separable, unless A^T z = 0 with sum z = 1, which proves
    that they are not (Gordan's theorem). Margins below about 1e-6 of the rows' length are taken for none.

    Args:
        signed: (n_points, n_features), each point times its label of +1 or -1.

    Example:
        >>> is_separable(np.array([[1.0, 0.0], [0.0, 1.0]])), is_separable(np.array([[1.0], [-1.0]]))
        (True, False)
    """
    lengths = np.linalg.norm(signed, axis=1, keepdims=True)
    if not lengths.all():
        return False
    rows = signed / lengths
    system = np.concatenate([rows.T, np.ones((1, len(rows)))])
    wanted = np.zeros(len(system))
    wanted[-1] = 1.0
    weights, _ = nnls(system, wanted, maxiter=100 * max(system.shape))
    return bool((rows @ (weights @ rows)).min() > _NO_MARGIN)
