"""Intervals of the shares of many classes that hold together, and the ranks that they leave open.

The class with the lowest accuracy is chosen after looking. An interval that holds for every class at once holds for it
too.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from manifoldscope.evidence.proportions import Reals

Ranks = NDArray[np.int64]


def simultaneous(successes: Reals, trials: Reals, *, confidence: float = 0.95) -> tuple[Reals, Reals]:
    """Intervals of proportions that all hold at once with this confidence; NaN where there were no trials.

    Each is exact (Clopper and Pearson 1934) at the level confidence^(1/K), for K independent proportions (Šidák 1967).
    Wilson's interval does not hold at such levels: where shares are near 0, its lower limit is far too high.

    Example:
        >>> low, high = simultaneous(np.array([0.0, 25.0]), np.array([50.0, 50.0]))
        >>> low.round(3).tolist(), high.round(3).tolist()
        ([0.0, 0.337], [0.084, 0.663])
    """
    known = trials > 0
    n_classes = max(int(known.sum()), 1)
    tail = -math.expm1(math.log(confidence) / n_classes) / 2
    n = np.where(known, trials, 1.0)
    x = np.where(known, successes, 0.0)
    low = np.where(x > 0, special.betaincinv(np.maximum(x, 1), n - x + 1, tail), 0.0)
    high = np.where(x < n, special.betaincinv(x + 1, np.maximum(n - x, 1), 1 - tail), 1.0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def joint_ranks(low: Reals, high: Reals) -> tuple[Ranks, Ranks]:
    """The first and the last rank that each class may have, 1 for the lowest; all hold at once where intervals do.

    A class certainly ranks above those whose intervals lie below its own, and below those whose intervals lie above
    (Klein, Wright and Wieczorek, "A joint confidence region for an overall ranking of populations", 2020).

    Args:
        low, high: simultaneous intervals, as of `simultaneous`.

    Example:
        >>> first, last = joint_ranks(np.array([0.0, 0.1, 0.5]), np.array([0.2, 0.4, 0.9]))
        >>> first.tolist(), last.tolist()
        ([1, 1, 3], [2, 2, 3])
    """
    first = 1 + np.searchsorted(np.sort(high), low, side="left")
    last = np.searchsorted(np.sort(low), high, side="right")
    return first.astype(np.int64), last.astype(np.int64)
