"""Eigenvalues whose sums have finite gradients, also where they are repeated or 0."""

from __future__ import annotations

import torch
from torch import Tensor

SMOOTHED = 1e-6
"""The root of a share of the variance is smooth below about this share."""


def eigenvalues(matrices: Tensor) -> Tensor:
    """(..., n) in ascending order, of positive semi-definite matrices (..., n, n); NaN where a number is not finite.

    The gradient of a symmetric function of them is exact, also where some are equal; that of a single one among equals
    is a subgradient.
    """
    if not bool(torch.isfinite(matrices).all()):  # no eigenvalues exist; the loss is NaN, and training says so
        return matrices.diagonal(dim1=-2, dim2=-1) * torch.nan
    if matrices.device.type == "mps":  # torch has no such routine on Apple's GPUs
        return eigenvalues(matrices.cpu()).to(matrices.device)
    found: Tensor = torch.linalg.eigvalsh(matrices).clamp(min=0)
    return found


def smooth_root(shares: Tensor) -> Tensor:
    """The square root, with a finite slope at 0: x / sqrt(x + 1e-6).

    Above 1e-3 it differs from the root by less than one part in a thousand.
    """
    return shares * (shares + SMOOTHED).rsqrt()


def smaller_gram(points: Tensor) -> Tensor:
    """Of x = (..., n, d) the smaller one of x x^T and x^T x, which share their eigenvalues but zeros."""
    return points @ points.mT if points.shape[-2] <= points.shape[-1] else points.mT @ points
