"""Which tables a study lacks without which something cannot be said."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

NEEDED = ("models", "geometry", "robustness", "associations", "checks")
"""Tables that every study has."""


def missing(tables: Mapping[str, pl.DataFrame]) -> list[str]:
    """The needed tables that are absent or empty.

    Example:
        >>> missing({"models": pl.DataFrame({"model": ["net"]})})
        ['geometry', 'robustness', 'associations', 'checks']
    """
    return [name for name in NEEDED if name not in tables or tables[name].is_empty()]
