"""The cells of a study: measures by outcomes, over the same classes or the same networks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.attacks import require_counts, with_attack_name
from manifoldscope.evidence.measures import of_classes
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.replicates import replicates

MEASURE = ("layer", "measure", "parameters")
"""What tells measures apart."""

ATTACK = ("attack", "strength", "iterate")
"""What tells accuracies apart; `attack` as `with_attack_name` names it."""


def is_clean_accuracy(strength: float | None) -> bool:
    """Whether the accuracy under an attack of this strength is the clean accuracy; a minimal perturbation has none."""
    return strength == 0


def outcomes_of_classes(robustness: pl.DataFrame, outcomes: pl.DataFrame | None) -> pl.DataFrame:
    """A row per network, attack, strength, iterate, class and outcome: `y`, and its sampling variance."""
    require_counts(robustness)
    named = with_attack_name(robustness).with_columns(attack="attack_name")
    keys = ("model", *ATTACK, "class_index")
    robust, asked = (pl.col(name).cast(pl.Float64) for name in ("n_robust", "n_clean_correct"))
    # where all classes are equally robust, such as not at all, the log-odds of few images tell how many there are
    share_of = pl.when(asked > 0).then(robust / asked)
    equal = (share_of.max() - share_of.min()).over("model", *ATTACK) == 0
    asked, robust = (
        pl.when(equal).then(each.mean().over("model", *ATTACK)).otherwise(each) for each in (asked, robust)
    )
    odds = ((robust + 0.5) / (asked - robust + 0.5)).log()
    share, n_images = pl.col("robust_accuracy"), pl.col("n_images").cast(pl.Float64)
    binomial = share * (1 - share) / (n_images - 1)
    of_odds = 1 / (robust + 0.5) + 1 / (asked - robust + 0.5)
    parts = [
        named.select(*keys, y="robust_accuracy", noise=binomial, outcome=pl.lit("robust_accuracy")),
        named.filter((pl.col("strength") > 0) & (asked > 0) & asked.is_not_null()).select(
            *keys, y=odds, noise=of_odds, outcome=pl.lit("log_odds")
        ),
    ]
    if outcomes is not None and not outcomes["minimal_epsilon"].is_null().all():
        correct = outcomes.filter(
            pl.col("minimal_epsilon").is_not_null() & (pl.col("clean_prediction") == pl.col("label"))
        )
        medians = (
            with_attack_name(correct)
            .group_by("model", pl.col("attack_name").alias("attack"), pl.col("label").alias("class_index"))
            .agg(y=pl.col("minimal_epsilon").median())
            .with_columns(
                strength=pl.lit(None, pl.Float64),
                iterate=pl.lit(None, pl.String),
                noise=pl.lit(None, pl.Float64),
                outcome=pl.lit("minimal_epsilon"),
            )
        )
        parts.append(medians.select(*keys, "y", "noise", "outcome"))
    return pl.concat(parts, how="vertical_relaxed")


def network_means(
    measured: pl.DataFrame, found: pl.DataFrame, models: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both as one row per network in place of its classes; replicates averaged, and classes that have both."""
    names = replicates(models)
    have = pl.col("value").is_finite()
    values = measured.filter(have)
    means = (
        values.group_by("model", *MEASURE, maintain_order=True)
        .agg(pl.col("value").mean())
        .with_columns(network=pl.col("model").replace(names))
        .group_by("network", *MEASURE, maintain_order=True)
        .agg(pl.col("value").mean())
    )
    keys = (*ATTACK, "outcome")
    classes = values.select("model", "class_index").unique()
    accuracies = (
        found.filter(pl.col("y").is_not_nan())
        .join(classes, on=["model", "class_index"], how="semi")
        .group_by("model", *keys, maintain_order=True)
        .agg(pl.col("y").mean())
        .with_columns(network=pl.col("model").replace(names))
        .group_by("network", *keys, maintain_order=True)
        .agg(pl.col("y").mean())
        .with_columns(noise=pl.lit(None, pl.Float64))
    )
    return means, accuracies


Told = tuple[dict[str, Any], ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """The cells of one network: measures and outcomes over the same classes.

    Attributes:
        measures, outcomes: what tells each row of `x` (n_x, K) and of `y` (n_y, K) from the others.
        noise: (n_y, K) sampling variance of the outcomes; NaN where that is not known.
        is_clean: (n_y,) the outcome is the clean accuracy itself.
        names: of the classes; `classes` their keys.
    """

    measures: Told
    outcomes: Told
    x: FloatArray
    y: FloatArray
    noise: FloatArray
    is_clean: npt.NDArray[np.bool_]
    classes: tuple[Any, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, measured: pl.DataFrame, found: pl.DataFrame, *, by: str, name: str) -> Grid | None:
        """The classes that both have; None where there is none."""
        both = (
            measured.select(by, pl.col(name).alias("_name"))
            .unique(by)
            .join(found.select(by).unique(), on=by, how="semi")
            .sort(by)
        )
        if both.is_empty():
            return None
        place = {key: index for index, key in enumerate(both[by])}

        def matrix(
            rows: pl.DataFrame, keys: Sequence[str], column: str
        ) -> tuple[tuple[dict[str, Any], ...], FloatArray]:
            groups = rows.filter(pl.col(by).is_in(list(place))).partition_by(keys, maintain_order=True)
            values = np.full((len(groups), len(place)), np.nan)
            for row, group in enumerate(groups):
                where = [place[key] for key in group[by]]
                values[row, where] = group[column].cast(pl.Float64).fill_null(math.nan).to_numpy()
            return tuple(group.select(keys).row(0, named=True) for group in groups), values

        # strengths stand in order, so that equal tables give equal rows
        measures, x = matrix(measured.sort(*MEASURE), MEASURE, "value")
        ordered = found.sort(*ATTACK, "outcome", nulls_last=True)
        outcomes, y = matrix(ordered, (*ATTACK, "outcome"), "y")
        _, noise = matrix(ordered, (*ATTACK, "outcome"), "noise")
        is_clean = np.array([is_clean_accuracy(each["strength"]) for each in outcomes], dtype=bool)
        return cls(measures, outcomes, x, y, noise, is_clean, tuple(place), tuple(str(each) for each in both["_name"]))


def grids_of_networks(
    geometry: pl.DataFrame, robustness: pl.DataFrame, outcomes: pl.DataFrame | None
) -> Iterator[tuple[str, Grid]]:
    """For each network that has both: its name, and its classes as a grid."""
    measured, found = _measured(geometry), outcomes_of_classes(robustness, outcomes)
    for (model,), mine in measured.group_by(["model"], maintain_order=True):
        grid = Grid.of(mine, found.filter(pl.col("model") == model), by="class_index", name="class_name")
        if grid is not None:
            yield str(model), grid


def grid_across_networks(
    geometry: pl.DataFrame, robustness: pl.DataFrame, outcomes: pl.DataFrame | None, models: pl.DataFrame
) -> Grid | None:
    """Networks above chance level in the place of classes: means over classes; None where no network has both."""
    left_out = ~pl.col("model").is_in(list(at_chance(models)))
    measured, found = _measured(geometry).filter(left_out), outcomes_of_classes(robustness, outcomes).filter(left_out)
    values, accuracies = network_means(measured, found, models)
    return Grid.of(values, accuracies, by="network", name="network")


def _measured(geometry: pl.DataFrame) -> pl.DataFrame:
    return of_classes(geometry).select("model", *MEASURE, "class_index", "class_name", "value")


def alike(values: FloatArray, wanted: Sequence[int]) -> Iterator[tuple[tuple[int, ...], npt.NDArray[np.bool_]]]:
    """The rows that lack the same classes, and which classes they have."""
    groups: dict[bytes, list[int]] = {}
    for row in wanted:
        groups.setdefault(np.isfinite(values[row]).tobytes(), []).append(row)
    for pattern, rows in groups.items():
        yield tuple(rows), np.frombuffer(pattern, dtype=bool)
