"""What was measured, where nothing was attacked: how large the main measure is, class by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from manifoldscope.evidence.measures import main_measure, of_classes


@dataclass(frozen=True)
class Measured:
    """The main measure over the classes of one network at one layer.

    Attributes:
        n: classes with a value.
        mean: over these.
        least_class, least: the class with the smallest value, and that value; the largest likewise.
    """

    model: str
    layer: str
    n: int
    mean: float
    least_class: str
    least: float
    most_class: str
    most: float


@dataclass(frozen=True)
class ManifoldsAlone:
    """The measure, and every network and layer that has it."""

    measure: str
    parameters: str | None
    measured: tuple[Measured, ...]


def manifolds_alone(tables: Mapping[str, pl.DataFrame]) -> ManifoldsAlone | None:
    """None where classes were attacked, or none has a finite value.

    Args:
        tables: `geometry` and `robustness`, as in `manifoldscope.tables`.
    """
    values = of_classes(tables["geometry"]).filter(pl.col("value").is_finite())
    if values.is_empty() or not tables["robustness"].is_empty():
        return None
    main = main_measure(values)
    found = []
    for (model, layer), rows in main.group_by(["model", "layer"], maintain_order=True):
        ordered = rows.sort("value", "class_index").select("class_name", "value").rows()
        found.append(
            Measured(str(model), str(layer), len(ordered), sum(value for _, value in ordered) / len(ordered),
                     *ordered[0], *ordered[-1])
        )  # fmt: skip
    first = main.row(0, named=True)
    return ManifoldsAlone(first["measure"], first["parameters"], tuple(found))
