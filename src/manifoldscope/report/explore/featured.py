"""Which classes come first where a page cannot hold what there is of all of them."""

from __future__ import annotations

import numpy as np

from manifoldscope.report.explore.view import Explored


def featured(page: Explored) -> list[int]:
    """The positions of all classes: the most fragile, the most robust, the next most fragile, and so on.

    Fragile is said of robust accuracy, averaged over the networks, attacks and strengths above 0 in the page; classes
    that were not attacked follow in their order.
    """
    strengths = [page.strengths(attack) for attack in page.attacks]
    shares = []
    for key, (images, robust, _) in page.counts.items():
        _, attack, strength, _ = map(int, key.split("."))
        if strengths[attack][strength] > 0:
            with np.errstate(invalid="ignore", divide="ignore"):
                shares.append(robust / images)
    known = np.isfinite(shares).sum(0) if shares else np.zeros(len(page.classes), dtype=np.int64)
    mean = np.nansum(shares, axis=0) / np.maximum(known, 1) if shares else known.astype(np.float64)
    attacked = np.flatnonzero(known)
    rising = attacked[np.argsort(mean[attacked], kind="stable")].tolist()
    order: list[int] = []
    while rising:
        order.append(rising.pop(0))
        if rising:
            order.append(rising.pop())
    return [*order, *np.flatnonzero(known == 0).tolist()]
