"""The numbers of the page: what was measured of each class, and how many of its images are robust."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifoldscope.evidence import wilson
from manifoldscope.evidence.two_draws import log_odds
from manifoldscope.report.explore.numbers import one_or_all, shorts
from manifoldscope.report.explore.view import Explored
from manifoldscope.report.rows import reals

_Z = 1.959964


def measured(page: Explored) -> dict[str, dict[str, Any]]:
    """Of each network, layer and measure ("n.l.m") the value of every class, half its interval, and its ceiling."""
    found = {}
    for key, rows in page.cells.items():
        half, ceiling = (page.over_classes(rows, name) for name in ("stderr", "ceiling"))
        found[key] = {
            "value": shorts(page.values[key]),
            "half": None if np.isnan(half).all() else shorts(_Z * half, 3),
            "ceiling": None if np.isnan(ceiling).all() else one_or_all(shorts(ceiling)),
            "n": one_or_all(shorts(page.over_classes(rows, "n_points"))),
        }
    return found


def accuracies(page: Explored) -> dict[str, dict[str, Any]]:
    """Of each network, attack, strength and iterate ("n.a.s.i") the images of every class, and those that are robust.

    `clean` are those that are correct when clean; `odds` and `odds_half` are the log-odds of being robust among these,
    with half its interval (delta method).
    """
    found = {}
    for key, (n, k, clean) in page.counts.items():
        with np.errstate(invalid="ignore"):
            stderr = np.sqrt(1 / (k + 0.5) + 1 / (clean - k + 0.5))
            odds = np.where(clean > 0, log_odds(k, clean), np.nan)
        found[key] = {
            "n": one_or_all(shorts(n)),
            "k": shorts(k),
            "clean": shorts(clean),
            "odds": shorts(odds, 4),
            "odds_half": shorts(np.where(clean > 0, _Z * stderr, np.nan), 3),
        }
    return found


def intervals(page: Explored) -> dict[str, list[float | None]]:
    """The 95% Wilson interval of every share in the page, by "successes/trials"."""
    pairs = page.robustness.select("n_robust", "n_images").unique().sort("n_images", "n_robust").drop_nulls()
    low, high = wilson(reals(pairs, "n_robust"), reals(pairs, "n_images"))
    ends = zip(shorts(low, 4), shorts(high, 4), strict=True)
    return {f"{k}/{n}": list(both) for (k, n), both in zip(pairs.rows(), ends, strict=True)}
