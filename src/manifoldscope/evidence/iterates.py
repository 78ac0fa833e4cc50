"""What the last iterate of an attack leaves out: images that were misclassified on the way, and not at the end."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from manifoldscope.evidence.attacks import with_attack


@dataclass(frozen=True)
class Gap:
    """A network under an attack at a strength, over all classes: how many images survive the last, and any iterate."""

    model: str
    threat: str
    strength: float
    n_images: int
    n_survived: int
    n_survived_any: int
    gap: float


def gaps(robustness: pl.DataFrame) -> list[Gap]:
    """Every setting that was judged both ways, that of the largest gap first."""
    keys = ["model", "threat", "strength", "class_index"]
    named = with_attack(robustness).with_columns(threat="attack").select(*keys, "iterate", "n_images", "n_survived")
    last, best = (named.filter(pl.col("iterate") == name).drop("iterate") for name in ("last", "any"))
    sums = (
        last.join(best.drop("n_images"), on=keys, suffix="_any")
        .group_by("model", "threat", "strength", maintain_order=True)
        .agg(pl.col("n_images", "n_survived", "n_survived_any").sum())
        .with_columns(gap=(pl.col("n_survived") - pl.col("n_survived_any")) / pl.col("n_images"))
        .sort("gap", descending=True, maintain_order=True)
    )
    return [Gap(**row) for row in sums.iter_rows(named=True)]
