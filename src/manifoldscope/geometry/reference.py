"""Synthetic manifolds whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from manifoldscope.errors import GeometryError


def geometric_variances(n: int, ratio: float) -> Tensor:
    """(n,) float64: ratio^0, ratio^1, ...; as n grows d95 is ceil(ln .05 / ln ratio), PR (1 + ratio) / (1 - ratio).

    Example:
        >>> geometric_variances(3, 0.5).tolist()
        [1.0, 0.5, 0.25]
    """
    return ratio ** torch.arange(n, dtype=torch.float64)


def power_law_variances(n: int, exponent: float) -> Tensor:
    """(n,) float64: 1, 2^-exponent, 3^-exponent, ...

    Example:
        >>> power_law_variances(3, 1.0)[1].item()
        0.5
    """
    return torch.arange(1, n + 1, dtype=torch.float64) ** -exponent


def gaussian(n_points: int, variances: Tensor | Sequence[float], *, generator: torch.Generator) -> Tensor:
    """(n_points, len(variances)) float64: independent Gaussian features with these variances.

    Example:
        >>> gaussian(5, [1.0, 0.0], generator=torch.Generator().manual_seed(0))[:, 1].abs().tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    scales = torch.as_tensor(variances, dtype=torch.float64).sqrt()
    return torch.randn(n_points, len(scales), dtype=torch.float64, generator=generator) * scales


def exactly(
    n_points: int, variances: Tensor | Sequence[float], *, n_features: int, generator: torch.Generator
) -> Tensor:
    """(n_points, n_features) float64: points whose sample variances along their principal axes are exactly these.

    Raises:
        GeometryError: more variances than so many points and features can have.

    Example:
        >>> points = exactly(9, [4.0, 1.0], n_features=3, generator=torch.Generator().manual_seed(0))
        >>> points.var(dim=0).sum().round().item()
        5.0
    """
    scales = torch.as_tensor(variances, dtype=torch.float64).sqrt()
    if len(scales) > min(n_points - 1, n_features):
        raise GeometryError(f"{n_points} points with {n_features} features cannot have {len(scales)} variances")
    drawn = torch.randn(n_points, len(scales), dtype=torch.float64, generator=generator)
    scores, _ = torch.linalg.qr(drawn - drawn.mean(0))
    axes = rotation(n_features, generator=generator)[: len(scales)]
    points: Tensor = (n_points - 1) ** 0.5 * scores * scales @ axes
    return points


def rotation(n_features: int, *, generator: torch.Generator) -> Tensor:
    """(n_features, n_features) float64: a random orthogonal matrix.

    Example:
        >>> turn = rotation(3, generator=torch.Generator().manual_seed(0))
        >>> bool(torch.allclose(turn @ turn.T, torch.eye(3, dtype=torch.float64)))
        True
    """
    drawn = torch.randn(n_features, n_features, dtype=torch.float64, generator=generator)
    orthogonal: Tensor = torch.linalg.qr(drawn).Q
    return orthogonal


def sphere(n_points: int, dimension: int, *, n_features: int | None = None, generator: torch.Generator) -> Tensor:
    """(n_points, n_features) float64: uniform on the unit sphere of `dimension` dimensions in dimension + 1 features.

    Features beyond dimension + 1 are 0. Its intrinsic dimension is `dimension`, and its variances are dimension + 1
    equal ones.

    Example:
        >>> sphere(4, 2, generator=torch.Generator().manual_seed(0)).norm(dim=1).round(decimals=6).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    drawn = torch.randn(n_points, dimension + 1, dtype=torch.float64, generator=generator)
    points = torch.zeros(n_points, n_features or dimension + 1, dtype=torch.float64)
    points[:, : dimension + 1] = drawn / drawn.norm(dim=1, keepdim=True)
    return points
