"""When a coefficient is evidence, and which one could have been seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy import special

from manifoldscope.errors import StudyError

SIGNIFICANT = 0.05
"""An adjusted p-value below this is called evidence."""


@dataclass(frozen=True)
class Coefficient:
    """A coefficient with its uncertainty, as a row of the table `associations` has it.

    Attributes:
        value: in [-1, 1].
        low, high: its 95% interval; None where there is none.
        p_value, p_adjusted: None where chance was not tested, or nothing was adjusted for.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any] | None) -> Coefficient | None:
        """That of a row; None where it has none, or there is no row."""
        names = ("coefficient", "low", "high", "p_value", "p_adjusted")
        value, *others = (finite(row[name]) if row is not None else None for name in names)
        return None if value is None else cls(value, *others)

    @property
    def seen(self) -> bool:
        """Whether it is evidence: p, adjusted where it was, is below 0.05."""
        p = self.p_value if self.p_adjusted is None else self.p_adjusted
        return p is not None and p < SIGNIFICANT

    @property
    def hinted(self) -> bool:
        """Whether p, not adjusted, is below 0.05."""
        return self.p_value is not None and self.p_value < SIGNIFICANT

    @property
    def at_border(self) -> bool:
        """Whether its interval and its p-value disagree about zero."""
        if self.p_value is None or self.low is None or self.high is None:
            return False
        return (self.low * self.high > 0) != self.seen


def finite(value: float | None) -> float | None:
    """The number; None where there is none."""
    return value if value is not None and math.isfinite(value) else None


def level_of_cell(level: float, n_cells: int) -> float:
    """The level of each of so many independent tests, so that any of them rejects with this level (Sidak 1967).

    Raises:
        StudyError: no cell.

    Example:
        >>> level_of_cell(0.05, 1), round(level_of_cell(0.05, 60), 5)
        (0.05, 0.00085)
    """
    if not n_cells >= 1:
        raise StudyError(f"n_cells = {n_cells}; expected a whole number from 1")
    return level if n_cells == 1 else -math.expm1(math.log1p(-level) / n_cells)


def smallest_detectable(n: int, *, power: float = 0.8, level: float = SIGNIFICANT, n_cells: int = 1) -> float:
    """The smallest |r| that a two-sided test over n pairs finds with this power, by Fisher's z; 1 below 4 pairs.

    Fisher (1921): atanh(r) of Gaussian pairs has a standard error of about 1 / sqrt(n - 3). Where p is adjusted for
    `n_cells` tests this is an upper bound: it takes them as independent, and the maximum statistic of cells that are
    not asks for less.

    Example:
        >>> round(smallest_detectable(10), 2), round(smallest_detectable(100), 2)
        (0.79, 0.28)
        >>> round(smallest_detectable(100, n_cells=60), 2)
        0.4
    """
    if n < 4:
        return 1.0
    level = level_of_cell(level, n_cells)
    return math.tanh(float(special.ndtri(1 - level / 2) + special.ndtri(power)) / math.sqrt(n - 3))
