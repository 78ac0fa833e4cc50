"""What each defence costs, what it loses in clean accuracy, and what it gains in robust accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.proportions import difference, wilson
from manifoldscope.evidence.strengths import telling_strengths
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema, conform

DEFENCES = Schema(
    name="defences",
    row="a network with its defence and training, under all attacks of one norm and strength (seconds differ from run "
    "to run)",
    columns={
        "model": TEXT,
        "source": TEXT,
        "defence": TEXT,
        "defence_parameters": TEXT,
        "objective": TEXT,
        "objective_parameters": TEXT,
        "baseline": TEXT,
        "n_parameters": INTEGER,
        "multiply_adds": INTEGER,
        "relative_multiply_adds": REAL,
        "gradient_passes": REAL,
        "seconds": REAL,
        "relative_seconds": REAL,
        "n_images": INTEGER,
        "n_clean_correct": INTEGER,
        "clean_accuracy": REAL,
        "clean_low": REAL,
        "clean_high": REAL,
        "clean_loss": REAL,
        "clean_loss_low": REAL,
        "clean_loss_high": REAL,
        "attacks": TEXT,
        "norm": TEXT,
        "strength": REAL,
        "n_robust": INTEGER,
        "robust_accuracy": REAL,
        "robust_low": REAL,
        "robust_high": REAL,
    },
    identity=("model", "norm", "strength"),
    optional=True,
)

_WAYS = ["defence", "defence_parameters", "objective", "objective_parameters"]
"""What tells apart how networks of one source are defended."""


def defences_table(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The networks of each source that differ in defence or training objective: the table `defences`.

    An image counts as robust if none of the attacks of that norm and strength, random noise included, misclassifies it,
    at any iterate where there are several; clean accuracy is that of the same images. The baseline is the network of
    the same source without a defence: of a network that is trained here the one of standard training (the mean of
    several), of a loaded network the loaded one. The interval of a loss of clean accuracy is that of independent
    images; the images are the same, so that it is rather too wide.

    Args:
        tables: `models`, `outcomes` and `training_costs`, as in `manifoldscope.tables`.
    """
    networks = _networks(tables["models"], tables["training_costs"])
    counts = _counts(tables["outcomes"].join(networks, on="model", how="semi"))
    if counts.is_empty():
        return conform(DEFENCES, [])
    rows = networks.join(counts, on="model").sort("model", "norm", "strength")
    return conform(DEFENCES, _beside_baselines(rows))


def _networks(models: pl.DataFrame, costs: pl.DataFrame) -> pl.DataFrame:
    """Networks that learned something, where others of the same source and classes are defended in other ways."""
    learned = models.filter(pl.col("objective").is_null() | pl.col("n_trained_classes").is_not_null())
    cost = costs.select("model", "gradient_passes", "seconds", objective_parameters="parameters")
    known = learned.select(
        "model",
        "source",
        "defence",
        "defence_parameters",
        "objective",
        "n_parameters",
        "multiply_adds",
        pl.col("n_trained_classes").fill_null(0),
    ).join(cost, on="model", how="left")
    return known.filter(pl.struct(_WAYS).n_unique().over("source", "n_trained_classes") > 1)


def _counts(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Images of each network that are robust to all attacks, noise included, of a norm and strength."""
    attacked = outcomes.filter(
        pl.col("norm").is_not_null() & pl.col("minimal_epsilon").is_null() & (pl.col("strength") > 0)
    )
    by_image = attacked.group_by("model", "norm", "strength", "image").agg(
        pl.coalesce("robust_any", "robust_last").all().alias("robust"),
        (pl.col("clean_prediction") == pl.col("label")).all().alias("correct"),
    )
    by = ["model", "norm", "strength"]
    names = attacked.group_by(by).agg(pl.col("attack").unique().sort().str.join(" + ").alias("attacks"))
    counts = by_image.group_by(by).agg(
        pl.len().alias("n_images"),
        pl.col("correct").sum().alias("n_clean_correct"),
        pl.col("robust").sum().alias("n_robust"),
    )
    return counts.join(names, on=by)


def _beside_baselines(rows: pl.DataFrame) -> pl.DataFrame:
    loaded = pl.col("objective").is_null()
    undefended = pl.col("defence").is_null() & (loaded | (pl.col("objective") == "standard"))
    by = ["source", "n_trained_classes", "norm", "strength", "loaded"]
    rows = rows.with_columns(loaded=loaded)
    baselines = (
        rows.filter(undefended)
        .group_by(by)
        .agg(
            pl.col("model").sort().str.join(", ").alias("baseline"),
            pl.col("multiply_adds", "seconds").mean().name.prefix("base_"),
            pl.col("n_images", "n_clean_correct").sum().name.prefix("base_"),
        )
    )
    rows = rows.join(baselines, on=by, how="left")
    n, correct, robust = (_numbers(rows, name) for name in ("n_images", "n_clean_correct", "n_robust"))
    base_n, base_correct = _numbers(rows, "base_n_images"), _numbers(rows, "base_n_clean_correct")
    intervals = {"clean": wilson(correct, n), "robust": wilson(robust, n)}
    intervals["clean_loss"] = difference(base_correct, base_n, correct, n)
    limits = [
        pl.Series(f"{name}_{side}", values).fill_nan(None)
        for name, both in intervals.items()
        for side, values in zip(("low", "high"), both, strict=True)
    ]
    itself = pl.col("model") == pl.col("baseline")
    return (
        rows.with_columns(
            *limits,
            clean_accuracy=pl.col("n_clean_correct") / pl.col("n_images"),
            robust_accuracy=pl.col("n_robust") / pl.col("n_images"),
            clean_loss=pl.col("base_n_clean_correct") / pl.col("base_n_images")
            - pl.col("n_clean_correct") / pl.col("n_images"),
            relative_multiply_adds=pl.col("multiply_adds") / pl.col("base_multiply_adds"),
            relative_seconds=pl.col("seconds") / pl.col("base_seconds"),
        )
        .with_columns(  # what is compared with itself has no interval
            pl.when(~itself).then(pl.col(name)).alias(name) for name in ("clean_loss_low", "clean_loss_high")
        )
        .select(list(DEFENCES.columns))
    )


def _numbers(rows: pl.DataFrame, column: str) -> FloatArray:
    return np.asarray(rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def told(defences: pl.DataFrame) -> pl.DataFrame:
    """Of each source the rows at which its networks are compared: at the strength at which they differ most.

    Args:
        defences: the table.
    """
    if defences.is_empty():
        return defences
    chosen = telling_strengths(defences, within=["source", "norm"])
    return defences.join(chosen, on=["source", "norm", "strength"], how="semi").sort(
        "source", "norm", "robust_accuracy", "model", descending=[False, False, True, False]
    )
