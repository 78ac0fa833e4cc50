"""The (partial) correlation of pairs under weights: what a draw with replacement and the whole sample share."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Literal

import numpy as np

from manifoldscope.evidence.numbers import FloatArray

Method = Literal["pearson", "spearman"]

DEGENERATE = 1e-10
"""Below this share of a variable's variance, what the controls leave of it is rounding."""


def standardised(values: FloatArray) -> FloatArray:
    """Rows with mean 0 and variance 1; a constant row becomes 0."""
    centred = values - values.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True))
    varies = np.ptp(values, axis=-1, keepdims=True) > 0
    scaled: FloatArray = np.divide(centred, scale, out=np.zeros_like(centred), where=varies & (scale > 0))
    return scaled


def coefficients(values: FloatArray, weights: FloatArray, method: Method) -> FloatArray:
    """The (partial) correlation of rows 0 and 1 given the further rows, under each row of weights.

    Args:
        values: (2 + k, n).
        weights: (draws, n) how often each pair is in each draw.

    Returns:
        (draws,) coefficients; NaN where x or y is constant once the controls are held fixed.
    """
    n_variables = len(values)
    total = weights.sum(axis=1)
    pairs = list(combinations_with_replacement(range(n_variables), 2))
    covariance = np.empty((len(weights), n_variables, n_variables))
    # Moments under weights w: cov(a, b) = sum(w a b) / sum(w) - mean(a) mean(b), of which a bootstrap draw needs no
    # more than two products of matrices.
    if method == "pearson":
        rows = standardised(values)
        means = projected(weights, rows) / total[:, None]
        products = projected(weights, np.stack([rows[i] * rows[j] for i, j in pairs])) / total[:, None]
        for column, (i, j) in enumerate(pairs):
            covariance[:, i, j] = covariance[:, j, i] = products[:, column] - means[:, i] * means[:, j]
    else:
        ranked = [weighted_ranks(row, weights) for row in values]
        middle = ((total + 1) / 2)[:, None]  # the mean of ranks, whatever the ties
        deviations = [ranks - middle for ranks in ranked]
        for i, j in pairs:
            products = np.einsum("bn,bn,bn->b", weights, deviations[i], deviations[j], optimize=False) / total
            covariance[:, i, j] = covariance[:, j, i] = products
    variance = 1.0 if method == "pearson" else values.shape[1] ** 2 / 12  # of a standardised row, or of ranks
    return _partial(covariance, rounding=DEGENERATE * variance)


def projected(matrix: FloatArray, rows: FloatArray) -> FloatArray:
    """matrix @ rows.T for a few rows, in one thread: more would cost more than they save, and could round otherwise."""
    return np.stack([np.einsum("bn,n->b", matrix, row) for row in rows], axis=1)


def _partial(covariance: FloatArray, *, rounding: float) -> FloatArray:
    """Correlations of variables 0 and 1 given the others, by the Schur complement of each covariance matrix."""
    # Of Gaussian variables, S_11 - S_12 S_22^-1 S_21 is the covariance given the others (Anderson 2003, section 2.5).
    # It is that of the residuals of least squares whatever the distribution.
    left = covariance[:, :2, :2]
    if covariance.shape[1] > 2:
        given = covariance[:, 2:, 2:]
        cross = covariance[:, :2, 2:]
        left = left - cross @ np.linalg.pinv(given, rcond=DEGENERATE, hermitian=True) @ cross.transpose(0, 2, 1)
    x, y = left[:, 0, 0], left[:, 1, 1]
    varies = (x > rounding) & (y > rounding)
    coefficients: FloatArray = np.where(varies, left[:, 0, 1] / np.sqrt(np.where(varies, x * y, 1.0)), np.nan)
    return coefficients.clip(-1.0, 1.0)


def weighted_ranks(row: FloatArray, weights: FloatArray) -> FloatArray:
    """(draws, n) rank of each value within each draw, the mean rank for ties, repeats being ties."""
    # A value that is drawn w times fills the ranks c + 1 to c + w, c being how many lie below: their mean is
    # c + (w + 1) / 2.
    _, group = np.unique(row, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    counts = np.take(weights, order, axis=1)
    if len(starts) < len(order):
        counts = np.add.reduceat(counts, starts, axis=1)
    ranks: FloatArray = np.take(np.cumsum(counts, axis=1) - (counts - 1) / 2, group, axis=1)
    return ranks
