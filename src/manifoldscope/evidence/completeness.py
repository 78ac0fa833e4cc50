"""Which tables a study lacks without which something cannot be said."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

NEEDED = ("models", "geometry", "robustness", "associations", "checks")
"""Tables that most studies have."""


def missing(tables: Mapping[str, pl.DataFrame], asked: Collection[str] = NEEDED) -> list[str]:
    """The tables that were asked for and are absent or empty.

    Example:
        >>> missing({"models": pl.DataFrame({"model": ["net"]})})
        ['geometry', 'robustness', 'associations', 'checks']
    """
    return [name for name in NEEDED if name in asked and (name not in tables or tables[name].is_empty())]
