"""Networks by classes: an association across the classes within networks, beside that between networks.

The two can differ, and even turn round (Simpson 1951): more robust networks may have more dimensions while the more
robust classes of each have fewer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from manifoldscope.evidence.association import nearly_constant
from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.grid import ATTACK, MEASURE, Grid, grids_of_networks
from manifoldscope.evidence.interval import EDGE, jackknife_interval
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.permutation import SAME, Block, correlations, orders_of, unit
from manifoldscope.evidence.replicates import replicates
from manifoldscope.evidence.significance import SIGNIFICANT
from manifoldscope.evidence.two_draws import Difficulty, Gate, difficulty_of, gates_of, normal_scores
from manifoldscope.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema, conform

WITHIN_BETWEEN = Schema(
    name="within_between",
    row="an association within networks, across their classes, beside the one between networks",
    columns={
        "layer": TEXT,
        "measure": TEXT,
        "parameters": TEXT,
        "attack": TEXT,
        "strength": REAL,
        "iterate": TEXT,
        "outcome": TEXT,
        "controls": TEXT,
        "n_networks": INTEGER,
        "n_classes": INTEGER,
        "within": REAL,
        "within_p": REAL,
        "within_low": REAL,
        "within_high": REAL,
        "n_within_negative": INTEGER,
        "between": REAL,
        "between_low": REAL,
        "between_high": REAL,
        "pooled": REAL,
        "reversal": BOOLEAN,
        "gate": TEXT,
    },
    identity=("layer", "measure", "parameters", "attack", "strength", "iterate", "outcome", "controls"),
)

FEWEST_FOR_OTHERS = 8
"""With fewer networks than this nothing is claimed of networks like these: there is no interval."""

LEAST_CLASSES = 4
"""A network with fewer classes has no association within."""

FEWEST_FOR_REVERSAL = 5
"""A reversal needs this many networks, evidence within them, and an interval between them that does not hold 0."""


@dataclass(frozen=True, eq=False)
class MeanZ:
    """An association within networks, over cells (n_x, n_y).

    Attributes:
        mean: tanh of the mean over networks of Fisher's z.
        p_value: for these networks, by permutations of the classes that are joint over networks.
        low, high: for networks like these; NaN below eight networks.
        n_negative: networks whose coefficient is below 0.
    """

    mean: FloatArray
    p_value: FloatArray
    low: FloatArray
    high: FloatArray
    n_negative: FloatArray


def mean_z(
    blocks: Sequence[Block],
    *,
    networks: Sequence[str] | None = None,
    permutations: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> MeanZ:
    """The mean over networks of Fisher's z, in each cell.

    *For these networks.* The classes are permuted in all networks together, so that what networks share, since they
    were shown the same classes, does not make evidence of itself; a t-test over networks rejects far too often. The
    statistic is studentised: of u_k, the sum over networks of x y of class k, it is sum(u) / sqrt(sum(u^2)).

    *For networks like these.* An interval from the influence of each network and class, clustered both ways (Cameron,
    Gelbach and Miller 2011), with Student's t of min(networks, classes) - 1 degrees of freedom.

    Args:
        blocks: one for each network, with the same cells; `classes` of each are among those of all.
        networks: under which name each counts as one of networks like these, where some are replicates of another;
            each is its own if omitted.
        permutations: 0 for no p-value.
    """
    whole = np.stack([_z(block.coefficients) for block in blocks])
    known = np.isfinite(whole).all(axis=0)
    observed = whole.mean(axis=0)
    n_classes = max(block.n_classes for block in blocks)
    statistic = _joint(blocks, [block.left_of_x[:, None] for block in blocks], n_classes)[:, 0]
    as_far = np.zeros(observed.shape)
    elements = max(
        sum(len(block.x) for block in blocks) * n_classes, *(len(block.x) * len(block.y) for block in blocks)
    )
    for orders in orders_of(n_classes, permutations, seed, elements) if permutations else ():
        shown = _joint(blocks, [block.permuted(block.restricted(orders)) for block in blocks], n_classes)
        as_far += (shown >= statistic[:, None] * (1 - SAME)).sum(axis=1)
    p = np.where(known, (as_far + 1) / (permutations + 1), np.nan) if permutations else np.full(observed.shape, np.nan)
    clusters = list(range(len(blocks))) if networks is None else list(networks)
    low, high = _two_way(blocks, clusters, observed, confidence)
    return MeanZ(np.tanh(observed), p, low, high, (whole < 0).sum(axis=0))


def _joint(blocks: Sequence[Block], xs: Sequence[FloatArray], n_classes: int) -> FloatArray:
    """(n_x, B, n_y) the studentised statistic over networks, of what is left of x in B orders (n_x, B, K).

    The squares of sums over networks are products of two networks each, so that no cell is held for every class.
    """
    lefts = [
        (_of_all(unit(x), block, n_classes), _of_all(unit(block.left_of_y), block, n_classes))
        for block, x in zip(blocks, xs, strict=True)
    ]
    total = sum((x @ y.T for x, y in lefts), np.zeros(()))
    alone = sum(((x * x) @ (y * y).T for x, y in lefts), np.zeros(()))
    across = sum(
        ((x * other_x) @ (y * other_y).T for (x, y), (other_x, other_y) in itertools.combinations(lefts, 2)),
        np.zeros(()),
    )
    squares = alone + 2 * across
    varies = squares > SAME * alone  # otherwise the networks cancel each other, up to rounding
    found: FloatArray = np.where(varies, np.abs(total) / np.sqrt(np.where(varies, squares, 1.0)), 0.0)
    return found


def _of_all(values: FloatArray, block: Block, n_classes: int) -> FloatArray:
    """(..., n_classes) values of the classes of a block (..., K), 0 of the others."""
    if block.classes is None:
        return values
    found = np.zeros((*values.shape[:-1], n_classes))
    found[..., block.classes] = values
    return found


def _z(r: FloatArray) -> FloatArray:
    found: FloatArray = np.arctanh(r.clip(-EDGE, EDGE))
    return found


def _classes(block: Block) -> Any:
    return np.arange(block.n) if block.classes is None else block.classes


def _two_way(
    blocks: Sequence[Block], clusters: Sequence[Hashable], mean: FloatArray, confidence: float
) -> tuple[FloatArray, FloatArray]:
    """Limits of the mean, clustered by network, with its replicates, and by class."""
    n = len(set(clusters))
    nothing = np.full(mean.shape, np.nan)
    if n < FEWEST_FOR_OTHERS:
        return nothing, nothing
    n_classes = max(block.n_classes for block in blocks)
    by_class = np.zeros((n_classes, *mean.shape))
    by_network, by_cell = np.zeros(mean.shape), np.zeros(mean.shape)
    r = np.tanh(mean)
    for cluster in dict.fromkeys(clusters):
        own = np.zeros_like(by_class)
        for block in (each for each, where in zip(blocks, clusters, strict=True) if where == cluster):
            x, y = (unit(each) for each in (block.left_of_x, block.left_of_y))
            # what each class adds to r of its network, less what it would if r were the mean: of all K it is r_n - r
            squares = (x**2)[:, None] + (y**2)[None]
            influence = (x[:, None] * y[None] - r[..., None] * squares / 2) / (1 - r**2).clip(1e-12)[..., None]
            own[_classes(block)] += influence.transpose(2, 0, 1) / len(blocks)
        by_class += own
        by_network += own.sum(axis=0) ** 2
        by_cell += (own**2).sum(axis=0)
    of_classes = (by_class**2).sum(axis=0) * n_classes / (n_classes - 1)
    variance = by_network * n / (n - 1) + of_classes - by_cell
    variance = np.maximum(variance, np.maximum(by_network * n / (n - 1), of_classes))
    margin = special.stdtrit(min(n, n_classes) - 1, (1 + confidence) / 2) * np.sqrt(variance)
    return np.tanh(mean - margin), np.tanh(mean + margin)


def within_between_table(
    geometry: pl.DataFrame,
    robustness: pl.DataFrame,
    models: pl.DataFrame,
    *,
    margins: pl.DataFrame | None = None,
    outcomes: pl.DataFrame | None = None,
    permutations: int = 10_000,
    seed: int = 0,
) -> pl.DataFrame:
    """The table "within_between": every cell that at least two networks above chance level have.

    Replicates of one network are networks of their own within, and one between and for networks like these. With the
    control "margin" the coefficient within a network is that of the primary test.

    Args:
        geometry, robustness, models, margins, outcomes, permutations, seed: see `associate_study`.
    """
    left_out = at_chance(models)
    grids = {model: grid for model, grid in grids_of_networks(geometry, robustness, outcomes) if model not in left_out}
    rows: list[dict[str, Any]] = []
    for control in ("", "margin"):
        networks = {}
        for model, grid in grids.items():
            draws = difficulty_of(margins, model, grid.classes) if control else None
            if control and (draws is None or draws[0] is None or draws[1] is None):
                continue
            networks[model] = _Network(grid, None if draws is None else (draws[0], draws[1]))  # type: ignore[arg-type]  # both are there
        rows += _rows(networks, replicates(models), control, permutations, seed)
    return conform(WITHIN_BETWEEN, rows)


@dataclass(frozen=True, eq=False)
class _Part:
    """What one network brings to a cell: x and y of its classes, and the block of them."""

    keys: tuple[Any, ...]
    x: FloatArray
    y: FloatArray
    block: Block
    gates: tuple[Gate, ...]


@dataclass(frozen=True, eq=False)
class _Network:
    grid: Grid
    draws: tuple[Difficulty, Difficulty] | None

    @cached_property
    def measures(self) -> dict[tuple[Any, ...], int]:
        """Rows of the grid by what tells them apart."""
        return {tuple(each[name] for name in MEASURE): place for place, each in enumerate(self.grid.measures)}

    @cached_property
    def outcomes(self) -> dict[tuple[Any, ...], int]:
        """Columns of the grid by what tells them apart."""
        return {
            tuple(each[name] for name in (*ATTACK, "outcome")): place
            for place, each in enumerate(self.grid.outcomes)
            if self.draws is None or not self.grid.is_clean[place]
        }

    def part(self, measure: tuple[Any, ...], outcome: tuple[Any, ...]) -> _Part | None:
        """Of the classes of which all is known; None where they are too few, or nothing is left of a variable."""
        if outcome not in self.outcomes:
            return None
        x, y = self.grid.x[self.measures[measure]], self.grid.y[self.outcomes[outcome]]
        known = np.isfinite(x) & np.isfinite(y)
        if self.draws is not None:
            first, second = self.draws
            known &= first.known & second.known & (second.n_correct > 0)
        x, y = x[known], y[known]
        if len(x) < LEAST_CLASSES + 3 * (self.draws is not None) or nearly_constant(x):
            return None
        gates: tuple[Gate, ...] = ()
        if self.draws is None:
            block = Block.of(x[None], y[None])
        else:
            a, c = (draw.subset(known) for draw in self.draws)
            block = Block.of(normal_scores(x)[None], y[None], a.controls("margin"), c.controls("margin"))
            gates = gates_of(a, c, "margin")
        if math.isnan(block.coefficients[0, 0]):
            return None
        return _Part(tuple(itertools.compress(self.grid.classes, known)), x, y, block, gates)


def _rows(
    networks: dict[str, _Network], names: dict[str, str], control: str, permutations: int, seed: int
) -> Iterator[dict[str, Any]]:
    """A row for each measure and outcome that at least two networks share."""
    outcomes = sorted({each for network in networks.values() for each in network.outcomes}, key=str)
    for measure in dict.fromkeys(each for network in networks.values() for each in network.measures):
        have = {model: network for model, network in networks.items() if measure in network.measures}
        cells = {}
        for outcome in outcomes:
            parts = {model: network.part(measure, outcome) for model, network in have.items()}
            cells[outcome] = {model: part for model, part in parts.items() if part is not None}
        alike: dict[Any, list[tuple[Any, ...]]] = {}  # the same classes of the same networks: permuted together
        for outcome, cell in cells.items():
            if len(cell) > 1:
                alike.setdefault(tuple((model, part.keys) for model, part in cell.items()), []).append(outcome)
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for some in alike.values():
            of_networks = [names.get(model, model) for model in cells[some[0]]]
            within = _within([list(cells[outcome].values()) for outcome in some], of_networks, permutations, seed)
            found |= dict(zip(some, within, strict=True))
        for outcome in outcomes:
            if outcome in found:
                yield {
                    **dict(zip(MEASURE, measure, strict=True)),
                    **dict(zip((*ATTACK, "outcome"), outcome, strict=True)),
                    "controls": control,
                    **found[outcome],
                    **_between(cells[outcome], names, found[outcome]),
                }


def _within(
    cells: Sequence[Sequence[_Part]], networks: Sequence[str], permutations: int, seed: int
) -> list[dict[str, Any]]:
    """What is found within networks, in cells of one measure with the same classes of the same networks."""
    every = sorted({key for part in cells[0] for key in part.keys}, key=str)
    place = {key: index for index, key in enumerate(every)}
    blocks = [
        replace(
            parts[0].block,
            y=np.concatenate([part.block.y for part in parts]),
            classes=np.array([place[key] for key in parts[0].keys]),
            given=None,
        )
        for parts in zip(*cells, strict=True)
    ]
    found = mean_z(blocks, networks=networks, permutations=permutations, seed=seed)
    return [
        {
            "n_networks": len(cell),
            "n_classes": len(every),
            "within": float(found.mean[0, column]),
            "within_p": _or_null(found.p_value[0, column]),
            "within_low": _or_null(found.low[0, column]),
            "within_high": _or_null(found.high[0, column]),
            "n_within_negative": int(found.n_negative[0, column]),
            "gate": " ".join(dict.fromkeys(gate for part in cell for gate in part.gates)),
        }
        for column, cell in enumerate(cells)
    ]


def _between(cell: dict[str, _Part], names: dict[str, str], within: dict[str, Any]) -> dict[str, Any]:
    """What the means of networks show, and all their classes together."""
    networks: dict[str, list[_Part]] = {}
    for model, part in cell.items():
        networks.setdefault(names.get(model, model), []).append(part)
    points = [np.hstack([np.stack([part.x, part.y]) for part in parts]) for parts in networks.values()]
    means = np.stack([each.mean(axis=1) for each in points], axis=1)
    block = Block.of(means[:1], means[1:])
    between = float(block.coefficients[0, 0]) if len(networks) > 2 else math.nan
    low, high = (float(limit[0, 0]) for limit in jackknife_interval(block))
    if len(networks) < FEWEST_FOR_REVERSAL:
        low = high = math.nan
    p = within["within_p"]
    seen = p is not None and p < SIGNIFICANT and low * high > 0
    return {
        "between": _or_null(between),
        "between_low": _or_null(low),
        "between_high": _or_null(high),
        "pooled": _or_null(_pearson(*np.hstack(points))),
        "reversal": bool(seen and within["within"] * between < 0),
    }


def _pearson(x: FloatArray, y: FloatArray) -> float:
    return float(correlations(unit(x[None]), unit(y[None]))[0, 0])


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
