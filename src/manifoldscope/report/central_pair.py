"""Which network and layer carry the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from manifoldscope.evidence.across_classes import Pair, across_classes


def central_pair(tables: Mapping[str, pl.DataFrame], among: Callable[[Pair], bool] = lambda pair: True) -> Pair | None:
    """The network and layer with the largest coefficient across classes; None where there is none.

    Args:
        among: which may be taken.
    """
    fact = across_classes(tables)
    pairs = [(pair, r) for pair, r in fact.asked if among(pair)] if fact is not None else []
    return max(pairs, key=lambda found: abs(found[1].value))[0] if pairs else None
