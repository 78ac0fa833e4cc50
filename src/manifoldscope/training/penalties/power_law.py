"""Eigenvalues that fall off as a power of their rank."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifoldscope.errors import StudyError
from manifoldscope.settings import check_setting
from manifoldscope.training.penalties.classes import floor_of, of_one_scale, trace
from manifoldscope.training.penalties.eigenvalues import SMOOTHED, eigenvalues, smaller_gram


def power_law(features: Tensor, labels: Tensor, *, exponent: float = 1.0, first: int = 10) -> Tensor:
    """How far the eigenvalues of the covariance of all features are from n^-exponent.

    The mean over n = first, first + 1, ... of (r - 1)^2 + max(0, r - 1), where r is the n-th eigenvalue over what the
    law says it should be, given the eigenvalue `first`. Eigenvalues above the law cost more than those below. The first
    ones are free, so that the classes can be told apart. Neither scale nor rotation changes it.

    In the paper the eigenvectors are those of all training images, computed once in an epoch; here they are those of
    the batch.

    Known bias: the last eigenvalues of a batch of n points are smaller than those of the distribution, most of all
    where n_features is larger than n. The batch is drawn towards the law, and the distribution to a smaller exponent.

    Args:
        features: (n, n_features) floating point.
        labels: (n,) of any values; the law is one of all classes together.
        exponent: of the law, positive.
        first: rank of the eigenvalue from which on the law is asked for, at least 1.

    Returns:
        A scalar of at least 0; it is 0 where there are no more than `first` eigenvalues (n - 1, or n_features).

    Raises:
        GeometryError: other shapes.
        StudyError: an exponent that is not positive, or a rank that is no whole number, or below 1.

    References:
        Nassar, Sokol, Chung, Harris and Park, "On 1/n neural representation and robustness" (2020), section 2; Stringer
        et al. (2019) for the exponent of 1 in visual cortex.

    Example:
        >>> axes = torch.diag(torch.arange(1, 21) ** -0.5)
        >>> points = torch.cat([axes, -axes])  # eigenvalues 1, 1/2, ..., 1/20
        >>> float(power_law(points, torch.zeros(40))) < 1e-6
        True
    """
    check_law(exponent, first)
    features, _ = of_one_scale(features, labels)
    centred = features - features.mean(0)
    gram = smaller_gram(centred)
    gram = gram / (trace(gram) + len(features) * floor_of(features))
    found = eigenvalues(gram).flip(0)[: len(features) - 1]
    if len(found) <= first:
        return 0 * found.sum()
    ranks = torch.arange(first, len(found) + 1, dtype=found.dtype, device=found.device)
    law = found[first - 1] * (ranks / first) ** -exponent
    excess = (found[first - 1 :] - law) / (law + SMOOTHED)
    return (excess.square() + excess.clamp(min=0)).mean()


def check_law(exponent: float, first: int) -> None:
    """Raise StudyError unless these define a law."""
    check_setting(StudyError, "exponent", exponent, float)
    if not (math.isfinite(exponent) and exponent > 0):
        raise StudyError(f"exponent = {exponent}; expected a positive number, such as 1.0")
    check_setting(StudyError, "first", first, int)
    if first < 1:
        raise StudyError(f"first = {first}; expected a rank of at least 1")
