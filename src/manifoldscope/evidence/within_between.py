"""Networks by classes: an association across the classes within networks, beside that between networks.

The two can differ, and even turn round (Simpson 1951): more robust networks may have more dimensions while the more
robust classes of each have fewer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from manifoldscope.evidence.two_draws import Difficulty, difficulty_of, gates_of, normal_scores
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


def mean_z(blocks: Sequence[Block], *, permutations: int = 10_000, confidence: float = 0.95, seed: int = 0) -> MeanZ:
    """The mean over networks of Fisher's z, in each cell.

    *For these networks.* The classes are permuted in all networks together, so that what networks share, since they
    were shown the same classes, does not make evidence of itself; a t-test over networks rejects far too often. The
    statistic is studentised: of u_k, the sum over networks of x y of class k, it is sum(u) / sqrt(sum(u^2)).

    *For networks like these.* An interval from the influence of each network and class, clustered both ways (Cameron,
    Gelbach and Miller 2011), with Student's t of min(networks, classes) - 1 degrees of freedom.

    Args:
        blocks: one for each network, with the same cells; `classes` of each are among those of all.
        permutations: 0 for no p-value.
    """
    whole = np.stack([_z(block.coefficients) for block in blocks])
    known = np.isfinite(whole).all(axis=0)
    observed = whole.mean(axis=0)
    n_classes = max(block.n_classes for block in blocks)
    statistic = _joint(blocks, [block.left_of_x[:, None] for block in blocks], n_classes)[:, 0]
    as_far = np.zeros(observed.shape)
    elements = max(len(block.x) * max(1, len(block.y)) for block in blocks) * n_classes
    for orders in orders_of(n_classes, permutations, seed, elements) if permutations else ():
        shown = _joint(blocks, [block.permuted(block.restricted(orders)) for block in blocks], n_classes)
        as_far += (shown >= statistic[:, None] * (1 - SAME)).sum(axis=1)
    p = np.where(known, (as_far + 1) / (permutations + 1), np.nan) if permutations else np.full(observed.shape, np.nan)
    low, high = _two_way(blocks, observed, confidence)
    return MeanZ(np.tanh(observed), p, low, high, (whole < 0).sum(axis=0))


def _joint(blocks: Sequence[Block], xs: Sequence[FloatArray], n_classes: int) -> FloatArray:
    """(n_x, B, n_y) the studentised statistic over networks, of what is left of x in B orders (n_x, B, K)."""
    total = np.zeros((*xs[0].shape[:2], len(blocks[0].y), n_classes))
    for block, x in zip(blocks, xs, strict=True):
        left = unit(x)[:, :, None, :] * unit(block.left_of_y)[None, None]
        total[..., _classes(block)] += left
    spread = np.sqrt((total**2).sum(axis=-1))
    found: FloatArray = np.abs(total.sum(axis=-1)) / np.where(spread > 0, spread, 1.0)
    return found


def _z(r: FloatArray) -> FloatArray:
    found: FloatArray = np.arctanh(r.clip(-EDGE, EDGE))
    return found


def _classes(block: Block) -> Any:
    return np.arange(block.n) if block.classes is None else block.classes


def _two_way(blocks: Sequence[Block], mean: FloatArray, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Limits of the mean, clustered by network and by class."""
    n = len(blocks)
    nothing = np.full(mean.shape, np.nan)
    if n < FEWEST_FOR_OTHERS:
        return nothing, nothing
    n_classes = max(block.n_classes for block in blocks)
    by_class = np.zeros((n_classes, *mean.shape))
    by_network, by_cell = np.zeros(mean.shape), np.zeros(mean.shape)
    r = np.tanh(mean)
    for block in blocks:
        x, y = (unit(each) for each in (block.left_of_x, block.left_of_y))
        # what each class adds to r of its network, less what it would if r were the mean one; of all K it is r_n - r
        squares = (x**2)[:, None] + (y**2)[None]
        influence = (x[:, None] * y[None] - r[..., None] * squares / 2) / (1 - r**2).clip(1e-12)[..., None] / n
        by_class[_classes(block)] += influence.transpose(2, 0, 1)
        by_network += influence.sum(axis=2) ** 2
        by_cell += (influence**2).sum(axis=2)
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

    Replicates of one network are networks of their own within, and one between. With the control "margin" the
    coefficient within a network is that of the primary test.

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
class _Network:
    grid: Grid
    draws: tuple[Difficulty, Difficulty] | None

    def cells(self, measure: tuple[Any, ...]) -> dict[tuple[Any, ...], int]:
        """Outcomes by what tells them apart; none where the measure is not there."""
        return {
            tuple(each[name] for name in (*ATTACK, "outcome")): place
            for place, each in enumerate(self.grid.outcomes)
            if self.draws is None or not self.grid.is_clean[place]
        }


def _rows(
    networks: dict[str, _Network], names: dict[str, str], control: str, permutations: int, seed: int
) -> Iterator[dict[str, Any]]:
    """A row for each measure and outcome that some networks share."""
    if len(networks) < 2:
        return
    measures = dict.fromkeys(
        tuple(each[name] for name in MEASURE) for network in networks.values() for each in network.grid.measures
    )
    for measure in measures:
        have = {
            model: next(
                place
                for place, each in enumerate(network.grid.measures)
                if tuple(each[name] for name in MEASURE) == measure
            )
            for model, network in networks.items()
            if any(tuple(each[name] for name in MEASURE) == measure for each in network.grid.measures)
        }
        shared = [set(networks[model].cells(measure)) for model in have]
        for outcome in sorted(set.union(*shared), key=str) if shared else []:
            chosen = {
                model: (row, networks[model].cells(measure)[outcome])
                for model, row in have.items()
                if outcome in networks[model].cells(measure)
            }
            found = _cell(networks, names, chosen, permutations, seed)
            if found is not None:
                yield {
                    **dict(zip(MEASURE, measure, strict=True)),
                    **dict(zip((*ATTACK, "outcome"), outcome, strict=True)),
                    "controls": control,
                    **found,
                }


def _cell(
    networks: dict[str, _Network],
    names: dict[str, str],
    chosen: dict[str, tuple[int, int]],
    permutations: int,
    seed: int,
) -> dict[str, Any] | None:
    """What one cell shows over its networks; None below two."""
    every = sorted({key for model in chosen for key in networks[model].grid.classes}, key=str)
    place = {key: index for index, key in enumerate(every)}
    blocks, points = [], []
    closed: dict[str, None] = {}
    for model, (row, column) in chosen.items():
        network = networks[model]
        x, y = network.grid.x[row], network.grid.y[column]
        known = np.isfinite(x) & np.isfinite(y)
        if network.draws is not None:
            first, second = network.draws
            known &= first.known & second.known & (second.n_correct > 0)
        if known.sum() < LEAST_CLASSES + 3 * (network.draws is not None):
            continue
        classes = np.array([place[key] for key, there in zip(network.grid.classes, known, strict=True) if there])
        x, y = x[known], y[known]
        if nearly_constant(x):
            continue
        if network.draws is None:
            block = Block.of(x[None], y[None], classes=classes)
        else:
            a, c = (draw.subset(known) for draw in network.draws)
            block = Block.of(normal_scores(x)[None], y[None], a.controls("margin"), c.controls("margin"), classes)
            closed |= dict.fromkeys(gates_of(a, c, "margin"))
        if not math.isnan(block.coefficients[0, 0]):
            blocks.append(block)
            points.append(pl.DataFrame({"network": names.get(model, model), "x": x, "y": y}))
    if len(blocks) < 2:
        return None
    found = mean_z(blocks, permutations=permutations, seed=seed)
    table = pl.concat(points)
    means = table.group_by("network", maintain_order=True).mean()
    means_only = Block.of(means["x"].to_numpy()[None], means["y"].to_numpy()[None])
    between = float(means_only.coefficients[0, 0]) if len(means) > 2 else math.nan
    low, high = (float(limit[0, 0]) for limit in jackknife_interval(means_only))
    if len(means) < FEWEST_FOR_REVERSAL:
        low = high = math.nan
    within = float(found.mean[0, 0])
    seen = found.p_value[0, 0] < SIGNIFICANT and low * high > 0
    return {
        "n_networks": len(blocks),
        "n_classes": len(every),
        "within": within,
        "within_p": _or_null(found.p_value[0, 0]),
        "within_low": _or_null(found.low[0, 0]),
        "within_high": _or_null(found.high[0, 0]),
        "n_within_negative": int(found.n_negative[0, 0]),
        "between": _or_null(between),
        "between_low": _or_null(low),
        "between_high": _or_null(high),
        "pooled": _or_null(_pearson(table["x"].to_numpy(), table["y"].to_numpy())),
        "reversal": bool(seen and within * between < 0),
        "gate": " ".join(closed),
    }


def _pearson(x: FloatArray, y: FloatArray) -> float:
    return float(correlations(unit(x[None]), unit(y[None]))[0, 0])


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
