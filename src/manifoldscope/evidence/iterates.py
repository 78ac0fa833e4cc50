"""What the last iterate of an attack leaves out: images that were misclassified on the way, and not at the end."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.attacks import with_attack_name


@dataclass(frozen=True)
class Gap:
    """A network under an attack at a strength, over all classes: images robust at the last, and at any iterate."""

    model: str
    attack: str
    strength: float
    n_images: int
    n_robust: int
    n_robust_any: int
    gap: float


def gaps(robustness: pl.DataFrame, models: pl.DataFrame) -> list[Gap]:
    """Every setting that was judged both ways, that of the largest gap first; without networks at chance level."""
    robustness = robustness.filter(~pl.col("model").is_in(list(at_chance(models))))
    keys = ["model", "attack", "strength", "class_index"]
    named = (
        with_attack_name(robustness).with_columns(attack="attack_name").select(*keys, "iterate", "n_images", "n_robust")
    )
    last, best = (named.filter(pl.col("iterate") == name).drop("iterate") for name in ("last", "any"))
    sums = (
        last.join(best.drop("n_images"), on=keys, suffix="_any")
        .group_by("model", "attack", "strength", maintain_order=True)
        .agg(pl.col("n_images", "n_robust", "n_robust_any").sum())
        .with_columns(gap=(pl.col("n_robust") - pl.col("n_robust_any")) / pl.col("n_images"))
        .sort("gap", descending=True, maintain_order=True)
    )
    return [Gap(**row) for row in sums.iter_rows(named=True)]
