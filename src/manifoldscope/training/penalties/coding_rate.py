"""Maximal coding rate reduction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifoldscope.errors import StudyError
from manifoldscope.settings import check_setting
from manifoldscope.training.penalties.classes import Classes, directions, of_one_scale
from manifoldscope.training.penalties.eigenvalues import eigenvalues, smaller_gram


def coding_rate(features: Tensor, labels: Tensor, *, squared_distortion: float = 0.5) -> Tensor:
    """Minus the rate reduction (MCR2): the coding rate within classes minus that of all features.

    With features z of length 1 in d dimensions, n_j of class j, all of them in the rows of Z, and a squared distortion
    e, the rates are

        R = 1/2 log det(1 + d / (n e) Z^T Z),   R_c = sum over j of n_j / (2 n) log det(1 + d / (n_j e) Z_j^T Z_j)

    in nats, and the penalty is R_c - R (equations 3 to 6). Lowering it spreads all features over many directions, and
    each class over few; the optimum are classes that each fill a subspace, orthogonal to those of the others. Raising
    it does the opposite.

    Known bias: in float32 rounding shows where d / e is above about 1e5, most of all for collapsed classes.

    Args:
        features: (n, n_features) floating point; they are scaled to length 1.
        labels: (n,) class indices.
        squared_distortion: e, positive; 0.5 in the paper.

    Returns:
        A scalar of at most 0; it is 0 for a single class.

    Raises:
        GeometryError: other shapes.
        StudyError: a squared distortion that is not positive.

    References:
        Yu, Chan, You, Song and Ma, "Learning diverse and discriminative representations via the principle of maximal
        coding rate reduction" (2020).

    Example:
        >>> round(float(coding_rate(torch.eye(2), torch.arange(2))), 3)  # log 3 - 1/2 log 5
        -0.294
    """
    check_distortion(squared_distortion)
    features, labels = of_one_scale(features, labels)
    unit = directions(features)
    n, n_features = unit.shape
    classes = Classes.of(unit, labels)
    own = _log_volume(classes.points, n_features / (classes.counts * squared_distortion))
    return (classes.counts * own).sum() / n - _log_volume(unit, unit.new_tensor(n_features / (n * squared_distortion)))


def check_distortion(squared_distortion: float) -> None:
    """Raise StudyError unless it is positive and finite."""
    check_setting(StudyError, "squared_distortion", squared_distortion, float)
    if not (math.isfinite(squared_distortion) and squared_distortion > 0):
        raise StudyError(f"squared_distortion = {squared_distortion}; expected a positive number, such as 0.5")


def _log_volume(points: Tensor, scale: Tensor) -> Tensor:
    """(...) 1/2 log det(1 + scale x^T x) of points x (..., n, d) with scales (...)."""
    gram = smaller_gram(points)
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(identity + scale[..., None, None] * gram)
    if bool(failed.any()):  # beside a large scale the identity is lost in rounding; or features are not finite
        volumes: Tensor = torch.log1p(scale[..., None] * eigenvalues(gram)).sum(-1) / 2
    else:
        volumes = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return volumes
