"""Measures read off a spectrum: how many dimensions a class occupies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch

from manifoldscope.errors import GeometryError
from manifoldscope.geometry.estimate import Estimate
from manifoldscope.geometry.extrapolation import expected_decay_exponent
from manifoldscope.geometry.measures import INVARIANCES, MEASURES
from manifoldscope.geometry.spectrum import Spectrum
from manifoldscope.seeds import generator


@MEASURES.of_spectrum("pca_dimension", invariant_to=INVARIANCES)
def pca_dimension(spectrum: Spectrum, *, fraction: float = 0.95) -> Estimate:
    """The smallest number of principal components that explain a given share of the variance.

    A whole number from 0 (a constant class) to ceil(fraction min(n_points - 1, n_features)). It is invariant to
    rotation, shift and uniform scale. Few points bias it downwards, towards the ceiling from a large truth: 50 points
    of an isotropic Gaussian with 2,048 features show 46 of its 1,946 dimensions.

    Args:
        spectrum: of the class, or its points; see `measure`.
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


@MEASURES.of_spectrum("participation_ratio", invariant_to=INVARIANCES)
def participation_ratio(spectrum: Spectrum) -> Estimate:
    """The number of equal eigenvalues that would be spread as evenly as these: (sum v)^2 / sum v^2.

    From 0 (a constant class), or 1 (one direction), to min(n_points - 1, n_features). It is invariant to rotation,
    shift and uniform scale. Few points bias it downwards: 1 / sample is about 1 / true + 1 / (n_points - 1).

    Args:
        spectrum: of the class, or its points; see `measure`.

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
        ceiling=spectrum.most,
        parameters={},
    )


@MEASURES.of_spectrum("participation_ratio_corrected", invariant_to=("rotation", "shift", "scale", "order"))
def participation_ratio_corrected(spectrum: Spectrum, *, features: Literal["fixed", "sampled"] = "fixed") -> Estimate:
    """The participation ratio that infinitely many points would show, as far as so few can tell.

    For n points whose population has participation ratio P, the sample shows 1 / sample = 1 / P + 1 / (n - 1), up to
    terms of the order of 1 / (n P); here that is solved for P. The features of a layer are all there are, and add
    nothing ("fixed"). Recorded neurons are themselves a sample of a larger population, whose participation ratio is
    meant: then 1 / n_features is subtracted as well ("sampled").

    Limits. The correction is exact on average for Gaussian points; heavy tails leave a bias. It magnifies noise: where
    the sample shows half of n - 1 the relative error doubles, and the value says so. For "fixed" features it cannot
    exceed their number, and is held there; where nothing is left to invert, "sampled" features give no value (NaN).

    Args:
        spectrum: of the class, or its points; see `measure`.
        features: "fixed" for the units of a layer, "sampled" for recorded neurons.

    References:
        Chun, Canatar, Chung and Lee, "Estimating dimensionality of neural representations from finite samples" (2026).

    Example:
        >>> import torch
        >>> spectrum = Spectrum(torch.ones(40), n_points=101, n_features=1000)
        >>> round(participation_ratio_corrected(spectrum).value, 1)  # 1 / (1/40 - 1/100)
        66.7
    """
    sample = spectrum.participation_ratio()
    bias = 1 / (spectrum.n_points - 1) + (1 / spectrum.n_features if features == "sampled" else 0.0)
    parameters = {"features": features}
    ceiling = float(spectrum.n_features) if features == "fixed" else None
    if sample == 0:
        return _estimate(spectrum, value=0.0, ceiling=ceiling, parameters=parameters)
    left = 1 / sample - bias
    if ceiling is not None and left <= 1 / ceiling:
        held = _estimate(spectrum, value=ceiling, ceiling=ceiling, parameters=parameters)
        return held.noting(
            "the eigenvalues are as equal as a sample of independent features shows; held at their number"
        )
    if left <= 1e-9 * bias:
        return _estimate(
            spectrum,
            value=math.nan,
            ceiling=None,
            parameters=parameters,
            note=(
                f"{spectrum.n_points} points and {spectrum.n_features} features show no more than their own bias; "
                "no value is left"
            ),
        )
    found = _estimate(spectrum, value=1 / left, ceiling=ceiling, parameters=parameters)
    share = bias * sample
    return found.noting(f"{share:.0%} of 1 / sample is the correction") if share > 0.5 else found


@MEASURES.of_spectrum("effective_rank", invariant_to=INVARIANCES)
def effective_rank(spectrum: Spectrum) -> Estimate:
    """The exponential of the entropy of the shares of variance.

    From 0 (a constant class), or 1 (one direction), to min(n_points - 1, n_features); r for r equal eigenvalues. The
    shares are those of the eigenvalues of the covariance, that is of squared singular values; some authors take the
    singular values themselves, which gives a larger number. RankMe takes those of the points as they lie, without
    centring: see `rankme`. Few points bias it downwards, as the participation ratio,
    which it is never below.

    Args:
        spectrum: of the class, or its points; see `measure`.

    References:
        Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (2007), there of singular values.

    Example:
        >>> import torch
        >>> round(effective_rank(Spectrum(torch.tensor([2.0, 1.0, 1.0]), n_points=9, n_features=3)).value, 3)
        2.828
    """
    shares = spectrum.eigenvalues / (spectrum.total_variance or 1.0)
    entropy = -torch.special.xlogy(shares, shares).sum()
    return _estimate(
        spectrum,
        value=float(entropy.exp()) if spectrum.total_variance else 0.0,
        ceiling=spectrum.most,
        parameters={},
    )


@MEASURES.of_spectrum("stable_rank", invariant_to=INVARIANCES)
def stable_rank(spectrum: Spectrum) -> Estimate:
    """The total variance over the largest: how many of the first direction would make up the whole.

    From 0 (a constant class), or 1 (one direction), to min(n_points - 1, n_features). It is the squared Frobenius norm
    of the centred points over their squared spectral norm. Few points bias it downwards, since they make the largest
    variance too large.

    Args:
        spectrum: of the class, or its points; see `measure`.

    References:
        Rudelson and Vershynin, "Sampling from large matrices" (2007), section 1 (numerical rank).

    Example:
        >>> import torch
        >>> stable_rank(Spectrum(torch.tensor([4.0, 2.0, 2.0]), n_points=9, n_features=3)).value
        2.0
    """
    largest = float(spectrum.eigenvalues[0]) if spectrum.total_variance else 1.0
    return _estimate(spectrum, value=spectrum.total_variance / largest, ceiling=spectrum.most, parameters={})


@dataclass(frozen=True)
class PowerLaw:
    """A straight line through the logarithms of variance and rank.

    Attributes:
        exponent: minus its slope: eigenvalues fall as rank^-exponent.
        r_squared: share of the variance of the logarithms that the line explains.
        first, last: the ranks that it was fitted to, from 1.
    """

    exponent: float
    r_squared: float
    first: int
    last: int


def power_law(spectrum: Spectrum, *, first: int = 1, last: int | None = None) -> PowerLaw:
    """Fit a power law to a spectrum, by least squares on logarithms of variance and rank.

    Args:
        first: the first rank of the range, from 1.
        last: the last one; half of the ranks that have variance if omitted, since the lower half of a sample's
            spectrum falls for want of points. Ranks without variance are left out.

    Raises:
        GeometryError: fewer than three ranks with variance in the range.

    Example:
        >>> from manifoldscope.geometry.reference import power_law_variances
        >>> found = power_law(Spectrum(power_law_variances(100, 1.5), n_points=999, n_features=100))
        >>> round(found.exponent, 6), round(found.r_squared, 6), found.first, found.last
        (1.5, 1.0, 1, 50)
    """
    if first < 1 or (last is not None and last < first):
        raise GeometryError(f"ranks {first} to {last}; expected 1 <= first <= last")
    positive = int((spectrum.eigenvalues > 0).sum())
    end = min(positive, max(positive // 2, first + 2) if last is None else last)
    if end - first < 2:
        raise GeometryError(
            f"{max(0, end - first + 1)} of {positive} eigenvalues above 0 lie in ranks {first} to {last or end}; a "
            "power law needs three: give more points, or an earlier first rank"
        )
    logs = spectrum.eigenvalues[first - 1 : end].log()
    ranks = torch.arange(first, end + 1, dtype=torch.float64).log()
    logs, ranks = logs - logs.mean(), ranks - ranks.mean()
    slope = float(ranks @ logs / (ranks @ ranks))
    spread = float(logs @ logs)
    missed = float((logs - slope * ranks).square().sum())
    return PowerLaw(exponent=-slope, r_squared=1 - missed / spread if spread > 0 else 1.0, first=first, last=end)


@MEASURES.of_spectrum("decay_exponent", invariant_to=INVARIANCES)
def decay_exponent(
    spectrum: Spectrum, *, first: int = 1, last: int | None = None, law: float | None = None
) -> Estimate:
    """How fast the eigenvalues fall with their rank: a in rank^-a, by least squares on logarithms.

    This is alpha-ReQ's exponent (Agrawal et al. 2022) where the points are those of all classes together.

    The note gives the range of ranks and R^2, since a line can be drawn through any spectrum. A sample is not its
    population: 50 points of a Gaussian with 2,048 features and exponent 1 fit as 0.65 to 0.73, 300 points as 0.85, and
    exponent 2 fits as about 2.0 for both. With `law`, the note says what a sample of the same size of that exponent
    shows (see `expected_decay_exponent`).

    Args:
        spectrum: of the class, or its points; see `measure`.
        first, last: the ranks to fit, from 1; up to half of those that have variance where `last` is left out.
        law: an exponent to compare with, such as 1.0; it costs eight random samples for each size of class.

    Raises:
        GeometryError: a range that is none, or a negative law.

    References:
        Stringer, Pachitariu, Steinmetz, Carandini and Harris, "High-dimensional geometry of population responses in
        visual cortex" (2019), which fits ranks 11 to 500 of cross-validated eigenvalues; Agrawal, Mondal, Ghosh and
        Richards, "alpha-ReQ: assessing representation quality in self-supervised learning by measuring eigenspectrum
        decay" (2022).

    Example:
        >>> from manifoldscope.geometry.reference import power_law_variances
        >>> estimate = decay_exponent(Spectrum(power_law_variances(100, 1.5), n_points=999, n_features=100))
        >>> round(estimate.value, 6), estimate.note
        (1.5, 'ranks 1 to 50, R² 1.000')
    """
    parameters = {"first": first, "last": last, "law": law}
    if spectrum.total_variance == 0:
        return _estimate(spectrum, value=math.nan, ceiling=None, parameters=parameters)
    beside = "" if law is None else f"; {_shown(law, spectrum.n_points, spectrum.n_features, first, last)}"
    try:
        found = power_law(spectrum, first=first, last=last)
    except GeometryError as error:
        return _estimate(spectrum, value=math.nan, ceiling=None, parameters=parameters, note=str(error))
    return _estimate(
        spectrum,
        value=found.exponent,
        ceiling=None,
        parameters=parameters,
        note=f"ranks {found.first} to {found.last}, R² {found.r_squared:.3f}{beside}",
    )


@lru_cache(maxsize=256)
def _shown(law: float, n_points: int, n_features: int, first: int, last: int | None) -> str:
    """What samples of this size of a known law show, in words; the same for all classes of one size."""
    drawing = generator(0, "decay exponent", n_points, n_features)
    found = expected_decay_exponent(law, n_points, n_features, first=first, last=last, generator=drawing)
    if math.isnan(found.value):
        return f"a sample of this size of exponent {law:g} has none: {found.note}"
    return f"a sample of this size of exponent {law:g} shows {found.value:.3g}, give or take {found.stderr or 0:.2g}"


def _estimate(
    spectrum: Spectrum, *, value: float, ceiling: float | None, parameters: Mapping[str, Any], note: str = ""
) -> Estimate:
    """The value with its sample, and the reason where there is no variance."""
    constant = spectrum.total_variance == 0
    return Estimate(
        value=float(value),
        n_points=spectrum.n_points,
        n_features=spectrum.n_features,
        ceiling=ceiling,
        parameters=parameters,
        note="all points are the same, so there is no variance to have dimensions" if constant else note,
    )
