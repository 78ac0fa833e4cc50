"""The straight line through a cloud of classes, with its 95% band: what is drawn beside a coefficient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from manifoldscope.report.rows import Reals

FEWEST = 4
"""Below so many classes there is no line."""


@dataclass(frozen=True)
class Line:
    """Least squares of y on x.

    Attributes:
        slope, intercept: of the line.
        half: Student's quantile times the standard deviation of the residuals.
        n, mean, spread: classes; the mean of x; the sum of its squared deviations.
    """

    slope: float
    intercept: float
    half: float
    n: int
    mean: float
    spread: float

    def at(self, x: Reals) -> Reals:
        """The line at these places."""
        return self.intercept + self.slope * x

    def band(self, x: Reals) -> Reals:
        """Half the 95% band of the line at these places."""
        band: Reals = self.half * np.sqrt(1 / self.n + (x - self.mean) ** 2 / self.spread)
        return band


def regression(x: Reals, y: Reals) -> Line | None:
    """The line through the points of which both are finite; None of fewer than four, or where x does not vary.

    Example:
        >>> line = regression(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 3.0, 5.0, 7.0]))
        >>> round(line.slope, 9), round(line.intercept, 9), round(line.half, 9)
        (2.0, 1.0, 0.0)
    """
    known = np.isfinite(x) & np.isfinite(y)
    n = int(known.sum())
    if n < FEWEST:
        return None
    a, b = x[known], y[known]
    mean = float(a.mean())
    spread = float(((a - mean) ** 2).sum())
    if spread <= 1e-18 * max(1.0, float((a**2).sum())):
        return None
    slope = float(((a - mean) * (b - b.mean())).sum()) / spread
    intercept = float(b.mean()) - slope * mean
    residual = float(np.sqrt(((b - intercept - slope * a) ** 2).sum() / (n - 2)))
    return Line(slope, intercept, float(special.stdtrit(n - 2, 0.975)) * residual, n, mean, spread)
