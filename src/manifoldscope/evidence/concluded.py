"""The tables that are made of other tables: associations, specification curves, networks by classes, defences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from manifoldscope.evidence.association_table import ASSOCIATIONS, SPECIFICATIONS, Asked, associate_study
from manifoldscope.evidence.defences import DEFENCES, defences_table
from manifoldscope.evidence.within_between import WITHIN_BETWEEN, within_between_table

TABLES = (ASSOCIATIONS, SPECIFICATIONS, WITHIN_BETWEEN, DEFENCES)


def concluded(
    tables: Mapping[str, pl.DataFrame], *, methods: Sequence[Asked], permutations: int, seed: int
) -> dict[str, pl.DataFrame]:
    """These tables, by name.

    Args:
        tables: those that units fill.
        methods, permutations, seed: see `associate_study`.
    """
    geometry, robustness, models = (tables[name] for name in ("geometry", "robustness", "models"))
    more: dict[str, Any] = {name: tables[name] for name in ("margins", "outcomes")}
    more |= {"permutations": permutations, "seed": seed}
    pairs = tables["draw_pairs"]
    found = associate_study(geometry, robustness, models, draw_pairs=pairs, methods=methods, **more)
    return {
        ASSOCIATIONS.name: found.associations,
        SPECIFICATIONS.name: found.specifications,
        DEFENCES.name: defences_table(tables),
        WITHIN_BETWEEN.name: within_between_table(geometry, robustness, models, **more),
    }
