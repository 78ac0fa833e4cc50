"""What several figures read off the tables: the rows of an attack or a measure, accuracies and their intervals."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from manifoldscope.evidence import telling_strengths, wilson, with_attack_name
from manifoldscope.report import words

Reals = NDArray[np.float64]


def reals(table: pl.DataFrame, column: str) -> Reals:
    """A column as numbers, NaN where there is none."""
    return np.asarray(table[column].cast(pl.Float64).to_numpy(), dtype=np.float64)  # null becomes NaN


def number_range(values: pl.Series) -> str:
    """Whole numbers in a sentence: `40`, or `40 to 80`."""
    numbers = values.drop_nulls()
    if numbers.is_empty():
        return "the"
    low, high = int(numbers.min()), int(numbers.max())  # type: ignore[arg-type]  # whole numbers
    return words.number(low) if low == high else f"{words.number(low)} to {words.number(high)}"


def clean_geometry(geometry: pl.DataFrame) -> pl.DataFrame:
    """The rows of `geometry` that measure one class on unattacked images and have a finite value."""
    return geometry.filter(
        (pl.col("class_index") >= 0) & (pl.col("attack").fill_null("") == "") & pl.col("value").is_finite()
    )


def of_measure(table: pl.DataFrame, measure: str, parameters: str) -> pl.DataFrame:
    """The rows of one measure with its parameters."""
    return table.filter((pl.col("measure") == measure) & (pl.col("parameters").fill_null("") == parameters))


def with_chance(table: pl.DataFrame) -> pl.DataFrame:
    """The table without the columns of what chance gives, where it holds none."""
    empty = [name for name in ("null", "null_p") if name in table.columns and table[name].is_null().all()]
    return table.drop(empty)


def with_interval(
    table: pl.DataFrame, *, successes: str = "n_robust", trials: str = "n_images", name: str = "robust_accuracy"
) -> pl.DataFrame:
    """The table with the 95% Wilson interval of a share: columns `name`_low and `name`_high, null without trials."""
    low, high = wilson(reals(table, successes), reals(table, trials))
    return table.with_columns(
        pl.Series(f"{name}_low", low, dtype=pl.Float64).fill_nan(None),
        pl.Series(f"{name}_high", high, dtype=pl.Float64).fill_nan(None),
    )


def class_accuracy(robustness: pl.DataFrame, *, attack: str, iterate: str | None = None) -> pl.DataFrame:
    """Accuracy class by class under an attack with its 95% Wilson interval, for one iterate (all, if None)."""
    table = with_attack_name(robustness).filter(
        pl.col("robust_accuracy").is_finite() & (pl.col("attack_name") == attack)
    )
    if iterate is not None:
        table = table.filter(pl.col("iterate") == iterate)
    columns = ("model", "attack_name", "strength", "iterate", "class_index", "class_name", "n_images", "n_robust")
    return with_interval(table.select(*columns, "robust_accuracy")).sort("model", "iterate", "strength", "class_index")


def mean_accuracy(robustness: pl.DataFrame, *, attack: str, iterate: str | None = None) -> pl.DataFrame:
    """Accuracy over the images of all classes with its 95% Wilson interval: a row per model, strength and iterate."""
    table = class_accuracy(robustness, attack=attack, iterate=iterate)
    keys = ("model", "iterate", "strength")
    pooled = table.group_by(keys).agg(pl.len().alias("n_classes"), pl.col("n_images").sum(), pl.col("n_robust").sum())
    return with_interval(pooled.with_columns(robust_accuracy=pl.col("n_robust") / pl.col("n_images"))).sort(keys)


def strengths_of_classes(robustness: pl.DataFrame, *, attack: str, iterate: str) -> pl.DataFrame:
    """The strength at which the classes of a network differ most under an attack: columns model and strength."""
    return telling_strengths(class_accuracy(robustness, attack=attack, iterate=iterate))
