"""How reliable a measure and an outcome are across classes: the share of their variance that is no noise."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from manifoldscope.evidence.grid import MEASURE
from manifoldscope.evidence.numbers import FloatArray

FEWEST = 4
"""Classes that a reliability needs."""


def measure_reliabilities(draw_pairs: pl.DataFrame | None, model: str) -> dict[tuple[Any, ...], float]:
    """Of each measure of a network: its correlation over classes between equally many images of two draws.

    Args:
        draw_pairs: the table.

    Returns:
        By layer, measure and parameters. It is that of the smaller draw, and so no more than that of what is measured.
    """
    if draw_pairs is None:
        return {}
    known = draw_pairs.filter(
        (pl.col("model") == model) & pl.col("geometry").is_finite() & pl.col("robustness").is_finite()
    )
    found = known.group_by(MEASURE).agg(pl.corr("geometry", "robustness").alias("r"), pl.len().alias("n"))
    return {tuple(row[:3]): float(row[3]) for row in found.rows() if row[4] >= FEWEST and row[3] is not None}


def outcome_reliability(values: FloatArray, noise: FloatArray) -> float:
    """1 - mean sampling variance / variance over classes; NaN where either is not known, 0 where noise is all.

    Args:
        values, noise: (K,) outcomes, and the sampling variance of each.

    Example:
        >>> import numpy as np
        >>> round(outcome_reliability(np.array([0.2, 0.4, 0.6, 0.8]), np.full(4, 0.01)), 3)
        0.85
    """
    variance = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    if variance == 0 or not math.isfinite(mean := float(noise.mean())):
        return math.nan
    return max(0.0, 1 - mean / variance)
