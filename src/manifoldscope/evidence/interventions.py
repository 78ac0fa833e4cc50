"""Interventions on a layer, as facts: robust accuracy with leading directions beside that with random ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.attacks import preferred_iterate
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.proportions import difference

_WHICH = ("model", "intervention", "layer", "of", "keep", "attack", "parameters", "strength", "iterate")
_MEANS = ("robust_accuracy", "clean_accuracy", "dimension")


@dataclass(frozen=True)
class Difference:
    """One accuracy less another, with its 95% interval: see `paired`."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Control:
    """Random directions, beside the leading ones.

    Attributes:
        directions: "random", or "random_rescaled" to the same mean squared change.
        robust, clean, dimension: means over draws, numbers of directions and classes.
        robust_difference, clean_difference: of the leading directions less these.
    """

    directions: str
    robust: float
    clean: float
    dimension: float
    robust_difference: Difference
    clean_difference: Difference


@dataclass(frozen=True)
class Intervened:
    """One network with directions of one layer projected out, or kept alone, under one attack.

    Attributes:
        of, keep: whose directions, and what is done to them, as in the table `interventions`.
        n_directions: the numbers over which means are taken.
        robust, clean, dimension: with the leading directions: means over these numbers and the classes.
        untouched_robust, untouched_clean: without any intervention; None where the table `robustness` does not tell.
        at_chance: clean accuracy without intervention is hardly above chance, so that nothing can change.
        controls: random directions, each beside the leading ones.
    """

    model: str
    intervention: str
    layer: str
    of: str
    keep: str
    attack: str
    strength: float
    n_directions: tuple[int, ...]
    n_classes: int
    n_images: int
    robust: float
    clean: float
    dimension: float
    untouched_robust: float | None
    untouched_clean: float | None
    at_chance: bool
    controls: tuple[Control, ...]


def paired(accuracies: FloatArray, others: FloatArray, n_images: FloatArray) -> Difference:
    """The mean difference of accuracies of the same classes, with its 95% interval.

    The interval is Student's over the classes, and no narrower than Newcombe's for that many independent images: where
    all classes differ alike, the classes alone would claim certainty. Shared images make the latter too wide.

    Example:
        >>> found = paired(np.array([0.2, 0.4, 0.3]), np.array([0.5, 0.6, 0.7]), np.array([1000.0] * 3))
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
        (-0.3, -0.548, -0.052)
    """
    gaps, n = accuracies - others, len(accuracies)
    total = np.array([n_images.sum()])
    of_images = difference((accuracies * n_images).sum()[None], total, (others * n_images).sum()[None], total)
    pooled = float(((accuracies - others) * n_images).sum() / n_images.sum())
    below, above = pooled - float(of_images[0][0]), float(of_images[1][0]) - pooled
    if n > 1:
        half = float(special.stdtrit(n - 1, 0.975)) * float(gaps.std(ddof=1)) / math.sqrt(n)
        below, above = max(below, half), max(above, half)
    value = float(gaps.mean())
    return Difference(value, max(-1.0, value - below), min(1.0, value + above))


def beside_random(table: pl.DataFrame) -> pl.DataFrame:
    """A row per class, number of directions and control of the table `interventions`: the leading ones beside it.

    Random draws are averaged; columns of the leading directions end in `_leading`. Rows without an outcome are left
    out, and of two iterates the last is taken.
    """
    rows = preferred_iterate(table.filter(pl.all_horizontal(pl.col("robust_accuracy", "clean_accuracy").is_finite())))
    by = (*_WHICH, "class_index", "class_name", "n_directions")
    each = rows.group_by(*by, "directions").agg(pl.col(_MEANS).mean(), pl.col("n_images").first())
    leading = each.filter(pl.col("directions") == "leading").select(*by, *_MEANS)
    controls = each.filter(pl.col("directions") != "leading")
    joined = controls.join(leading, on=by, suffix="_leading", nulls_equal=True)
    return joined.sort(*_WHICH, "directions", "n_directions", "class_index", nulls_last=True)


def interventions(table: pl.DataFrame, robustness: pl.DataFrame, models: pl.DataFrame) -> list[Intervened]:
    """What the table `interventions` says of each network, subspace and projection."""
    chance = at_chance(models)
    found = []
    for _, rows in beside_random(table).group_by(_WHICH, maintain_order=True):
        controls = tuple(_controls(rows))
        first, named = rows.row(0, named=True), rows.filter(pl.col("directions") == rows["directions"][0])
        untouched = _untouched(robustness, first)
        by_class = _by_class(named)
        found.append(
            Intervened(
                **{name: first[name] for name in _WHICH if name not in ("parameters", "iterate")},
                n_directions=tuple(sorted(set(named["n_directions"]))),
                n_classes=by_class.height,
                n_images=int(by_class["n_images"].sum()),
                robust=_mean(by_class, "robust_accuracy_leading"),
                clean=_mean(by_class, "clean_accuracy_leading"),
                dimension=_mean(by_class, "dimension_leading"),
                untouched_robust=untouched[0],
                untouched_clean=untouched[1],
                at_chance=first["model"] in chance,
                controls=controls,
            )
        )
    return found


def _controls(rows: pl.DataFrame) -> Iterator[Control]:
    for (directions,), mine in rows.group_by(["directions"], maintain_order=True):
        by_class = _by_class(mine)
        n_images = by_class["n_images"].cast(pl.Float64).to_numpy()
        robust, clean = (
            paired(by_class[f"{name}_leading"].to_numpy(), by_class[name].to_numpy(), n_images)
            for name in ("robust_accuracy", "clean_accuracy")
        )
        yield Control(
            directions=str(directions),
            robust=_mean(by_class, "robust_accuracy"),
            clean=_mean(by_class, "clean_accuracy"),
            dimension=_mean(by_class, "dimension"),
            robust_difference=robust,
            clean_difference=clean,
        )


def _by_class(rows: pl.DataFrame) -> pl.DataFrame:
    """Means over the numbers of directions: a row per class."""
    columns = [*_MEANS, *(f"{name}_leading" for name in _MEANS)]
    return rows.group_by("class_index").agg(pl.col(columns).mean(), pl.col("n_images").first()).sort("class_index")


def _mean(rows: pl.DataFrame, column: str) -> float:
    """NaN where there is no number."""
    values = rows[column].drop_nulls().drop_nans()
    return float(values.to_numpy().mean()) if len(values) else math.nan


def _untouched(robustness: pl.DataFrame, row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Robust and clean accuracy under the same attack without intervention: means over the classes."""
    same = ("model", "attack", "parameters", "strength", "iterate")
    rows = robustness.filter(pl.all_horizontal(pl.col(name).eq_missing(pl.lit(row[name])) for name in same))
    if rows.is_empty():
        return None, None
    return _mean(rows, "robust_accuracy"), _mean(rows, "clean_accuracy")
