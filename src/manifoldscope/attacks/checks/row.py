"""One row of the table `checks`, and the interval of a share that several rows speak of."""

from __future__ import annotations

from typing import Any

from scipy import stats

Row = dict[str, Any]


def check(name: str, passed: bool | None, value: float | None, expected: str, note: str = "") -> Row:
    """One row of the table `checks`, but for the model's name; `passed` is None where nothing can be said."""
    return {"check": name, "passed": passed, "value": value, "expected": expected, "note": note}


def share_interval(n_hits: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided Clopper-Pearson interval of a share, from `n_hits` of `n`; n at least 1.

    Example:
        >>> [round(end, 3) for end in share_interval(3, 100)]
        [0.006, 0.085]
    """
    interval = stats.binomtest(n_hits, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)
