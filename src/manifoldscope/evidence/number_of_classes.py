"""What is measured against the number of training classes, over the classes that all of the networks know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from manifoldscope.evidence.measures import main_measure, of_classes

_BY = ("recipe", "layer", "measure", "parameters")


@dataclass(frozen=True)
class Trained:
    """Networks trained on one number of classes.

    Attributes:
        n_classes: trained on.
        n_networks: seeds.
        value: the mean of the measure over the common classes and the seeds.
        low, high: its 95% interval over the common classes (Student's t of their means over seeds); None for fewer than
            two classes.
        seed_deviation: the standard deviation over seeds of the mean over classes; None for one seed.
    """

    n_classes: int
    n_networks: int
    value: float
    low: float | None
    high: float | None
    seed_deviation: float | None


@dataclass(frozen=True)
class NumberOfClasses:
    """One recipe of training, one layer and one measure.

    Attributes:
        recipe: source and training, without seed and number of classes.
        n_common: classes that every one of the networks is trained on; all values are of these.
        trained: from the fewest classes to the most.
        change: from the fewest to the most, the mean over the common classes, with its 95% interval from the changes of
            the classes (Student's t); None for fewer than two classes.
        n_rising: common classes whose value is larger with the most classes than with the fewest.
    """

    recipe: str
    layer: str
    measure: str
    parameters: str | None
    n_common: int
    trained: tuple[Trained, ...]
    change: float
    change_low: float | None
    change_high: float | None
    n_rising: int

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each number of classes."""
        what = {"recipe": self.recipe, "layer": self.layer, "measure": self.measure, "parameters": self.parameters}
        return [{**what, "n_common": self.n_common, **vars(each)} for each in self.trained]


def numbers_of_classes(tables: Mapping[str, pl.DataFrame], *, main: bool = True) -> list[NumberOfClasses]:
    """The measures of networks that differ in the number of classes they are trained on, by recipe and layer.

    Networks are compared on the classes that all of them know, whose images are the same for all. More classes also
    bring more training images: the two cannot be told apart unless each class has fewer.

    Args:
        tables: `models` and `geometry`, as in `manifoldscope.tables`.
        main: of the main measure alone; else of all.

    Returns:
        One fact for each recipe that has networks with at least two numbers of classes, layer and measure.
    """
    trained = tables["models"].filter(pl.col("n_trained_classes").is_not_null())
    if trained["n_trained_classes"].n_unique() < 2:
        return []
    measured = of_classes(tables["geometry"]).filter(pl.col("value").is_finite())
    joined = measured.join(trained.select("model", "n_trained_classes", "recipe"), on="model")
    if joined.is_empty():
        return []
    found = []
    for key, group in (main_measure(joined) if main else joined).group_by(_BY, maintain_order=True):
        fact = _fact(dict(zip(_BY, key, strict=True)), group)
        found += [] if fact is None else [fact]
    return found


def _fact(what: Mapping[str, Any], group: pl.DataFrame) -> NumberOfClasses | None:
    n_models = group["model"].n_unique()
    common = group.group_by("class_index").agg(pl.col("model").n_unique()).filter(pl.col("model") == n_models)
    rows = group.join(common.select("class_index"), on="class_index", how="semi")
    numbers = sorted(rows["n_trained_classes"].unique())
    if len(numbers) < 2:
        return None
    of_classes = {n: _class_means(rows.filter(pl.col("n_trained_classes") == n)) for n in numbers}
    changes = of_classes[numbers[-1]] - of_classes[numbers[0]]
    low, high = _interval(changes)
    return NumberOfClasses(
        **what,
        n_common=len(changes),
        trained=tuple(_trained(rows.filter(pl.col("n_trained_classes") == n), n, of_classes[n]) for n in numbers),
        change=float(changes.mean()),
        change_low=low,
        change_high=high,
        n_rising=int((changes > 0).sum()),
    )


def _class_means(rows: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The mean over seeds of each common class, by index."""
    means = rows.group_by("class_index").agg(pl.col("value").mean()).sort("class_index")
    return means["value"].to_numpy().astype(np.float64)


def _trained(rows: pl.DataFrame, n_classes: int, values: np.ndarray[Any, np.dtype[np.float64]]) -> Trained:
    seeds = rows.group_by("model").agg(pl.col("value").mean())["value"]
    low, high = _interval(values)
    deviation = seeds.std()
    return Trained(
        n_classes=int(n_classes),
        n_networks=len(seeds),
        value=float(values.mean()),
        low=low,
        high=high,
        seed_deviation=float(deviation) if isinstance(deviation, float) else None,
    )


def _interval(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float | None, float | None]:
    """The 95% interval of a mean by Student's t; None for a single value.

    Example:
        >>> tuple(round(limit, 3) for limit in _interval(np.array([1.0, 2.0, 3.0])))
        (-0.484, 4.484)
    """
    n = len(values)
    if n < 2:
        return None, None
    half = float(stats.t.ppf(0.975, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half
