"""Numbers as the page holds them: short, and none where there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

DIGITS = 5
"""Significant digits of a number in the page; tables have all."""


def short(value: float | None, digits: int = DIGITS) -> float | None:
    """The number with so many significant digits; None where it is not finite.

    Example:
        >>> short(12.345678), short(float("nan")), short(3.0)
        (12.346, None, 3)
    """
    if value is None or not math.isfinite(value):  # many times faster than numpy's of a single number
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded


def shorts(values: npt.ArrayLike | Iterable[float | None], digits: int = DIGITS) -> list[float | None]:
    """Each of the numbers, as `short` has it."""
    return [short(value, digits) for value in np.asarray(values, dtype=np.float64).tolist()]


def one_or_all(values: list[float | None]) -> float | list[float | None] | None:
    """A single number where all are the same: the page repeats it."""
    return values[0] if values and all(value == values[0] for value in values) else values
