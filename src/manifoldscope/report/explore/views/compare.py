"""Diagnosis cards side by side: the data are those of the cards and of the page."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifoldscope.report.explore.view import VIEWS, Explored


@VIEWS.register(
    "compare",
    title="Cards side by side",
    caption=(
        "The chosen classes beside each other, in the chosen network and layer and under the chosen attack. Marks are "
        "the chosen classes with their 95% intervals, where these are known; ticks are all classes, and of many "
        "classes bands show the middle half and the middle 95%. Accuracies are drawn from 0 to 100%, and each measure "
        "from its lowest to its highest value."
    ),
    place=15,
    script="compare.js",
    missing="there is a single class",
)
def compare(page: Explored) -> dict[str, Any] | None:
    """`suggested`: by network, attack, strength and iterate ("n.a.s.i") the classes of the lowest, the middle and the
    highest robust accuracy, for a reader who has chosen none; the rest is in the data of the cards."""
    if len(page.classes) < 2:
        return None
    found = {}
    for key, (images, robust, _) in page.counts.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            share = robust / images
        known = np.flatnonzero(np.isfinite(share))
        rising = known[np.argsort(share[known], kind="stable")]
        if len(rising) >= 2:
            places = dict.fromkeys((0, len(rising) // 2, len(rising) - 1))
            found[key] = [int(rising[place]) for place in places]
    return {"suggested": found}
