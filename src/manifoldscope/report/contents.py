"""What a page is made from: plates, the galleries that hold them, and the tables and names that every figure sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from manifoldscope.report import behind, words
from manifoldscope.report.chart import Chart
from manifoldscope.report.pictures import Pictures
from manifoldscope.tables import TABLES, conform

MOST_MEASURES = 4
MOST_ATTACKS = 3


@dataclass(frozen=True)
class Plate:
    """One figure with its words and the table behind it; a plate for `more` waits folded."""

    name: str
    title: str
    caption: str
    chart: Chart
    table: pl.DataFrame
    more: bool = False


@dataclass(frozen=True)
class Gallery:
    """The figures that answer one question, or why there are none."""

    id: str
    title: str
    plates: Sequence[Plate]
    missing: str


@dataclass(frozen=True)
class Contents:
    """What every figure is made from."""

    tables: Mapping[str, pl.DataFrame]
    pictures: Pictures
    models: Sequence[str]
    layers: Sequence[str]
    attacks: Sequence[str]
    measures: Sequence[tuple[str, str]]

    def iterate(self, attack: str) -> str:
        """`last` (Algorithm 1 as written) where it was judged."""
        rows = behind.with_attack(self.tables["robustness"]).filter(pl.col("attack") == attack)
        return "last" if "last" in rows["iterate"].to_list() else "any"


def gather(study: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], pictures: Pictures) -> Contents:
    every = {name: conform(name, tables.get(name, [])) for name in TABLES}
    geometry, robustness = behind.clean_geometry(every["geometry"]), behind.with_attack(every["robustness"])
    models = {*every["models"]["model"], *geometry["model"], *robustness["model"]}
    models |= {p.model for group in (pictures.spectra, pictures.correlations, pictures.examples) for p in group}
    return Contents(
        tables=every,
        pictures=pictures,
        models=as_listed(models, _names(study, "models")),
        layers=as_listed({*geometry["layer"], *(p.layer for p in pictures.spectra)}, _names(study, "layers")),
        attacks=as_listed(set(robustness["attack"]), _names(study, "threats")),
        measures=behind.measured(every["geometry"]),
    )


def _names(study: Mapping[str, Any], section: str) -> list[str]:
    items = study.get(section) or []
    named = (item.get("name") or item.get("kind") if isinstance(item, Mapping) else item for item in items)
    return [str(name) for name in named]


def as_listed(present: set[str], listed: Sequence[str]) -> list[str]:
    """The names that are present in the order of the study file, where `name/seed` and `name ...` follow `name`."""

    def place(name: str) -> int:
        owners = (
            index for index, known in enumerate(listed) if name == known or name.startswith((f"{known}/", f"{known} "))
        )
        return next(owners, len(listed))

    return sorted(present, key=lambda name: (place(name), name))


def number_range(values: pl.Series) -> str:
    numbers = values.drop_nulls()
    if numbers.is_empty():
        return "the"
    low, high = int(numbers.min()), int(numbers.max())  # type: ignore[arg-type]  # whole numbers
    return words.number(low) if low == high else f"{words.number(low)} to {words.number(high)}"
