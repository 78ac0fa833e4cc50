"""Measures through the depth of a network, as facts: the profile over its layers, its peak, its change, its trend.

Layers are in the order of execution, as the table `layers` has it. Only layers whose positions became points in the
same way are compared: the dimension of a flattened map and that of its average over space are other quantities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from scipy import special, stats

from manifoldscope.evidence.across_classes import across_classes
from manifoldscope.evidence.measures import describes_sample, of_classes
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.significance import Coefficient

FEWEST_LAYERS = 3
"""With fewer layers than this there is no profile."""

LEVEL = 0.05
"""That of intervals; of the peak, which is chosen after looking, for all layers within the profile together."""

Shape = Literal["peak", "rises", "falls", "open"]

_KEYS = ("model", "measure", "parameters")
_POOL = r" \[[^\[\]]+\]$"
_CALL = r"@\d+$"


@dataclass(frozen=True)
class OverClasses:
    """A mean over classes, with Student's interval; None where there is a single class."""

    value: float
    low: float | None
    high: float | None

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and self.low * self.high > 0

    @classmethod
    def of(cls, values: FloatArray, level: float = LEVEL) -> OverClasses:
        """That of at least one value.

        Example:
            >>> OverClasses.of(np.array([1.0, 2.0, 3.0])).clear, OverClasses.of(np.array([9.0, 9.5, 8.5])).clear
            (False, True)
        """
        n, value = len(values), float(values.mean())
        if n < 2:
            return cls(value, None, None)
        half = float(special.stdtrit(n - 1, 1 - level / 2)) * float(values.std(ddof=1)) / math.sqrt(n)
        return cls(value, value - half, value + half)


@dataclass(frozen=True)
class AtLayer:
    """The values of the classes in one layer.

    Attributes:
        layer: with its pool, where one was asked for.
        place, depth: in the order of execution, from 0; and over the place of the last layer of the network, in [0, 1].
        pool, n_features: how positions became points ("" where there are none), and how wide these are.
        mean: over `n_classes` classes.
        standard_deviation: of the classes; NaN of one.
        tenth, ninetieth: percentiles of the classes.
        ceiling: the largest that any class could have; None where it is not known.
        of_sample: share of the values that describe the sample and not the manifold.
    """

    layer: str
    place: int
    depth: float
    pool: str
    n_features: int | None
    n_classes: int
    mean: OverClasses
    standard_deviation: float
    tenth: float
    ninetieth: float
    ceiling: float | None
    of_sample: float


@dataclass(frozen=True)
class Profile:
    """One measure through the layers of one network.

    Attributes:
        layers: all, in the order of execution.
        pool: that of most layers; what follows is of these layers alone, and of those without positions.
        compared: their places among `layers`.
        peak: which of them has the largest mean.
        change: from the first to the last of them, class by class.
        above_first, above_last: the peak less the first and the last, class by class, with intervals that hold for all
            layers between these together (Bonferroni), as the peak is chosen after looking; None where it is one of
            the two.
        trend: Spearman's correlation of a class's values with depth; None where the measure is constant.
    """

    model: str
    measure: str
    parameters: str
    layers: tuple[AtLayer, ...]
    pool: str
    compared: tuple[int, ...]
    peak: AtLayer
    change: OverClasses
    above_first: OverClasses | None
    above_last: OverClasses | None
    trend: OverClasses | None

    @property
    def first(self) -> AtLayer:
        """The first layer that is compared."""
        return self.layers[self.compared[0]]

    @property
    def last(self) -> AtLayer:
        """The last layer that is compared."""
        return self.layers[self.compared[-1]]

    @property
    def pooled_otherwise(self) -> tuple[AtLayer, ...]:
        """The layers that are not compared."""
        return tuple(layer for at, layer in enumerate(self.layers) if at not in self.compared)

    @property
    def shape(self) -> Shape:
        """What the intervals over classes support.

        "peak": it rises and then falls, as intrinsic dimension does in trained classifiers (Ansuini, Laio, Macke and
        Zoccolan 2019, "Intrinsic dimension of data representations in deep neural networks"); "rises" or "falls" from
        the first layer to the last; "open": neither.
        """
        sides = (self.above_first, self.above_last)
        if all(side is not None and side.clear and side.value > 0 for side in sides):
            return "peak"
        if not self.change.clear:
            return "open"
        return "rises" if self.change.value > 0 else "falls"


@dataclass(frozen=True)
class AssociationAtLayer:
    """The association of a measure with robust accuracy across the classes, in one layer.

    Attributes:
        place, depth: as for `AtLayer`.
        coefficient: None where there is none.
        n: classes.
    """

    layer: str
    place: int
    depth: float
    coefficient: Coefficient | None
    n: int


@dataclass(frozen=True)
class AssociationProfile:
    """How one measure goes with robust accuracy, layer by layer, under the attack that tells the classes apart.

    Attributes:
        attack, strength, iterate: those of `across_classes`, chosen by accuracies alone.
        method: "pearson" or "spearman".
        layers: in the order of execution.
    """

    model: str
    measure: str
    parameters: str
    attack: str
    strength: float
    iterate: str
    method: str
    layers: tuple[AssociationAtLayer, ...]


def in_depth(rows: pl.DataFrame, layers: pl.DataFrame) -> pl.DataFrame:
    """Rows with the place and depth of their layer, in the order of execution; those of layers without are left out.

    A module that is called several times is measured, by its name alone, at its last call.

    Args:
        rows: columns model and layer.
        layers: the table.
    """
    known = layers.select("model", "place", "depth", _name="layer")
    last = known.filter(pl.col("_name").str.contains(_CALL)).with_columns(pl.col("_name").str.replace(_CALL, ""))
    last = last.sort("place").unique(["model", "_name"], keep="last")
    known = pl.concat([known, last]).unique(["model", "_name"], keep="first", maintain_order=True)
    named = rows.with_columns(_name=pl.col("layer").str.replace(_POOL, ""))
    return (
        named.join(known, on=["model", "_name"], how="inner").drop("_name").sort("model", "place", maintain_order=True)
    )


def profiles(tables: Mapping[str, pl.DataFrame]) -> list[Profile]:
    """Each measure of the classes, on clean images, through each network with at least three layers pooled alike.

    Args:
        tables: by name; geometry and layers are read.
    """
    rows = of_classes(tables["geometry"]).filter(pl.col("value").is_finite())
    placed = in_depth(rows, tables["layers"]).with_columns(pl.col("parameters", "pool").fill_null(""))
    found = map(_profile, placed.partition_by(_KEYS, maintain_order=True))
    return sorted(filter(None, found), key=lambda each: (each.model, each.measure, each.parameters))


def _profile(rows: pl.DataFrame) -> Profile | None:
    """That of one network and measure; None where too few layers are pooled alike, or no class has them all."""
    groups = rows.partition_by("layer", maintain_order=True)
    layers = tuple(_at_layer(group) for group in groups)
    pools = [layer.pool for layer in layers if layer.pool]
    # of equals the pool of the last layer
    pool = max(reversed(pools), key=pools.count) if pools else ""
    compared = tuple(at for at, layer in enumerate(layers) if layer.pool in (pool, ""))
    values = _complete([groups[at] for at in compared])
    if len(compared) < FEWEST_LAYERS or not values.size:
        return None
    top = int(np.argmax([layers[at].mean.value for at in compared]))
    inside = 0 < top < len(compared) - 1
    level = LEVEL / (len(compared) - 2)
    depths = np.array([layers[at].place for at in compared])
    ranks = _rank_correlations(depths, values[np.ptp(values, axis=1) > 0])
    return Profile(
        **rows.select(_KEYS).row(0, named=True),
        layers=layers,
        pool=pool,
        compared=compared,
        peak=layers[compared[top]],
        change=OverClasses.of(values[:, -1] - values[:, 0]),
        above_first=OverClasses.of(values[:, top] - values[:, 0], level) if inside else None,
        above_last=OverClasses.of(values[:, top] - values[:, -1], level) if inside else None,
        trend=_of_correlations(ranks) if ranks.size else None,
    )


def _rank_correlations(depths: FloatArray, values: FloatArray) -> FloatArray:
    """(classes,): Spearman's of each row of values, none of which is constant, with depth."""
    x, y = stats.rankdata(depths), stats.rankdata(values, axis=1)
    x, y = x - x.mean(), y - y.mean(axis=1, keepdims=True)
    found: FloatArray = (y @ x) / np.sqrt((y**2).sum(axis=1) * (x @ x))
    return found


def _of_correlations(ranks: FloatArray) -> OverClasses:
    """Their mean; its interval lies within [-1, 1]."""
    found = OverClasses.of(ranks)
    if found.low is None or found.high is None:
        return found
    return OverClasses(found.value, max(-1.0, found.low), min(1.0, found.high))


def _at_layer(rows: pl.DataFrame) -> AtLayer:
    first, values = rows.row(0, named=True), rows["value"].to_numpy()
    tenth, ninetieth = np.quantile(values, (0.1, 0.9))
    bounds = rows["ceiling"].drop_nulls().drop_nans()
    return AtLayer(
        **{name: first[name] for name in ("layer", "place", "depth", "pool", "n_features")},
        n_classes=len(values),
        mean=OverClasses.of(values),
        standard_deviation=float(values.std(ddof=1)) if len(values) > 1 else math.nan,
        tenth=float(tenth),
        ninetieth=float(ninetieth),
        ceiling=None if bounds.is_empty() else float(bounds.to_numpy().max()),
        of_sample=float(rows.select(describes_sample().mean()).item()),
    )


def _complete(groups: Sequence[pl.DataFrame]) -> FloatArray:
    """(classes, layers): the values of the classes that have one in every layer."""
    by_class = [dict(group.select("class_index", "value").iter_rows()) for group in groups]
    classes = sorted(set.intersection(*map(set, by_class))) if by_class else []
    return np.array([[values[label] for values in by_class] for label in classes], dtype=np.float64)


def association_profiles(tables: Mapping[str, pl.DataFrame]) -> list[AssociationProfile]:
    """The plain association of each measure with robust accuracy, layer by layer, for networks with enough layers.

    Networks at chance level have none.

    Args:
        tables: by name, all of them.
    """
    fact = across_classes(tables)
    chosen = (
        {pair.model: (pair.attack, pair.strength, pair.iterate, pair.method) for pair in fact.pairs} if fact else {}
    )
    rows = in_depth(tables["associations"], tables["layers"]).filter(pl.col("outcome") == "robust_accuracy")
    found = []
    for (model, measure, parameters), group in rows.group_by(_KEYS, maintain_order=True):
        if model not in chosen:
            continue
        attack, strength, iterate, method = chosen[model]
        mine = group.filter(attack=attack, strength=strength, iterate=iterate, method=method)
        if mine.height >= FEWEST_LAYERS:
            layers = tuple(
                AssociationAtLayer(row["layer"], row["place"], row["depth"], Coefficient.of(row), row["n"])
                for row in mine.iter_rows(named=True)
            )
            told = (str(model), str(measure), str(parameters or ""))
            found.append(AssociationProfile(*told, attack, strength, iterate, method, layers))
    return sorted(found, key=lambda each: (each.model, each.measure, each.parameters))
