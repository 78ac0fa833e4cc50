"""From finished units to tables: each kind names and counts its own. Needs the store alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from manifoldscope.attacks.checks import minimal_checks
from manifoldscope.pictures import Picture
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Unit, kinds
from manifoldscope.tables import TABLES, conform


def collect(store: Store, units: Sequence[Unit]) -> dict[str, pl.DataFrame]:
    """Every table that units fill, from those that are done.

    Names of models, classes and attacks come from the plan, so that renaming one computes nothing again. What searches
    for minimal perturbations found is checked against the outcomes of all attacks, whichever kind of unit has them.
    """
    done = [unit for unit in units if store.done(unit)]
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    for kind in kinds():
        mine = [unit for unit in done if isinstance(unit, kind)]
        for name, found in kind.rows(store, mine).items():
            parts[name] += [found] if isinstance(found, pl.DataFrame) else found
    schemas = TABLES.known()
    tables = {
        name: conform(schemas[name], pl.concat([conform(schemas[name], part) for part in found]) if found else [])
        for name, found in parts.items()
    }
    refuted = [
        {"model": model, **row}
        for (model,), outcomes in tables["outcomes"].group_by(["model"], maintain_order=True)
        for row in minimal_checks(outcomes)
    ]
    checks = schemas["checks"]
    return tables | {"checks": conform(checks, pl.concat([tables["checks"], conform(checks, refuted)]))}


def pictures(store: Store, units: Sequence[Unit]) -> Iterator[Picture]:
    """What finished units kept for figures."""
    for unit in units:
        if store.done(unit):
            yield from unit.pictures(store)
