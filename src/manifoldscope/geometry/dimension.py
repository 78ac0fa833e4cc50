"""Measures read off a spectrum: how many dimensions a class occupies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifoldscope.geometry.estimate import INVARIANCES, MEASURES, Estimate
from manifoldscope.geometry.spectrum import Spectrum


@MEASURES.register("pca_dimension", reads="spectrum", invariant_to=INVARIANCES)
def pca_dimension(spectrum: Spectrum, *, fraction: float = 0.95) -> Estimate:
    """The smallest number of principal components that explain a given share of the variance.

    A whole number from 0 (a constant class) to ceil(fraction min(n_points - 1, n_features)). It is invariant to
    rotation, shift and uniform scale. Few points bias it downwards, towards the ceiling from a large truth: 50 points
    of an isotropic Gaussian with 2,048 features show 46 of its 1,946 dimensions.

    Args:
        spectrum: of the class.
        fraction: share of the variance to reach, in (0, 1].

    Raises:
        GeometryError: a fraction outside (0, 1].

    References:
        Jolliffe, Principal Component Analysis (2002), section 6.1.1, cumulative percentage of total variation.

    Example:
        >>> import torch
        >>> pca_dimension(Spectrum(torch.tensor([6.0, 3.0, 1.0]), n_points=100, n_features=3), fraction=0.9).value
        2.0
    """
    return _estimate(
        spectrum,
        value=spectrum.dimension(fraction),
        ceiling=spectrum.dimension_ceiling(fraction),
        parameters={"fraction": fraction},
    )


@MEASURES.register("participation_ratio", reads="spectrum", invariant_to=INVARIANCES)
def participation_ratio(spectrum: Spectrum) -> Estimate:
    """The number of equal variances that would be spread as evenly as these: (sum v)^2 / sum v^2.

    From 0 (a constant class), or 1 (one direction), to min(n_points - 1, n_features). It is invariant to rotation,
    shift and uniform scale. Few points bias it downwards: 1 / sample is about 1 / true + 1 / (n_points - 1).

    Args:
        spectrum: of the class.

    References:
        Gao et al., "A theory of multineuronal dimensionality, dynamics and measurement" (2017), equation 5. The bias:
        Chun, Canatar, Chung and Lee, "Estimating dimensionality of neural representations from finite samples" (2026).

    Example:
        >>> import torch
        >>> participation_ratio(Spectrum(torch.tensor([1.0, 1.0, 1.0]), n_points=100, n_features=8)).value
        3.0
    """
    return _estimate(
        spectrum,
        value=spectrum.participation_ratio(),
        ceiling=min(spectrum.n_points - 1, spectrum.n_features),
        parameters={},
    )


def _estimate(spectrum: Spectrum, *, value: float, ceiling: int, parameters: Mapping[str, Any]) -> Estimate:
    """The value with its sample, and the reason where it is 0."""
    constant = spectrum.total_variance == 0
    return Estimate(
        value=float(value),
        n_points=spectrum.n_points,
        n_features=spectrum.n_features,
        ceiling=ceiling,
        parameters=parameters,
        note="all points are the same, so there is no variance to have dimensions" if constant else "",
    )
