"""Replicates: one network trained again from another seed counts as the same network."""

from __future__ import annotations

import json

import polars as pl


def replicates(models: pl.DataFrame) -> dict[str, str]:
    """The name under which each network counts: its own, or that of the network it replicates with another seed.

    Args:
        models: the table; `provenance` is JSON text that may hold {"replicate_of": NAME}.

    Example:
        >>> models = pl.DataFrame({"model": ["a", "a-2"], "provenance": ["{}", '{"replicate_of": "a"}']})
        >>> replicates(models)
        {'a': 'a', 'a-2': 'a'}
    """
    names = {}
    for model, provenance in models.select("model", "provenance").iter_rows():
        try:
            known = json.loads(provenance or "{}")
        except json.JSONDecodeError:
            known = {}
        names[model] = str(known.get("replicate_of") or model) if isinstance(known, dict) else model
    return names
