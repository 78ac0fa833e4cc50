"""The table of associations: every measure of a study against every outcome.

Every row is a cell: a network, a layer, a measure, an attack at a strength, an iterate, an outcome, and what is held
fixed. Cells are dependent, and so their classes are permuted together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from manifoldscope.errors import StudyError, unknown
from manifoldscope.evidence.association import leverage, nearly_constant
from manifoldscope.evidence.grid import MEASURE, Grid, alike, grid_across_networks, grids_of_networks
from manifoldscope.evidence.interval import disattenuated, jackknife_interval, spearman_interval
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.permutation import Block, joint_test
from manifoldscope.evidence.reliability import measure_reliabilities, outcome_reliability
from manifoldscope.evidence.significance import SIGNIFICANT
from manifoldscope.evidence.two_draws import (
    CONTROLS,
    Control,
    Difficulty,
    Gate,
    agreement,
    difficulty_of,
    gates_of,
    normal_scores,
    vanishes_at,
)
from manifoldscope.tables import INTEGER, REAL, TABLES, TEXT, Schema, conform, each_once

ASSOCIATIONS = Schema(
    name="associations",
    row="an association between a measure and an outcome of robustness across classes (model '*': across networks)",
    columns={
        "model": TEXT,
        "layer": TEXT,
        "measure": TEXT,
        "parameters": TEXT,
        "attack": TEXT,
        "strength": REAL,
        "iterate": TEXT,
        "outcome": TEXT,
        "method": TEXT,
        "controls": TEXT,
        "coefficient": REAL,
        "low": REAL,
        "high": REAL,
        "p_value": REAL,
        "p_adjusted": REAL,
        "n": INTEGER,
        "n_left_out": INTEGER,
        "measure_reliability": REAL,
        "outcome_reliability": REAL,
        "disattenuated": REAL,
        "disattenuated_low": REAL,
        "disattenuated_high": REAL,
        "most_influential": TEXT,
        "coefficient_without": REAL,
        "control_reliability": REAL,
        "vanishes_at": REAL,
        "gate": TEXT,
        "note": TEXT,
    },
    identity=(
        "model",
        "layer",
        "measure",
        "parameters",
        "attack",
        "strength",
        "iterate",
        "outcome",
        "method",
        "controls",
    ),
)

SPECIFICATIONS = Schema(
    name="specifications",
    row="all cells of a network with one method and one control: their median, beside what no association would give",
    columns={
        "model": TEXT,
        "method": TEXT,
        "controls": TEXT,
        "n_cells": INTEGER,
        "median": REAL,
        "p_median": REAL,
        "n_negative": INTEGER,
        "n_seen": INTEGER,
        "gate": TEXT,
    },
    identity=("model", "method", "controls"),
)

FEWEST_NETWORKS = 5
"""With fewer networks than this there is no association across networks, only a comparison."""

FEWEST_PAIRS = 4
"""With fewer classes or networks than this, and one more for each control, there is no coefficient."""

Asked = Literal["pearson", "spearman", "two_draws"]
Outcome = Literal["robust_accuracy", "log_odds", "minimal_epsilon"]

ASKED: tuple[Asked, ...] = ("pearson", "spearman", "two_draws")


@dataclass(frozen=True, eq=False)
class Associated:
    """Two tables: a row for each cell, and what the cells of each family say together."""

    associations: pl.DataFrame
    specifications: pl.DataFrame


def association_table(
    geometry: pl.DataFrame, robustness: pl.DataFrame, models: pl.DataFrame, **settings: Any
) -> pl.DataFrame:
    """The table "associations" alone: see `associate_study`, whose settings it takes.

    Example:
        >>> from manifoldscope.tables import conform
        >>> empty = {name: conform(name, []) for name in ("geometry", "robustness", "models")}
        >>> len(association_table(**empty))
        0
    """
    return associate_study(geometry, robustness, models, **settings).associations


def associate_study(
    geometry: pl.DataFrame,
    robustness: pl.DataFrame,
    models: pl.DataFrame,
    *,
    margins: pl.DataFrame | None = None,
    outcomes: pl.DataFrame | None = None,
    draw_pairs: pl.DataFrame | None = None,
    methods: Sequence[Asked] = ASKED,
    permutations: int = 10_000,
    seed: int = 0,
) -> Associated:
    """Every measure against every outcome: the tables "associations" and "specifications".

    *Cells.* Within a network the pairs are its classes. Outcomes are robust accuracy, its log-odds among the images
    that are correct when clean, and where a minimal perturbation was sought, its median over images: infinite where
    most images of a class hold at every epsilon, which is above all others by rank ("spearman"), and no number to the
    other methods, which leave such classes out and say so. "pearson" and "spearman" hold nothing fixed; "two_draws" is
    the primary test (see `two_draws`): it holds difficulty fixed, once by the margin and once by clean accuracy, and
    has no row where the outcome is the clean accuracy. Rows of the network "*" compare networks: the mean of the
    measure over classes against the mean outcome, where at least five networks have both; replicates of one network
    (named by "replicate_of" in `models.provenance`) are averaged first and count as one. Measures of a whole layer, and
    of attacked images, are not used.

    *Many cells.* `p_adjusted` compares each cell with the largest statistic of its family under joint permutations of
    the classes: all rows of one network with one method and one control; those of clean accuracy apart.

    *What is said besides.* `disattenuated`, with its limits, is Pearson's coefficient without the noise of the
    measure (its correlation between the draws) and of the outcome (binomial), where both reliabilities are known and at
    least .2. `gate` names why clean difficulty cannot be held fixed with these data; `vanishes_at` how
    reliable the control would have to be for the partial correlation to vanish; `most_influential` the class (or
    network) without which the coefficient differs most. A row without a coefficient has nulls, and the reason in
    `note`.

    Args:
        margins: the table; without it, or where both draws are the same images, there is no row of "two_draws".
        outcomes: the table, for minimal perturbations.
        draw_pairs: the table, for how reliable measures are.

    Raises:
        StudyError: an unknown method, or a count or an accuracy that cannot be.
        ManifoldscopeError: a row that stands twice in a table.
    """
    given = {"geometry": geometry, "robustness": robustness, "models": models, "margins": margins, "outcomes": outcomes}
    for name, table in given.items():
        if table is not None:
            each_once(table, TABLES[name])
    for method in methods:
        if method not in ASKED:
            raise StudyError(unknown("method", method, ASKED))
    found = [
        *(
            family
            for model, grid in grids_of_networks(geometry, robustness, outcomes)
            for family in _families(
                grid,
                model,
                difficulty_of(margins, model, grid.classes),
                methods,
                measure_reliabilities(draw_pairs, model),
            )
        ),
        *(
            family
            for grid in [grid_across_networks(geometry, robustness, outcomes, models)]
            if grid is not None and len(grid.classes) >= FEWEST_NETWORKS
            for family in _families(grid, "*", None, [method for method in methods if method != "two_draws"], {})
        ),
    ]
    parts = [family.tested(permutations, seed) for family in found]
    rows = [row for part, _ in parts for row in part if row["model"] != "*" or row["n"] >= FEWEST_NETWORKS]
    curves = [curve for _, curve in parts if curve is not None]
    return Associated(conform(ASSOCIATIONS, rows), conform(SPECIFICATIONS, curves))


Draws = tuple[Difficulty | None, Difficulty | None]
Places = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Cells:
    """Some measures and outcomes that have the same classes.

    Attributes:
        rows, columns: which measures and outcomes of the grid.
        have: (K,) which classes.
        said: of every cell.
        reliability: of the control; NaN without one.
        vanishes: (n_x, n_y) see `vanishes_at`.
    """

    block: Block
    rows: Places
    columns: Places
    have: npt.NDArray[np.bool_]
    gates: tuple[Gate, ...] = ()
    reliability: float = math.nan
    vanishes: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class _Family:
    """All cells of one network with one method and one control, which are tested together.

    Outcomes that are the clean accuracy itself (`clean`) are a family of their own, and have no curve.
    """

    grid: Grid
    model: str
    method: Asked
    control: Control | None
    draws: Draws | None
    reliabilities: Mapping[tuple[Any, ...], float]
    clean: bool = False

    def tested(self, permutations: int, seed: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Its rows, and what its specification curve says; None where there is no coefficient."""
        grid, ranked = self.grid, self.method == "spearman"
        fixed = {"model": self.model, "method": self.method, "controls": self.control or ""}
        found: dict[tuple[int, int], dict[str, Any]] = {}
        blocks: list[_Cells] = []
        for rows, columns, have, gate in self._patterns():
            notes = {row: _why_none(grid.x[row, have], self.control) for row in rows}
            for at in ((row, column) for row in rows for column in columns):
                found[at] = {"n": int(have.sum()), "n_left_out": int((~have).sum()), "note": notes[at[0]]}
                found[at]["gate"] = gate or ""
            usable = tuple(row for row in rows if not notes[row])
            if usable and gate is None:
                blocks.append(_cells(grid, usable, columns, have, self.control, self.draws, ranked=ranked))
        tested = joint_test([each.block for each in blocks], permutations, seed) if blocks and permutations else None
        for place, cells in enumerate(blocks):
            p = (tested.p_values[place], tested.p_adjusted[place]) if tested else None
            for at, said in _said(grid, cells, p, ranked=ranked):
                found[at] |= said
                if self.method == "pearson" and said.get("coefficient") is not None:
                    found[at] |= self._without_noise(at, cells.have, said)
        whole = [
            {**fixed, **grid.measures[row], **grid.outcomes[column], **cell, "note": self._noted(cell, column)}
            for (row, column), cell in sorted(found.items())
        ]
        known = [row for row in whole if row.get("coefficient") is not None]
        if not known or tested is None or self.clean:
            return whole, None
        curve = {
            "n_cells": len(known),
            "median": tested.median,
            "p_median": tested.p_median,
            "n_negative": sum(row["coefficient"] < 0 for row in known),
            "n_seen": sum((row["p_adjusted"] or 1.0) < SIGNIFICANT for row in known),
            "gate": next((row["gate"] for row in known if row["gate"]), ""),
        }
        return whole, {**fixed, **curve}

    def _noted(self, cell: Mapping[str, Any], column: int) -> str:
        """The note of a cell, with those that it leaves out because their outcome is infinite."""
        infinite = 0 if self.method == "spearman" else int(np.isposinf(self.grid.y[column]).sum())
        text = f"{infinite} of {len(self.grid.classes)} outcomes are infinite, and left out" if infinite else ""
        return "; ".join(filter(None, [cell["note"], text]))

    def _without_noise(
        self, at: tuple[int, int], have: npt.NDArray[np.bool_], said: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The reliabilities of both, and the coefficient without the noise of the two."""
        key = tuple(self.grid.measures[at[0]][name] for name in MEASURE)
        of_x = self.reliabilities.get(key, math.nan)
        of_y = outcome_reliability(self.grid.y[at[1], have], self.grid.noise[at[1], have])
        limits = (said["low"], said["high"])
        found = None
        if None not in limits:
            found = disattenuated(said["coefficient"], *limits, of_x, of_y)
        columns = ("disattenuated", "disattenuated_low", "disattenuated_high")
        return {
            "measure_reliability": _or_null(of_x),
            "outcome_reliability": _or_null(of_y),
            **dict(zip(columns, found or (None, None, None), strict=True)),
        }

    def _patterns(self) -> Iterator[tuple[Places, Places, npt.NDArray[np.bool_], Gate | None]]:
        """Measures and outcomes that have the same classes, which classes, and why none can be tested."""
        counted = np.ones(len(self.grid.classes), dtype=bool)
        gate: Gate | None = None
        if self.draws is not None:
            first, second = self.draws
            if first is None or second is None:
                gate = "same_images"
            else:
                counted = first.known & second.known & (second.n_correct > 0)
        every = range(len(self.grid.outcomes))
        columns = [column for column in every if self.grid.is_clean[column] == self.clean]
        y = np.nan_to_num(self.grid.y, nan=np.nan) if self.method == "spearman" else self.grid.y  # infinite has a rank
        for rows, have_x in alike(self.grid.x, range(len(self.grid.x))):
            for some, have_y in alike(y, columns):
                yield rows, some, counted & have_x & have_y, gate


def _families(
    grid: Grid,
    model: str,
    draws: Draws | None,
    methods: Sequence[Asked],
    reliabilities: Mapping[tuple[Any, ...], float],
) -> Iterator[_Family]:
    for method in methods:
        if method != "two_draws":
            yield _Family(grid, model, method, None, None, reliabilities)
            yield _Family(grid, model, method, None, None, reliabilities, clean=True)
        elif draws is not None:
            for control in CONTROLS:
                yield _Family(grid, model, method, control, draws, reliabilities)


def _why_none(values: FloatArray, control: Control | None) -> str:
    """Why a measure of these classes has no coefficient; empty where it may have one."""
    n, needed = len(values), FEWEST_PAIRS + (0 if control is None else 3)
    if n < needed:
        pairs = "pair is" if n == 1 else "pairs are"
        return f"{n} {pairs} too few; an association{' given controls' * bool(control)} needs {needed}"
    if values.min() == values.max():
        return f"measure is {values[0]:.4g} for all {n} pairs, and nothing goes with a constant"
    if few := nearly_constant(values):
        shared = float(np.median(values))
        return f"measure is {shared:.4g} for all but {few} of {n} pairs, on which alone a coefficient would rest"
    return ""


def _cells(
    grid: Grid,
    rows: Places,
    columns: Places,
    have: npt.NDArray[np.bool_],
    control: Control | None,
    draws: Draws | None,
    *,
    ranked: bool,
) -> _Cells:
    x, y, where = grid.x[list(rows)][:, have], grid.y[list(columns)][:, have], np.flatnonzero(have)
    if control is None or draws is None or draws[0] is None or draws[1] is None:
        if ranked:
            x, y = (stats.rankdata(values, axis=1) for values in (x, y))
        return _Cells(Block.of(x, y, classes=where), rows, columns, have)
    a, c = (draw.subset(have) for draw in draws if draw is not None)
    scores, own, other = normal_scores(x), a.of(control), c.of(control)
    reliability = agreement(own, other)
    vanishes = np.array([[vanishes_at(one, outcome, own, other) for outcome in y] for one in scores])
    block = Block.of(scores, y, a.controls(control), c.controls(control), where)
    return _Cells(block, rows, columns, have, gates_of(a, c, control), reliability, vanishes)


def _said(
    grid: Grid, cells: _Cells, p: tuple[FloatArray, FloatArray] | None, *, ranked: bool
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """What is said of each cell."""
    block, names = cells.block, [name for name, there in zip(grid.names, cells.have, strict=True) if there]
    low, high = jackknife_interval(block)
    for i, row in enumerate(cells.rows):
        for j, column in enumerate(cells.columns):
            r = float(block.coefficients[i, j])
            said: dict[str, Any] = {"gate": " ".join(cells.gates)}
            if math.isnan(r):
                constant = grid.y[column, cells.have].min() == grid.y[column, cells.have].max()
                reason = "every outcome is the same" if constant else "the control leaves nothing of one of the two"
                yield (row, column), {**said, "note": reason}
                continue
            limits = spearman_interval(r, block.n) if ranked else (low[i, j], high[i, j])
            left = block.left_out[:, i, j]
            most = int(np.where(np.isfinite(left), np.abs(left - r), -1.0).argmax())
            said |= {
                "coefficient": r,
                "low": _or_null(limits[0]),
                "high": _or_null(limits[1]),
                "p_value": _or_null(p[0][i, j]) if p else None,
                "p_adjusted": _or_null(p[1][i, j]) if p else None,
                "most_influential": names[most],
                "coefficient_without": _or_null(left[most]),
                "control_reliability": _or_null(cells.reliability),
                "vanishes_at": None if cells.vanishes is None else _or_null(cells.vanishes[i, j]),
                "note": "" if ranked or cells.vanishes is not None else _note(grid, cells, i, j),
            }
            yield (row, column), said


def _note(grid: Grid, cells: _Cells, i: int, j: int) -> str:
    """That one class carries a plain coefficient."""
    shown = np.stack([grid.x[cells.rows[i], cells.have], grid.y[cells.columns[j], cells.have]])
    return leverage(cells.block, shown, ("measure", "outcome"), cell=(i, j))


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
