"""Neural collapse: how near the classes of a layer are to points at the corners of a regular simplex."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.cloud import Clouds
from manifoldscope.geometry.estimate import JointEstimate, estimate_of
from manifoldscope.geometry.manifold import ClassManifold, Points, as_points
from manifoldscope.geometry.measures import INVARIANCES, MEASURES
from manifoldscope.geometry.moments import on_float64_device
from manifoldscope.geometry.separation import (
    NO_DIRECTION,
    OPPOSITE,
    SAME,
    Centroids,
    joint_of_pairs,
    require_classes,
)

_ONE_CENTROID = "all classes have the same centroid, so there is no variance between them"


@MEASURES.of_clouds("nc1_variability", invariant_to=INVARIANCES)
def nc1_variability(clouds: Clouds, *, cut: float = 1e-3) -> JointEstimate:
    """Variability within classes in the directions between them: NC1 of neural collapse, trace(S_W S_B^+) / C.

    S_W is the covariance about the class's own centroid (divisor n_points), S_B that of the C centroids about their
    mean (divisor C), S_B^+ its pseudoinverse. A class has its own S_W; the layer has the mean over classes, each of
    which counts once. 0 says that classes have collapsed to points, at least in the directions between centroids; it
    has no upper end. `within_between_ratio` compares total variances instead: it also sees directions in which the
    centroids do not differ, and is set by those in which they differ most.

    Bias. Centroids of few points differ by sampling alone, which makes S_B too large: even of classes that are the same
    it is at most about n_points.

    Args:
        clouds: of at least two classes, or their points; see `measure`.
        cut: eigenvalues of S_B below this share of the largest are left out of the pseudoinverse. Small ones weigh
            most in it, and are the least certain; the note says how many directions are left out.

    Raises:
        GeometryError: a single class, or a cut outside [0, 1).

    References:
        Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep learning training"
        (2020), NC1.

    Example:
        >>> joint = nc1_variability([torch.tensor([[-1.0], [1.0]]), torch.tensor([[3.0], [5.0]])])
        >>> round(joint.whole.value, 9)  # 1 within, 4 between, 2 classes
        0.125
    """
    require_classes(clouds, "nc1_variability")
    if not 0 <= cut < 1:
        raise GeometryError(f"cut = {cut}; expected a share of the largest eigenvalue from 0 to below 1, such as 1e-3")
    n_classes = len(clouds)
    centroids = clouds.once(Centroids.of)
    from_mean = centroids.from_mean()
    eigenvalues, axes = torch.linalg.eigh(from_mean @ from_mean.T / n_classes)
    if float(eigenvalues[-1]) <= (SAME * centroids.extent) ** 2:
        values, note = torch.full((n_classes,), torch.nan), _ONE_CENTROID
    else:
        kept = eigenvalues > max(cut, n_classes * torch.finfo(torch.float64).eps) * eigenvalues[-1]
        # (n_features, kept) directions of unit length, each divided by the root of its eigenvalue
        whitening = from_mean.T @ axes[:, kept] / (eigenvalues[kept] * math.sqrt(n_classes))
        own_means = torch.unbind(from_mean)
        apart = zip(_from_mean(clouds.points, centroids), own_means, strict=True)
        values = torch.stack([((own - mean) @ whitening).square().sum(1).mean() for own, mean in apart]) / n_classes
        missing = min(n_classes - 1, clouds.n_features) - int(kept.sum())
        note = f"{missing} of {missing + int(kept.sum())} directions between centroids are left out" if missing else ""
    parameters = {"cut": cut}
    return JointEstimate(
        classes=tuple(
            estimate_of(clouds, place, value=value, parameters=parameters, note=note)
            for place, value in enumerate(values.tolist())
        ),
        whole=estimate_of(clouds, value=float(values.mean()), parameters=parameters, note=note),
    )


@MEASURES.of_clouds("nc2_equinorm", invariant_to=INVARIANCES)
def nc2_equinorm(clouds: Clouds) -> JointEstimate:
    """How unequal the centroids' distances from their mean are: the equal norms of NC2 of neural collapse.

    The coefficient of variation of the norms, their standard deviation (divisor n_classes) over their mean; of the
    layer as a whole. 0 says that all centroids are equally far from their mean, in which each class counts once. Few
    points add to each squared norm what the sampling of a centroid adds, about v / n_points.

    Args:
        clouds: of at least two classes, or their points; see `measure`.

    Raises:
        GeometryError: a single class.

    References:
        Papyan, Han and Donoho (2020), NC2: see `nc1_variability`.

    Example:
        >>> round(nc2_equinorm([place * torch.ones(2, 1) for place in (0, 1, 5)]).whole.value, 3)  # norms 2, 1, 3
        0.408
    """
    require_classes(clouds, "nc2_equinorm")
    centroids = clouds.once(Centroids.of)
    norms = centroids.from_mean().norm(dim=1)
    note = OPPOSITE if len(clouds) == 2 else ""
    value = float(norms.std(correction=0) / norms.mean())
    if float(norms.max()) <= SAME * centroids.extent:
        value, note = math.nan, _ONE_CENTROID
    return JointEstimate(whole=estimate_of(clouds, value=value, parameters={}, note=note))


@MEASURES.of_clouds("nc2_equiangularity", invariant_to=INVARIANCES)
def nc2_equiangularity(clouds: Clouds) -> JointEstimate:
    """How far the angles between centroids are from the largest equal ones: the equal angles of NC2 of neural collapse.

    |cosine + 1 / (n_classes - 1)| of two centroids from the mean of all, since -1 / (n_classes - 1) is the cosine
    between any two corners of a regular simplex. A pair has its own value, a class the mean over its pairs, the layer
    the mean over all pairs. `centroid_cosine` gives the cosines themselves.

    What chance gives. Centroids in random directions have these cosines on average, and spread by 1 / sqrt(D) about
    them where D is the participation ratio of the centroids; so the value is about sqrt(2 / (pi D)). Two classes have 0
    always.

    Args:
        clouds: of at least two classes, or their points; see `measure`.

    Raises:
        GeometryError: a single class.

    References:
        Papyan, Han and Donoho (2020), NC2: see `nc1_variability`.

    Example:
        >>> corners = [torch.eye(3)[[place, place]] for place in range(3)]
        >>> round(nc2_equiangularity(corners).whole.value, 6)
        0.0
    """
    require_classes(clouds, "nc2_equiangularity")
    missed = (clouds.once(Centroids.of).cosines() + 1 / (len(clouds) - 1)).abs().cpu()
    two = OPPOSITE if len(clouds) == 2 else ""
    pairs = {
        (i, j): estimate_of(
            clouds,
            i,
            j,
            value=float(missed[i, j]),
            parameters={},
            note=NO_DIRECTION if bool(missed[i, j].isnan()) else two,
        )
        for i, j in combinations(range(len(clouds)), 2)
    }
    return joint_of_pairs(clouds, pairs, {}, of_class=lambda values: math.fsum(values) / len(values), note=two)


@MEASURES.of_clouds("nc4_nearest_centroid", invariant_to=INVARIANCES)
def nc4_nearest_centroid(clouds: Clouds) -> JointEstimate:
    """The share of points whose nearest class centroid is not that of their own class.

    A class has the share of its points, the layer that of all points. Where the network's predictions are known,
    `nearest_centroid_disagreement` compares with those, which is NC4 of neural collapse; the two are the same where
    the network makes no error. A tie counts as the own class.

    Bias. A centroid of few points is drawn towards each of them, so that the share is too small; that of points which
    are not in the centroids is larger.

    Args:
        clouds: of at least two classes, or their points; see `measure`.

    Raises:
        GeometryError: a single class.

    References:
        Papyan, Han and Donoho (2020), NC4: see `nc1_variability`.

    Example:
        >>> nc4_nearest_centroid([torch.tensor([[0.0], [0.0], [6.0]]), torch.tensor([[6.0], [6.0]])]).whole.value
        0.2
    """
    require_classes(clouds, "nc4_nearest_centroid")
    labels = torch.arange(len(clouds)).repeat_interleave(torch.tensor([cloud.n_points for cloud in clouds]))
    errors = torch.split(~_is_nearest(clouds, labels), [cloud.n_points for cloud in clouds])
    return JointEstimate(
        classes=tuple(
            estimate_of(clouds, place, value=float(each.double().mean()), parameters={})
            for place, each in enumerate(errors)
        ),
        whole=estimate_of(clouds, value=float(torch.cat(errors).double().mean()), parameters={}),
    )


def self_duality(manifolds: Sequence[Points | ClassManifold] | Clouds, weights: Points) -> float:
    """How far a linear classifier is from the class centroids: NC3 of neural collapse.

    |W / |W| - M / |M||, in Frobenius norms, for the rows M of the centroids from their mean: from 0 (each weight vector
    points to its centroid, with lengths in proportion) to 2. It is a function and no measure, since a measure sees
    points alone.

    Args:
        manifolds: (n_points, n_features) each, of the layer before the classifier, at least two classes.
        weights: (n_classes, n_features) W, a row per class in the order of the manifolds; without biases.

    Raises:
        GeometryError: a single class; weights of another shape, not finite or all 0; or classes with one centroid.

    References:
        Papyan, Han and Donoho (2020), NC3: see `nc1_variability`.

    Example:
        >>> corners = [torch.eye(3)[[place, place]] for place in range(3)]
        >>> round(self_duality(corners, 5 * (torch.eye(3) - 1 / 3)), 6)
        0.0
    """
    clouds = manifolds if isinstance(manifolds, Clouds) else Clouds(manifolds)
    require_classes(clouds, "self_duality")
    rows = on_float64_device(as_points(weights)).to(torch.float64)
    if rows.shape != (len(clouds), clouds.n_features):
        raise GeometryError(
            f"weights of shape {tuple(rows.shape)}; expected a row per class, ({len(clouds)}, {clouds.n_features})"
        )
    centroids = clouds.once(Centroids.of)
    from_mean = centroids.from_mean()
    if float(from_mean.norm(dim=1).max()) <= SAME * centroids.extent:
        raise GeometryError(f"{_ONE_CENTROID}; there is nothing to compare the classifier with")
    if not bool(rows.any()):
        raise GeometryError("all weights are 0; give those of the trained classifier")
    return float((rows.to(from_mean) / rows.norm() - from_mean / from_mean.norm()).norm())


def nearest_centroid_disagreement(
    manifolds: Sequence[Points | ClassManifold] | Clouds, predictions: Sequence[int] | Tensor
) -> float:
    """How often a network predicts another class than that of the nearest centroid: NC4 of neural collapse.

    The share of points for which it does.

    Args:
        manifolds: (n_points, n_features) each, at least two classes of one layer.
        predictions: (number of all points,) integers, class by class in the order of the manifolds; the place of the
            predicted class among them. Any other number, as -1, is a class that is not among them and disagrees.

    Raises:
        GeometryError: a single class, or another number of predictions than of points.

    References:
        Papyan, Han and Donoho (2020), NC4: see `nc1_variability`.

    Example:
        >>> nearest_centroid_disagreement([torch.zeros(2, 1), torch.ones(2, 1)], [0, 1, 1, 1])
        0.25
    """
    clouds = manifolds if isinstance(manifolds, Clouds) else Clouds(manifolds)
    require_classes(clouds, "nearest_centroid_disagreement")
    predicted = torch.as_tensor(predictions).cpu()
    if predicted.shape != (clouds.n_points,) or predicted.is_floating_point():
        raise GeometryError(
            f"predictions of shape {tuple(predicted.shape)} and {predicted.dtype}; expected an integer for each of the "
            f"{clouds.n_points} points"
        )
    return float((~_is_nearest(clouds, predicted)).double().mean())


def _from_mean(points: Sequence[Tensor], centroids: Centroids) -> list[Tensor]:
    """(n_points, n_features) float64 of each class, from the mean of the centroids."""
    origin = on_float64_device(points[0])[0].to(torch.float64)
    return [on_float64_device(matrix).to(torch.float64).sub(origin).sub_(centroids.places.mean(0)) for matrix in points]


def _is_nearest(clouds: Clouds, classes: Tensor) -> Tensor:
    """(number of all points,): whether no centroid is nearer, beyond rounding, than that of the class named."""
    centroids = clouds.once(Centroids.of)
    from_mean = centroids.from_mean()
    # squared distances, less the squared norm of the point
    squares = torch.cat(
        [from_mean.square().sum(1) - 2 * own @ from_mean.T for own in _from_mean(clouds.points, centroids)]
    ).cpu()
    known = (classes >= 0) & (classes < len(clouds))
    own = squares.gather(1, torch.where(known, classes, 0)[:, None]).squeeze(1)
    return known & (own <= squares.amin(1) + SAME * centroids.extent**2)
