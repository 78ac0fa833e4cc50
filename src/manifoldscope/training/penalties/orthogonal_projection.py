"""Classes that have one direction each, at right angles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifoldscope.errors import StudyError
from manifoldscope.settings import check_setting
from manifoldscope.training.penalties.classes import directions, of_one_scale


def orthogonal_projection(features: Tensor, labels: Tensor, *, between: float = 0.5) -> Tensor:
    """1 minus the mean cosine within classes, plus `between` times the mean |cosine| between classes.

    The means are over pairs of points. The paper takes the absolute value of the mean over pairs of different classes,
    in which cosines of opposite signs cancel; here it is taken of each cosine. So the penalty is 0 if and only if the
    features of every class have one direction, and those of different classes are orthogonal.

    Args:
        features: (n, n_features) floating point.
        labels: (n,) class indices.
        between: weight of pairs of different classes, not negative; 0.5 in the paper.

    Returns:
        A scalar from 0 to 2 + `between`. Without two points of one class, or without two classes, that term is 0.

    Raises:
        GeometryError: other shapes.
        StudyError: a negative weight.

    References:
        Ranasinghe, Naseer, Hayat, Khan and Khan, "Orthogonal projection loss" (2021), equations 3 to 5.

    Example:
        >>> round(float(orthogonal_projection(torch.eye(2)[[0, 0, 1]], torch.tensor([0, 0, 1]))), 6)
        0.0
    """
    check_weight(between)
    features, labels = of_one_scale(features, labels)
    unit = directions(features)
    cosines = unit @ unit.T
    same = labels[:, None] == labels
    other_point = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return _mean_over(1 - cosines, same & other_point) + between * _mean_over(cosines.abs(), ~same)


def check_weight(between: float) -> None:
    """Raise StudyError unless it is a weight."""
    check_setting(StudyError, "between", between, float)
    if not (math.isfinite(between) and between >= 0):
        raise StudyError(f"between = {between}; expected a number of at least 0, such as 0.5")


def _mean_over(values: Tensor, where: Tensor) -> Tensor:
    """The mean over some pairs (n, n); 0 where there are none."""
    return torch.where(where, values, 0).sum() / where.sum().clamp(min=1)
