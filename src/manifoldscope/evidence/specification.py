"""Specification curves, as facts: the coefficient under every choice of the analysis, and what they say together.

Of many layers, measures, attacks and outcomes there is always one that suits. A curve shows them all (Simonsohn,
Simmons and Nelson 2020), and its median is tested under permutations of the classes that are joint over them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import polars as pl

from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.grid import is_clean_accuracy
from manifoldscope.evidence.significance import Coefficient, finite

FEWEST_CELLS = 4
"""Fewer specifications than this are no curve."""

CURVES = {"": "pearson", "margin": "two_draws", "clean_accuracy": "two_draws"}
"""What is held fixed in each curve, and by which method its coefficients are made."""


@dataclass(frozen=True)
class Specification:
    """What is chosen in an analysis; a field for each choice, None where there is nothing to choose.

    Attributes:
        measure: with its parameters.
        attack: with its strength.
    """

    measure: tuple[str, str]
    layer: str
    attack: tuple[str, float | None]
    iterate: str | None
    outcome: str


CHOICES = tuple(field.name for field in fields(Specification))
"""The names of the choices."""


@dataclass(frozen=True)
class Cell:
    """One specification and its coefficient."""

    specification: Specification
    r: Coefficient


@dataclass(frozen=True)
class Curve:
    """All specifications of one network with one control.

    Attributes:
        control: what is held fixed: "margin", "clean_accuracy", or "" for nothing. The p of the median claims only
            what that removes.
        cells: by rising coefficient, without those of the clean accuracy itself; empty where no control could be made.
        median: of the coefficients, with its p; None where it was not tested.
        gates: why clean difficulty cannot be held fixed in some of the cells; empty where it can.
    """

    model: str
    control: str
    cells: tuple[Cell, ...]
    median: Coefficient | None
    gates: tuple[str, ...]

    @property
    def answers(self) -> bool:
        """Whether these data allow the test, and it was made."""
        return not self.gates and self.median is not None

    @property
    def seen(self) -> bool:
        """Whether the median is evidence, by a test that these data allow."""
        return not self.gates and self.median is not None and self.median.seen

    @property
    def n_negative(self) -> int:
        """How many coefficients are below 0; it says nothing without the median and its p."""
        return sum(cell.r.value < 0 for cell in self.cells)

    def values(self, choice: str) -> set[Hashable]:
        """What was chosen, over the cells."""
        found = {getattr(cell.specification, choice) for cell in self.cells}
        return found - {None}


@dataclass(frozen=True)
class Specifications:
    """The curves of a study.

    Attributes:
        curves: by network, at most one for each control in the order of `CURVES`.
        at_chance: networks that are left out, with their clean accuracy.
        rows: of the table `specifications`.
    """

    curves: Mapping[str, tuple[Curve, ...]]
    at_chance: Mapping[str, float]
    rows: tuple[Mapping[str, Any], ...]


def specification_curves(tables: Mapping[str, pl.DataFrame]) -> Specifications | None:
    """The curves of each network above chance level; None where no network has one.

    Args:
        tables: by name: associations, specifications and models.
    """
    associations, medians = tables["associations"], tables["specifications"]
    excluded = at_chance(tables["models"])
    models = [name for name in associations["model"].unique(maintain_order=True) if name != "*"]
    found = {model: tuple(_curves(model, associations, medians)) for model in models if model not in excluded}
    curves = {model: each for model, each in found.items() if each}
    if not curves:
        return None
    drawn = [(each.model, CURVES[each.control], each.control) for every in curves.values() for each in every]
    rows = {(row["model"], row["method"], row["controls"]): row for row in medians.iter_rows(named=True)}
    return Specifications(
        curves,
        {model: accuracy for model, accuracy in excluded.items() if model in models},
        tuple(rows[key] for key in drawn if key in rows),
    )


def _curves(model: str, associations: pl.DataFrame, medians: pl.DataFrame) -> Iterator[Curve]:
    for control, method in CURVES.items():
        which = (
            (pl.col("model") == model) & (pl.col("method") == method) & (pl.col("controls").fill_null("") == control)
        )
        rows = [row for row in associations.filter(which).to_dicts() if not is_clean_accuracy(row["strength"])]
        cells = [Cell(_specification(row), r) for row in rows if (r := Coefficient.of(row)) is not None]
        counted = [row for row in rows if Coefficient.of(row) is not None] or rows
        gates = dict.fromkeys(gate for row in counted for gate in (row["gate"] or "").split())
        if len(cells) < FEWEST_CELLS and not (gates and not cells and len(rows) >= FEWEST_CELLS):
            continue
        known = medians.filter(which).to_dicts()
        middle = finite(known[0]["median"]) if known else None
        yield Curve(
            model,
            control,
            tuple(sorted(cells, key=lambda cell: cell.r.value)),
            None if middle is None else Coefficient(middle, p_value=finite(known[0]["p_median"])),
            tuple(gates),
        )


def _specification(row: Mapping[str, Any]) -> Specification:
    return Specification(
        measure=(row["measure"], row["parameters"] or ""),
        layer=row["layer"],
        attack=(row["attack"], row["strength"]),
        iterate=row["iterate"],
        outcome=row["outcome"],
    )
