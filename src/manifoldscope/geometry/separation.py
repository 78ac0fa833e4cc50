"""Between classes: how far apart their centroids and their points are, beside how far each of them spreads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import nnls
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.estimate import Estimate, JointEstimate, estimate_of
from manifoldscope.geometry.manifold import ClassManifold, Points
from manifoldscope.geometry.measures import INVARIANCES, MEASURES
from manifoldscope.geometry.moments import blocks, on_float64_device

SAME = 1e-12
"""Lengths below this share of the extent of all points are the rounding of float64."""

OPPOSITE = "two centroids are opposite from their mean, whatever they are"
NO_DIRECTION = "a centroid is the mean of all centroids, and has no direction from it"

_HEAVY = 1e3
"""Weight of the one equality among the equations of a margin: enough to find the points that bear it."""

_TOUCHING = 1e-8
"""Hulls nearer than this share of the extent of their points are taken to touch."""

_UNCONFIRMED = 1e-4
"""By what share the margin that a plane leaves may lie below the bound from above."""


@dataclass(frozen=True, eq=False)
class Centroids:
    """The centroids of the classes of a layer, and how far each class spreads about its own.

    Attributes:
        places: (n_classes, n_features) float64, from an origin that is one of the points.
        variances: (n_classes,) float64, the total variance within each class, with the divisor n_points - 1.
        n_points: of each class.
    """

    places: Tensor
    variances: Tensor
    n_points: tuple[int, ...]

    @classmethod
    def of(cls, points: Sequence[Tensor]) -> Centroids:
        """Read them off the points of each class, some features at a time.

        Example:
            >>> centroids = Centroids.of([torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [5.0]])])
            >>> centroids.distances()[0, 1].item(), centroids.variances.tolist()
            (4.0, [2.0, 0.0])
        """
        matrices = [on_float64_device(matrix) for matrix in points]
        origin = matrices[0][0].to(torch.float64)  # a large offset would cost the centroids their digits
        places = torch.zeros(len(matrices), len(origin), dtype=torch.float64, device=origin.device)
        squares = torch.zeros(len(matrices), dtype=torch.float64, device=origin.device)
        for which, matrix in enumerate(matrices):
            for columns in blocks(len(origin), len(matrix)):
                block = matrix[:, columns].to(torch.float64) - origin[columns]
                centroid = block.mean(0)
                places[which, columns] = centroid
                squares[which] += (block - centroid).square().sum()
        sizes = tuple(map(len, matrices))
        return cls(places, squares / (torch.tensor(sizes, device=origin.device) - 1), sizes)

    @property
    def extent(self) -> float:
        """The largest root mean square distance of a class from the origin: what rounding is measured by."""
        return float((self.places.square().sum(1) + self.variances).max().sqrt())

    @property
    def sampling(self) -> Tensor:
        """(n_classes,): how far a centroid lies from that of infinitely many points, squared, on average."""
        return self.variances / torch.tensor(self.n_points, device=self.variances.device)

    def distances(self) -> Tensor:
        """(n_classes, n_classes) float64: Euclidean distances of the centroids; 0 where rounding is all there is."""
        found = torch.cdist(self.places, self.places, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.where(found > SAME * self.extent, found, 0.0)

    def from_mean(self) -> Tensor:
        """(n_classes, n_features): the centroids less their mean, in which each class counts once."""
        return self.places - self.places.mean(0)

    def cosines(self) -> Tensor:
        """(n_classes, n_classes): cosines between the centroids from their mean; NaN where one has no direction."""
        from_mean = self.from_mean()
        norms = from_mean.norm(dim=1)
        norms = torch.where(norms > SAME * self.extent, norms, torch.nan)
        directions = from_mean / norms[:, None]
        return (directions @ directions.T).clamp(-1, 1)


def nearest_classes(manifolds: Sequence[Points | ClassManifold] | Clouds) -> tuple[int, ...]:
    """For each class the place of the one whose centroid is nearest; the first of several at the same distance.

    Args:
        manifolds: (n_points, n_features) each, at least two classes of one layer.

    Raises:
        GeometryError: a single class, or points that cannot be measured.

    Example:
        >>> nearest_classes([torch.zeros(2, 3), torch.ones(2, 3), 5 * torch.ones(2, 3)])
        (1, 0, 1)
    """
    clouds = manifolds if isinstance(manifolds, Clouds) else Clouds(manifolds)
    require_classes(clouds, "the nearest class")
    return tuple(clouds.once(Centroids.of).distances().fill_diagonal_(torch.inf).argmin(1).tolist())


@MEASURES.of_clouds("centroid_distance", invariant_to=("rotation", "shift", "order", "padding"))
def centroid_distance(
    clouds: Clouds, *, unit: Literal["feature", "radius"] = "feature", corrected: bool = False
) -> JointEstimate:
    """The Euclidean distance between the centroids of two classes.

    A pair has its distance, a class the distance to the nearest other centroid (see `nearest_classes`), the layer the
    mean over pairs. The unit is that of the features; or the radius of the pair, the root of the mean of the two total
    variances, where 1 says that centroids are as far apart as points lie from their own centroid.

    Bias. Centroids of few points are off by the variance within the class over its number of points; so the squared
    distance is too large by v_i / n_i + v_j / n_j on average. `corrected` subtracts that before the root is taken, and
    gives 0 where nothing is left. The distance to the nearest centroid is a minimum, and too small for that.

    Args:
        clouds: of at least two classes, or their points; see `measure`.
        unit: "feature", or "radius", which also makes it invariant to scale.
        corrected: whether to subtract what the sampling of the centroids adds.

    Raises:
        GeometryError: a single class.

    References:
        Sorscher, Ganguli and Sompolinsky, "Neural representational geometry underlies few-shot concept learning"
        (2022): the signal, distances in units of the radius.

    Example:
        >>> joint = centroid_distance(Clouds([torch.zeros(3, 2), torch.tensor([[3.0, 4.0]] * 3)]))
        >>> joint.pairs[0, 1].value, joint.whole.value
        (5.0, 5.0)
    """
    require_classes(clouds, "centroid_distance")
    centroids = clouds.once(Centroids.of)
    squares = centroids.distances().square()
    if corrected:
        squares = (squares - centroids.sampling[:, None] - centroids.sampling).clamp(min=0)
    if unit == "radius":
        squares = squares / (
            (centroids.variances[:, None] + centroids.variances) / 2
        )  # NaN for 0 / 0, infinity for d / 0
    distances = squares.sqrt().cpu()
    distances[distances.isinf()] = torch.nan
    parameters = {"unit": unit, "corrected": corrected}
    none_left = (
        "the centroids differ no more than their sampling explains" if corrected else "the two centroids are the same"
    )
    pairs = {
        (i, j): estimate_of(
            clouds,
            i,
            j,
            value=float(distances[i, j]),
            parameters=parameters,
            note=_why(
                distances[i, j], nan="both classes are constant, so there is no radius to measure by", zero=none_left
            ),
        )
        for i, j in combinations(range(len(clouds)), 2)
    }
    return joint_of_pairs(clouds, pairs, parameters, of_class=min)


@MEASURES.of_clouds("centroid_cosine", invariant_to=INVARIANCES)
def centroid_cosine(clouds: Clouds) -> JointEstimate:
    """The cosine between the centroids of two classes, from the mean of all centroids.

    The mean is that of the centroids, in which each class counts once, and not that of all points. A pair has its
    signed cosine, from -1 to 1; a class the mean of its absolute cosines with the others; the layer the mean of the
    absolute cosines over pairs, which is the centroid correlation that goes with manifold capacity.

    What chance gives. Centroids in random directions have cosines of -1 / (n_classes - 1) on average, since their mean
    was subtracted, and spread by 1 / sqrt(D) about that, where D is the participation ratio of the centroids. Two
    classes have -1 always, whatever they are. Few points add noise in as many directions as the class varies in, and
    so bias the absolute value downwards.

    Args:
        clouds: of at least two classes, or their points; see `measure`.

    Raises:
        GeometryError: a single class.

    References:
        Cohen, Chung, Lee and Sompolinsky, "Separability and geometry of object manifolds in deep neural networks"
        (2020): the mean absolute correlation of centroids.

    Example:
        >>> corners = [torch.eye(3)[[place, place]] for place in range(3)]
        >>> joint = centroid_cosine(Clouds(corners))
        >>> round(joint.pairs[0, 2].value, 6), round(joint.whole.value, 6)
        (-0.5, 0.5)
    """
    require_classes(clouds, "centroid_cosine")
    cosines = clouds.once(Centroids.of).cosines().cpu()
    two = OPPOSITE if len(clouds) == 2 else ""
    pairs = {
        (i, j): estimate_of(
            clouds,
            i,
            j,
            value=float(cosines[i, j]),
            parameters={},
            note=_why(cosines[i, j], nan=NO_DIRECTION) or two,
        )
        for i, j in combinations(range(len(clouds)), 2)
    }
    return joint_of_pairs(clouds, pairs, {}, of_class=_mean_absolute, of_layer=_mean_absolute, note=two)


@MEASURES.of_clouds("linear_margin", invariant_to=("rotation", "shift", "order", "padding"))
def linear_margin(clouds: Clouds) -> JointEstimate:
    """How far the plane that separates two classes best lies from the nearest point of either.

    It is the hard margin of a linear support vector machine, half the distance between the convex hulls of the two
    classes, in units of the features; 0 where no plane separates them. One class against one: a pair has its margin, a
    class the smallest of its margins, the layer the mean over pairs.

    Bias. It is an extreme of the points at hand, and shrinks as points are added. As long as two classes have no more
    points together than one above the number of features, points in general position are always separable: the margin
    is then positive whatever the classes are. Compare classes at equal numbers of points.

    Solved pair by pair: the least distance between the hulls is a non-negative least squares problem, of which an
    active-set method finds the exact solution in a finite number of steps. The value is the margin that the found plane
    does leave. Pairs of 50 points with 2,048 features take 10 to 30 ms each on one core, so 100
    classes take a minute or two.

    Args:
        clouds: of at least two classes, or their points; see `measure`.

    Raises:
        GeometryError: a single class.

    References:
        Bennett and Bredensteiner, "Duality and geometry in SVM classifiers" (2000): the margin as a distance between
        hulls. Lawson and Hanson, Solving Least Squares Problems (1974), chapter 23: least distance programming.

    Example:
        >>> square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> joint = linear_margin(Clouds([square, square + torch.tensor([3.0, 0.0])]))
        >>> round(joint.pairs[0, 1].value, 6)
        1.0
    """
    require_classes(clouds, "linear_margin")
    points = clouds.points
    pairs = {}
    for i, j in combinations(range(len(clouds)), 2):
        margin = _margin(points[i], points[j])
        note = _why(
            margin,
            nan="the solver found no margin that it could confirm",
            zero="no plane separates the two classes",
        )
        pairs[i, j] = estimate_of(clouds, i, j, value=margin, parameters={}, note=note)
    return joint_of_pairs(clouds, pairs, {}, of_class=min, note="one class against one")


@MEASURES.of_clouds("within_between_ratio", invariant_to=INVARIANCES)
def within_between_ratio(clouds: Clouds, *, corrected: bool = False) -> JointEstimate:
    """The variance within classes over the variance of the class centroids.

    Both are total variances, summed over the features. Within: about the class's own centroid, with the divisor
    n_points - 1. Between: of the centroids about their mean, in which each class counts once, with the divisor
    n_classes - 1. A class has its own within over the between of the layer; the layer the mean of the classes, which is
    the ratio of the traces. 0 says that classes have collapsed to points; it has no upper end.

    Bias. Centroids of few points differ by sampling alone, which adds the mean of v_i / n_i to the variance between and
    makes the ratio too small: it cannot exceed about n_points, even of classes that are the same. `corrected` subtracts
    that, and gives no value (NaN) where nothing is left.

    Args:
        clouds: of at least two classes, or their points; see `measure`.
        corrected: whether to subtract what the sampling of the centroids adds to the variance between.

    Raises:
        GeometryError: a single class.

    References:
        Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep learning training"
        (2020): within relative to between, there as the trace of the within covariance times the pseudoinverse of the
        between covariance, which is `nc1_variability`.

    Example:
        >>> joint = within_between_ratio(Clouds([torch.tensor([[-1.0], [1.0]]), torch.tensor([[3.0], [5.0]])]))
        >>> joint.whole.value  # 2 within, 8 between
        0.25
    """
    require_classes(clouds, "within_between_ratio")
    centroids = clouds.once(Centroids.of)
    between = float(centroids.from_mean().square().sum()) / (len(clouds) - 1)
    note = ""
    if between <= (SAME * centroids.extent) ** 2:
        between, note = math.nan, "all classes have the same centroid, so there is no variance between them"
    elif corrected and (between := between - float(centroids.sampling.mean())) <= 0:
        between, note = math.nan, "the centroids differ no more than their sampling explains"
    ratios = (centroids.variances / between).cpu()
    parameters = {"corrected": corrected}
    return JointEstimate(
        classes=tuple(
            estimate_of(clouds, place, value=float(ratio), parameters=parameters, note=note)
            for place, ratio in enumerate(ratios)
        ),
        whole=estimate_of(clouds, value=float(ratios.mean()), parameters=parameters, note=note),
    )


# -- margins -----------------------------------------------------------------------------------------------------------


def _margin(first: Tensor, second: Tensor) -> float:
    """Half the distance between two convex hulls; 0 where they touch, NaN where the solver's answer is not confirmed.

    Weights a of the first class and b of the second, not negative, minimise |sum a_i x_i - sum b_j y_j|^2 with
    sum a = sum b = 1. With a common factor for a and b that becomes a least squares problem whose last row asks for
    sum a + sum b = 1 (Lawson and Hanson's least distance programming), and a heavy row keeps the two sums equal.
    """
    both = torch.cat([on_float64_device(first), on_float64_device(second)]).to(torch.float64)
    both = both - both[0]
    both = both - (both[: len(first)].mean(0) + both[len(first) :].mean(0)) / 2
    extent = float(both.square().sum(1).mean().sqrt())
    if extent == 0:
        return 0.0
    # the triangular factor holds the points in as few coordinates as there are points
    coordinates = torch.linalg.qr((both / extent).mT, mode="r").R.cpu().numpy()
    sides = np.repeat([1.0, -1.0], [len(first), len(second)])
    rows = np.vstack([coordinates * sides, _HEAVY * sides, np.ones_like(sides)])
    target = np.zeros(len(rows))
    target[-1] = 1.0
    try:
        weights, _ = nnls(rows, target, maxiter=50 * len(sides))
    except RuntimeError:  # it gave up
        return math.nan
    left, right = coordinates[:, sides > 0], coordinates[:, sides < 0]
    a, b = weights[sides > 0], weights[sides < 0]
    if min(a.sum(), b.sum()) <= 0:
        return math.nan
    between = left @ a / a.sum() - right @ b / b.sum()
    most = float(np.linalg.norm(between))  # two points of the hulls are no nearer to each other than the hulls are
    if most <= _TOUCHING:
        return 0.0
    least = max(_gap(direction, left, right) for direction in (between, _normal(left[:, a > 0], right[:, b > 0])))
    return extent * least / 2 if least >= (1 - _UNCONFIRMED) * most else math.nan


def _normal(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The shortest vector between the planes through two sets of columns.

    Where those are the points that bear the margin, it is that between the hulls, and exactly so, while the heavy row
    of `_margin` is only nearly kept.
    """
    across = first[:, 0] - second[:, 0]
    edges = np.hstack([first[:, 1:] - first[:, :1], second[:, 1:] - second[:, :1]])
    solution = np.linalg.lstsq(edges, across)[0]
    shortest: npt.NDArray[np.float64] = across - edges @ solution
    return shortest


def _gap(direction: npt.NDArray[np.float64], first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """How far apart two sets of columns lie along a direction: hulls are at least as far apart."""
    length = float(np.linalg.norm(direction))
    return float((direction @ first).min() - (direction @ second).max()) / length if length else 0.0


# -- estimates ---------------------------------------------------------------------------------------------------------


def require_classes(clouds: Clouds, what: str) -> None:
    """Raise GeometryError for a single class."""
    if len(clouds) < 2:
        raise GeometryError(
            f"{what} compares classes, and there is {len(clouds)}; give at least 2 classes of the layer"
        )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_absolute(values: Sequence[float]) -> float:
    return _mean([abs(value) for value in values])


def _why(value: Tensor | float, *, nan: str = "", zero: str = "") -> str:
    number = float(value)
    return nan if math.isnan(number) else zero if number == 0 else ""


def joint_of_pairs(
    clouds: Clouds,
    pairs: Mapping[tuple[int, int], Estimate],
    parameters: Mapping[str, Any],
    *,
    of_class: Callable[[Sequence[float]], float],
    of_layer: Callable[[Sequence[float]], float] = _mean,
    note: str = "",
) -> JointEstimate:
    """Pairs, with what each class and the layer make of those that have a value."""

    def summary(places: Sequence[tuple[int, int]], summarise: Callable[[Sequence[float]], float]) -> tuple[float, str]:
        of_pairs = [pairs[place] for place in places]
        values = [pair.value for pair in of_pairs if not math.isnan(pair.value)]
        if not values:
            return math.nan, of_pairs[0].note
        left_out = len(of_pairs) - len(values)
        missing = f"{left_out} of {len(of_pairs)} pairs have no value and are left out" if left_out else ""
        value = summarise(values)
        zero = next((pair.note for pair in of_pairs if value == 0 == pair.value), "")
        return value, "; ".join(dict.fromkeys(filter(None, [note, zero, missing])))

    classes = []
    for place in range(len(clouds)):
        value, why = summary([pair for pair in pairs if place in pair], of_class)
        classes.append(estimate_of(clouds, place, value=value, parameters=parameters, note=why))
    value, why = summary(list(pairs), of_layer)
    return JointEstimate(tuple(classes), estimate_of(clouds, value=value, parameters=parameters, note=why), pairs)
