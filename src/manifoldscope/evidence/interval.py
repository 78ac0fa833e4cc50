"""Intervals of correlations: the jackknife for Pearson's and for what controls leave, Fisher's z for Spearman's."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.permutation import Block

EDGE = 1 - 1e-12
"""A coefficient beyond this is 1."""


def jackknife_interval(block: Block, confidence: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Limits (n_x, n_y) of the coefficients of a block: Fisher's z, with the standard error of a jackknife.

    Each class is left out in turn, and the controls are taken out anew. Student's t has K - 2 - d degrees of freedom
    (Efron and Tibshirani 1993, chapter 11). NaN where there is no coefficient, or no degree of freedom.
    """
    n, freedom = block.n, block.n - 2 - len(block.own)
    whole = block.coefficients
    if freedom < 1:
        return np.full_like(whole, np.nan), np.full_like(whole, np.nan)
    z = np.arctanh(whole.clip(-EDGE, EDGE))
    left_out = np.arctanh(block.left_out.clip(-EDGE, EDGE))
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    margin = special.stdtrit(freedom, (1 + confidence) / 2) * error
    low, high = np.tanh(z - margin), np.tanh(z + margin)
    exact = np.abs(whole) >= EDGE
    return np.where(exact, whole, low), np.where(exact, whole, high)


def spearman_interval(r: float, n: int, n_controls: int = 0, confidence: float = 0.95) -> tuple[float, float]:
    """Limits of a rank correlation by Fisher's z; NaN below n = 4 + n_controls.

    Its variance is (1 + r^2 / 2) / (n - 3) (Bonett and Wright 2000, "Sample size requirements for estimating Pearson,
    Kendall and Spearman correlations").

    Example:
        >>> [round(limit, 3) for limit in spearman_interval(0.5, 30)]
        [0.148, 0.74]
    """
    freedom = n - 3 - n_controls
    if freedom < 1 or math.isnan(r):
        return math.nan, math.nan
    if abs(r) >= EDGE:
        return r, r
    margin = float(special.ndtri((1 + confidence) / 2)) * math.sqrt((1 + r * r / 2) / freedom)
    z = math.atanh(r)
    return math.tanh(z - margin), math.tanh(z + margin)


def disattenuated(
    r: float, low: float, high: float, reliability_x: float, reliability_y: float, *, least: float = 0.2
) -> tuple[float, float, float] | None:
    """A correlation and its limits without the noise of what was measured; None where a reliability is below `least`.

    Divided by the root of the two reliabilities (Spearman 1904), and held within [-1, 1].

    Example:
        >>> [round(each, 3) for each in disattenuated(0.4, 0.1, 0.6, 0.64, 1.0)]
        [0.5, 0.125, 0.75]
    """
    if not (reliability_x >= least and reliability_y >= least):
        return None
    root = math.sqrt(reliability_x * reliability_y)
    value, below, above = (max(-1.0, min(1.0, each / root)) for each in (r, low, high))
    return value, below, above
