"""Distribution shifts, as facts: how accuracy changes on another dataset of the same classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from manifoldscope.chance import near_chance
from manifoldscope.evidence.proportions import difference

EXPECTED_BY_CHANCE = 0.05
"""The share of 95% intervals that leave out 0 where nothing changed."""


@dataclass(frozen=True)
class Change:
    """By how much accuracy differs from that on the study's own images, with its 95% interval (Newcombe 1998)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Shift:
    """One network on another dataset of the same classes, beside the study's own images.

    Attributes:
        accuracy, n_images: on the dataset, over all classes; clean_accuracy, n_clean: on the study's own.
        at_chance: clean accuracy is hardly above chance, so that the change says nothing.
        change: over all classes.
        n_classes, n_clear: of which so many have an interval that leaves out 0.
        worst_class, worst: the class whose accuracy falls most, by its name, or its index where it has none.
    """

    model: str
    accuracy: float
    n_images: int
    clean_accuracy: float
    n_clean: int
    at_chance: bool
    change: Change
    n_classes: int
    n_clear: int
    worst_class: str
    worst: Change


@dataclass(frozen=True)
class Shifted:
    """Every network on one dataset; `rows` are their sums over classes with the change."""

    dataset: str
    networks: tuple[Shift, ...]
    rows: tuple[Mapping[str, Any], ...]


def beside_clean(shifted: pl.DataFrame) -> pl.DataFrame:
    """The table `shifts` with the change of accuracy of each class in `change`, and its 95% interval.

    `change_low` and `change_high` are Newcombe's, for images of the two datasets that are independent.
    """
    counts = (
        shifted[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        for name in ("n_correct", "n_images", "n_clean_correct", "n_clean")
    )
    low, high = difference(*counts)
    return shifted.with_columns(
        (pl.col("accuracy") - pl.col("clean_accuracy")).alias("change"),
        pl.Series("change_low", np.asarray(low), dtype=pl.Float64),
        pl.Series("change_high", np.asarray(high), dtype=pl.Float64),
    )


def shifts(shifted: pl.DataFrame, models: pl.DataFrame) -> list[Shifted]:
    """How accuracy differs on each other dataset of the same classes, for every network."""
    n_classes = dict(models.select("model", "n_classes").iter_rows())
    found = []
    for (dataset,), rows in shifted.group_by(["dataset"], maintain_order=True):
        pooled = beside_clean(
            rows.group_by("model", maintain_order=True)
            .agg(pl.col("n_images", "n_correct", "n_clean", "n_clean_correct").sum())
            .with_columns(
                (pl.col("n_correct") / pl.col("n_images")).alias("accuracy"),
                (pl.col("n_clean_correct") / pl.col("n_clean")).alias("clean_accuracy"),
            )
        ).to_dicts()
        networks = [
            _shift(row, beside_clean(rows.filter(pl.col("model") == row["model"])), n_classes.get(row["model"]))
            for row in pooled
        ]
        found.append(Shifted(str(dataset), tuple(networks), tuple(pooled)))
    return found


def _shift(row: Mapping[str, Any], classes: pl.DataFrame, n_classes: int | None) -> Shift:
    worst = classes.sort("change", "class_index").row(0, named=True)
    return Shift(
        model=row["model"],
        accuracy=row["accuracy"],
        n_images=row["n_images"],
        clean_accuracy=row["clean_accuracy"],
        n_clean=row["n_clean"],
        at_chance=near_chance(row["clean_accuracy"], n_classes or classes.height),
        change=_change(row),
        n_classes=classes.height,
        n_clear=classes.filter((pl.col("change_low") > 0) | (pl.col("change_high") < 0)).height,
        worst_class=str(worst["class_name"] or worst["class_index"]),
        worst=_change(worst),
    )


def _change(row: Mapping[str, Any]) -> Change:
    return Change(row["change"], row["change_low"], row["change_high"])
