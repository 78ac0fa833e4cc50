"""Draws: the bootstrap interval of a correlation, and its permutation test."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from manifoldscope.evidence.coefficient import (
    DEGENERATE,
    Method,
    coefficients,
    projected,
    standardised,
    weighted_ranks,
)
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.seeds import numpy_generator

_BLOCK_ELEMENTS = 1 << 18
"""How many permuted numbers are held at once (2 MiB, so that they stay in the processor's cache)."""


def bootstrap_interval(
    values: FloatArray, method: Method, coefficient: float, draws: int, confidence: float, seed: int
) -> tuple[float, float, str]:
    """The bootstrap interval, and what must be said of it."""
    if not draws:
        return math.nan, math.nan, ""
    n = values.shape[1]
    drawn = coefficients(values, _resamples(n, draws, seed), method)
    usable: FloatArray = np.sort(drawn[np.isfinite(drawn)])
    skipped = draws - len(usable)
    note = f"{skipped} of {draws} bootstrap draws held a constant and were left out" if skipped else ""
    if len(usable) < draws / 2:
        return math.nan, math.nan, f"{note}: too many for an interval"
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(usable, _corrected(tails, usable, values, method, coefficient))
    return float(low), float(high), note


def _corrected(
    tails: FloatArray, usable: FloatArray, values: FloatArray, method: Method, coefficient: float
) -> FloatArray:
    """The quantiles to read for these tails: Efron (1987), equation 2.3 with the jackknife's acceleration (6.6)."""
    # z0, the bias: where the estimate lies among its draws; of draws that equal it, half count as below.
    n = values.shape[1]
    below = float(((usable < coefficient - 1e-12).mean() + (usable <= coefficient + 1e-12).mean()) / 2)
    left_out = coefficients(values, 1 - np.eye(n), method)
    if not 0 < below < 1 or np.isnan(left_out).any():
        return tails
    # a, the acceleration: a sixth of the skewness of the jackknife's influence values.
    influence = left_out.mean() - left_out
    spread = float((influence**2).sum())
    if spread <= DEGENERATE**2:
        return tails
    acceleration = float((influence**3).sum()) / (6 * spread**1.5)
    bias = float(special.ndtri(below))
    shifted = bias + special.ndtri(tails)
    corrected: FloatArray = special.ndtr(bias + shifted / (1 - acceleration * shifted))
    return corrected


def permutation_p(values: FloatArray, method: Method, coefficient: float, draws: int, seed: int) -> float:
    """Freedman and Lane's test: permute what the controls leave of y, and take the controls out again.

    Freedman and Lane, "A nonstochastic interpretation of reported significance levels" (1983); so Winkler et al.
    (2014), table 2. Without controls it is Pitman's test of a correlation.
    """
    n = values.shape[1]
    if method == "spearman":
        values = np.stack([weighted_ranks(row, np.ones((1, n)))[0] for row in values])
    rows = standardised(values)
    basis = _orthonormal(rows[2:])
    x, y = (row - basis.T @ (basis @ row) for row in rows[:2])
    directions = np.vstack([x / np.linalg.norm(x), basis])
    # With R = I - Z Z' for the orthonormal controls Z, x and y stand for R x and R y. A permuted y is P y, and the
    # coefficient is x' P y / (|x| |R P y|), where |R P y|^2 = |y|^2 - |Z' P y|^2: R P y itself is never made.
    extreme = 0
    for orders in _in_blocks(_permutations(n, draws, seed)):
        along = projected(np.take(y, orders), directions)
        squared = y @ y - (along[:, 1:] ** 2).sum(axis=1)
        # Equality up to rounding counts: the observed order is itself one of the permutations.
        extreme += int((along[:, 0] ** 2 >= (coefficient**2 - 1e-10) * squared).sum())
    return (extreme + 1) / (draws + 1)


def _orthonormal(rows: FloatArray) -> FloatArray:
    """An orthonormal basis, in rows, of what these rows span."""
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    basis: FloatArray = axes[sizes > 1e-5 * sizes.max(initial=0.0)]
    return basis


def _in_blocks(orders: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    step = max(1, _BLOCK_ELEMENTS // orders.shape[1])
    for start in range(0, len(orders), step):
        yield orders[start : start + step]


@lru_cache(maxsize=8)
def _resamples(n: int, draws: int, seed: int) -> FloatArray:
    """(draws, n) how often each of n pairs is in each bootstrap draw."""
    counts = numpy_generator(seed, "bootstrap", n).multinomial(n, np.full(n, 1 / n), size=draws)
    return counts.astype(np.float64)


@lru_cache(maxsize=4)
def _permutations(n: int, draws: int, seed: int) -> npt.NDArray[np.intp]:
    """(draws, n) orders of n pairs."""
    orders = np.tile(np.arange(n, dtype=np.intp), (draws, 1))
    return numpy_generator(seed, "permutation", n).permuted(orders, axis=1, out=orders)
