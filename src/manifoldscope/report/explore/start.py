"""Where the reader begins: at the network, layer and attack that the answer is about, with its most fragile class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from manifoldscope.evidence.across_classes import Pair, across_classes
from manifoldscope.report.central_pair import central_pair
from manifoldscope.report.explore.view import Explored


def _shown(page: Explored, pair: Pair) -> bool:
    return pair.model in page.networks and pair.layer in page.layers and pair.attack in page.attacks


def start(page: Explored, views: Sequence[str]) -> dict[str, Any]:
    """The first choice, by positions."""
    tables = page.contents.tables
    fact, pair = across_classes(tables), central_pair(tables, lambda pair: _shown(page, pair))
    at = dict.fromkeys(("network", "layer", "measure", "attack", "strength", "iterate", "outcome"), 0)
    if fact is not None and pair is not None:
        measure = (fact.measure, fact.parameters or "")
        at["network"], at["layer"] = page.networks.index(pair.model), page.layers.index(pair.layer)
        at["measure"] = page.measures.index(measure) if measure in page.measures else 0
        at["attack"] = page.attacks.index(pair.attack)
        at["strength"] = page.strengths(pair.attack).index(pair.strength)
        at["iterate"] = page.iterates(pair.attack).index(pair.iterate)
    elif page.attacks:
        at["strength"] = len(page.strengths(page.attacks[0])) // 2
    return {**at, "classes": _most_fragile(page, at), "view": views[0] if views else ""}


def _most_fragile(page: Explored, at: dict[str, int]) -> list[int]:
    key = ".".join(str(at[name]) for name in ("network", "attack", "strength", "iterate"))
    found = page.counts.get(key)
    if found is None:
        return [0] if page.classes else []
    with np.errstate(invalid="ignore", divide="ignore"):
        share = found[1] / found[0]
    return [int(np.nanargmin(share))] if np.isfinite(share).any() else []
