"""Intervals of a share of images, and of the difference between two shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

_Z = 1.959964  # 95%, two-sided


def wilson(successes: Reals, trials: Reals, z: float = _Z) -> tuple[Reals, Reals]:
    """The 95% Wilson score interval of a proportion (Wilson 1927); NaN where there were no trials."""
    # The p for which |share - p| = z sqrt(p (1 - p) / n): both roots of a quadratic.
    trials = np.where(trials > 0, trials, np.nan)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # At a share of 0 or 1 the bound is the share itself, but for rounding.
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def difference(successes: Reals, trials: Reals, other_successes: Reals, other_trials: Reals) -> tuple[Reals, Reals]:
    """The 95% interval of one proportion less another, of independent trials (Newcombe 1998, by Wilson intervals).

    Example:
        >>> low, high = difference(np.array([56.0]), np.array([70.0]), np.array([48.0]), np.array([80.0]))
        >>> round(float(low[0]), 4), round(float(high[0]), 4)
        (0.0524, 0.3339)
    """
    (low, high), (other_low, other_high) = wilson(successes, trials), wilson(other_successes, other_trials)
    # Newcombe (1998), method 10: the distances of each share to its own bounds are added as squares.
    share = successes / np.where(trials > 0, trials, np.nan)
    other = other_successes / np.where(other_trials > 0, other_trials, np.nan)
    below = np.sqrt((share - low) ** 2 + (other_high - other) ** 2)
    above = np.sqrt((high - share) ** 2 + (other - other_low) ** 2)
    return share - other - below, share - other + above
