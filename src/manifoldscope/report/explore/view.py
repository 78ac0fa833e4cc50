"""What a view of the page is, and how it is registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from manifoldscope.evidence import at_chance, with_attack_name
from manifoldscope.registry import Registry
from manifoldscope.report.contents import Contents, Measure
from manifoldscope.report.explore.selection import Selection
from manifoldscope.report.rows import Reals, clean_geometry, reals

VIEWS = Registry("view", package="manifoldscope.report.explore.views")
"""Functions of an `Explored` that return what a view shows, as JSON; None where there is nothing.

Registered with a `title`, a `caption` that says how it is read, a `place` among the others, its `script`: the file in
`report/web/views`, or the path of one elsewhere, that exports `view`; and `missing`, why there may be nothing.
"""

WEB = Path(__file__).parents[1] / "web"
"""Where the scripts are."""


@dataclass(frozen=True)
class Explored:
    """What a view is made from: all tables and pictures, and what of them is in this page.

    Data refers to networks, layers, measures, attacks, strengths, iterates and classes by their position.
    """

    contents: Contents
    selection: Selection

    @property
    def networks(self) -> tuple[str, ...]:
        """Their names."""
        return self.selection.networks

    @property
    def layers(self) -> tuple[str, ...]:
        """Their names."""
        return self.selection.layers

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Names with parameters."""
        return self.selection.measures

    @property
    def attacks(self) -> tuple[str, ...]:
        """Their names, as `evidence.with_attack_name` has them."""
        return self.selection.attacks

    @property
    def classes(self) -> tuple[int, ...]:
        """Their indices."""
        return self.selection.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the same."""
        return self.selection.class_names

    @cached_property
    def class_position(self) -> Mapping[int, int]:
        """The position of a class by its index."""
        return {index: place for place, index in enumerate(self.classes)}

    def strengths(self, attack: str) -> list[float]:
        """Of an attack, rising."""
        return self._ways[attack][0]

    def iterates(self, attack: str) -> list[str]:
        """Of an attack, `last` before `any`."""
        return self._ways[attack][1]

    @cached_property
    def robustness(self) -> pl.DataFrame:
        """The rows of `robustness` that are in this page, with columns n, a, s, i and c: positions."""
        named = with_attack_name(self.contents.tables["robustness"])
        rows = placed(named, "model", self.networks, "n")
        return self.under_attacks(placed(rows, "class_index", self.classes, "c"), "attack_name")

    @cached_property
    def cells(self) -> Mapping[str, pl.DataFrame]:
        """The rows of `geometry` of clean images of each network, layer and measure: "n.l.m"."""
        rows = self.of_layers(clean_geometry(self.contents.tables["geometry"]))
        rows = rows.filter(pl.col("class_index").is_in(list(self.classes)))
        parts = rows.partition_by("n", "l", "m", as_dict=True, maintain_order=True)
        return {".".join(map(str, key)): part for key, part in parts.items()}

    @cached_property
    def values(self) -> Mapping[str, Reals]:
        """The value of every class in each network, layer and measure ("n.l.m")."""
        return {key: self.over_classes(rows, "value") for key, rows in self.cells.items()}

    @cached_property
    def counts(self) -> Mapping[str, tuple[Reals, Reals, Reals]]:
        """Of every class under each network, attack, strength and iterate ("n.a.s.i"): images, robust ones, and those
        correct when clean."""
        parts = self.robustness.partition_by("n", "a", "s", "i", as_dict=True, maintain_order=True)
        return {
            ".".join(map(str, key)): (
                self.over_classes(rows, "n_images"),
                self.over_classes(rows, "n_robust"),
                self.over_classes(rows, "n_clean_correct"),
            )
            for key, rows in parts.items()
        }

    @cached_property
    def at_chance(self) -> Mapping[str, float]:
        """The networks that are no better than chance when clean."""
        return at_chance(self.contents.tables["models"])

    def over_classes(self, rows: pl.DataFrame, column: str) -> Reals:
        """(C,) of a column of rows of single classes; NaN for a class without."""
        found = np.full(len(self.classes), np.nan)
        found[[self.class_position[index] for index in rows["class_index"]]] = reals(rows, column)
        return found

    def under_attacks(self, table: pl.DataFrame, column: str = "attack") -> pl.DataFrame:
        """The rows by attack (its name in `column`), strength and iterate that are here, with columns a, s and i."""
        rows = placed(table, column, self.attacks, "a")
        parts = [
            placed(
                placed(rows.filter(pl.col("a") == place), "strength", self.strengths(attack), "s"),
                "iterate",
                self.iterates(attack),
                "i",
            )
            for place, attack in enumerate(self.attacks)
        ]
        return pl.concat([rows.clear().with_columns(s=pl.lit(0, pl.Int64), i=pl.lit(0, pl.Int64)), *parts])

    def of_layers(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows by model, layer, measure and parameters that are in this page, with columns n, l and m."""
        rows = placed(placed(table, "model", self.networks, "n"), "layer", self.layers, "l")
        known = pl.DataFrame(
            [(*measure, place) for place, measure in enumerate(self.measures)],
            schema={"measure": pl.String, "_parameters": pl.String, "m": pl.Int64},
            orient="row",
        )
        with_text = rows.with_columns(_parameters=pl.col("parameters").fill_null(""))
        return with_text.join(known, on=["measure", "_parameters"], maintain_order="left").drop("_parameters")

    @cached_property
    def _ways(self) -> Mapping[str, tuple[list[float], list[str]]]:
        """Strengths and iterates of each attack."""
        named = with_attack_name(self.contents.tables["robustness"])
        rows = {attack: named.filter(pl.col("attack_name") == attack) for attack in self.attacks}
        return {
            attack: (
                sorted(each["strength"].unique().to_list()),
                sorted(each["iterate"].unique().to_list(), key=lambda name: name != "last"),
            )
            for attack, each in rows.items()
        }


def placed(rows: pl.DataFrame, column: str, values: Sequence[object], name: str) -> pl.DataFrame:
    """The rows whose value in a column is one of these, with its position as another column."""
    known = pl.DataFrame(
        {column: list(values), name: list(range(len(values)))}, schema={column: rows.schema[column], name: pl.Int64}
    )
    return rows.join(known, on=column, maintain_order="left")


def scripts() -> dict[str, Path]:
    """The file that draws each view, by the name of the view."""
    return {entry.name: WEB / "views" / str(entry.traits["script"]) for entry in VIEWS}
