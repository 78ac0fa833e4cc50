"""Confusion: as which class attacked images are misclassified, and whether that goes with how two classes lie.

Pairs of classes are not independent, since each class is in many of them. So nothing is tested pair by pair: Mantel's
test permutes the classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import rankdata

from manifoldscope.errors import StudyError
from manifoldscope.seeds import numpy_generator

FEWEST_CLASSES = 5
"""With fewer classes than this there are too few orders of them for a test."""

_ROUNDING = 1e-12


@dataclass(frozen=True)
class PairAssociation:
    """How a value of two classes goes with the share of the one that is misclassified as the other.

    Attributes:
        coefficient: Spearman's rho over ordered pairs, a description; NaN where one of the two does not vary.
        p_value: of Mantel's test, two-sided; NaN where there is none.
        n_pairs: ordered pairs used.
        n_classes: classes that they are of.
    """

    coefficient: float
    p_value: float
    n_pairs: int
    n_classes: int


def confusions(outcomes: pl.DataFrame) -> pl.DataFrame:
    """As which class images are misclassified: those classified correctly when clean, and not at the last iterate.

    Args:
        outcomes: the table.

    Returns:
        A row per network, attack, strength and ordered pair of classes with at least one such image: `model`, `attack`,
        `parameters`, `strength`, `class_index`, `other_class_index`, `n_into` (images of the one that are classified
        as the other), `n_misclassified` (as any other) and `share`, of the two.

    Example:
        >>> rows = {"label": [0, 0, 0, 1], "clean_prediction": [0, 0, 0, 2], "last_prediction": [1, 1, 2, 0]}
        >>> same = {"model": "net", "attack": "pgd", "parameters": "", "strength": 0.1}
        >>> outcomes = pl.DataFrame(rows).with_columns(**{key: pl.lit(value) for key, value in same.items()})
        >>> confusions(outcomes).select("class_index", "other_class_index", "n_into", "n_misclassified").rows()
        [(0, 1, 2, 3), (0, 2, 1, 3)]
    """
    keys = ("model", "attack", "parameters", "strength", "label")
    misclassified = outcomes.filter(
        (pl.col("clean_prediction") == pl.col("label")) & (pl.col("last_prediction") != pl.col("label"))
    )
    return (
        misclassified.group_by(*keys, "last_prediction")
        .agg(pl.len().cast(pl.Int64).alias("n_into"))
        .with_columns(pl.col("n_into").sum().over(keys).alias("n_misclassified"))
        .with_columns((pl.col("n_into") / pl.col("n_misclassified")).alias("share"))
        .rename({"label": "class_index", "last_prediction": "other_class_index"})
        .sort("model", "attack", "parameters", "strength", "class_index", "other_class_index")
    )


def mantel(shares: npt.ArrayLike, values: npt.ArrayLike, *, permutations: int = 999, seed: int = 0) -> PairAssociation:
    """Spearman's rho over ordered pairs of classes, with a p-value by permutation of the classes.

    Rows and columns of `values` are permuted together, so that what makes pairs of one class alike is kept. The p-value
    is (b + 1) / (B + 1), where b of B permutations give at least this |rho|. There is none below five classes, nor
    where a pair has no value. Ranks of `values` are over all its pairs, those of `shares` over the rows that have any.

    Args:
        shares: (n_classes, n_classes); row i holds the shares of the misclassified images of class i. A row of NaN had
            none. The diagonal is not read.
        values: (n_classes, n_classes), symmetric. The diagonal is not read.
        permutations: of the classes; 0 for no p-value.
        seed: of the permutations.

    Raises:
        StudyError: matrices that are not square and of one size.

    References:
        Mantel, "The detection of disease clustering and a generalized regression approach" (1967).

    Example:
        >>> places = np.arange(8.0)
        >>> distances = np.abs(places[:, None] - places)
        >>> found = mantel(1 / (1 + distances), distances)
        >>> round(found.coefficient, 6), found.p_value < 0.01, found.n_pairs
        (-1.0, True, 56)
    """
    shares, values = np.asarray(shares, dtype=np.float64), np.asarray(values, dtype=np.float64)
    n_classes = len(values)
    if shares.shape != (n_classes, n_classes) or values.shape != shares.shape:
        raise StudyError(
            f"shares {shares.shape} and values {values.shape}; expected two square matrices over the same classes"
        )
    pairs = ~np.eye(n_classes, dtype=bool)
    known = pairs & np.isfinite(values)
    used = known & np.isfinite(shares)
    n_pairs = int(used.sum())
    ranks = np.zeros_like(values)
    ranks[known] = rankdata(values[known])
    if n_pairs < 3 or np.ptp(shares[used]) == 0 or np.ptp(ranks[used]) == 0:
        return PairAssociation(math.nan, math.nan, n_pairs, n_classes)
    # Mantel's statistic is sum_ij w_ij v_ij; with w standardised, and over the deviation of v, it is a correlation.
    weights, counted = np.zeros_like(values), used.astype(np.float64)
    wanted = rankdata(shares[used])
    weights[used] = (wanted - wanted.mean()) / wanted.std()
    coefficient = _correlation(ranks, weights, counted)
    p_value = math.nan
    if permutations and n_classes >= FEWEST_CLASSES and known.sum() == pairs.sum():
        random = numpy_generator(seed, "classes", n_classes)
        orders = (random.permutation(n_classes) for _ in range(permutations))
        drawn = np.array([_correlation(ranks[order][:, order], weights, counted) for order in orders])
        # Equality up to rounding counts: the observed order is itself one of the permutations.
        p_value = (int((np.abs(drawn) >= abs(coefficient) - _ROUNDING).sum()) + 1) / (permutations + 1)
    return PairAssociation(coefficient, p_value, n_pairs, n_classes)


def _correlation(
    ranks: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], counted: npt.NDArray[np.float64]
) -> float:
    """Of the ranks that are counted (1, or else 0) with weights that have mean 0 and deviation 1 over these."""
    n, total, squares = counted.sum(), np.vdot(counted, ranks), np.vdot(counted, np.square(ranks))
    variance = squares / n - (total / n) ** 2
    return float(np.vdot(weights, ranks) / n / math.sqrt(variance)) if variance > _ROUNDING * squares / n else 0.0
