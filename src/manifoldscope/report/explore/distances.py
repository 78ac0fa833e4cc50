"""How far the classes lie apart in each layer, and an order in which near ones stand beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from manifoldscope.report import words
from manifoldscope.report.contents import Measure
from manifoldscope.report.explore.view import Explored, placed
from manifoldscope.report.rows import Reals, of_measure, reals

_KNOWN = ("centroid_distance", "centroid_cosine")
_MOST_FOR_OPTIMAL = 200  # the best order of the leaves takes cubic time


class Between(NamedTuple):
    """What was measured between the classes of one network in one layer.

    Attributes:
        network, layer: by position.
        values: (C, C), symmetric, as the table `pairs` has them; NaN where not known.
        apart: (C, C), the same as distances: one less the cosine.
    """

    network: int
    layer: int
    values: Reals
    apart: Reals


def pair_measure(page: Explored) -> Measure | None:
    """The measure that says how near two classes lie: the distance of their centroids, or else its cosine."""
    found = page.contents.measures_in(page.contents.tables["pairs"])
    return next((measure for name in _KNOWN for measure in found if measure[0] == name), None)


def pair_label(page: Explored) -> str:
    """The same in words; empty where there is none."""
    measure = pair_measure(page)
    return words.measure(*measure) if measure else ""


def between(page: Explored) -> Iterator[Between]:
    """The matrices of each network and layer in the page, where there are any."""
    measure = pair_measure(page)
    if measure is None:
        return
    rows = of_measure(page.contents.tables["pairs"], *measure).filter(pl.col("value").is_finite())
    rows = placed(placed(rows, "model", page.networks, "n"), "layer", page.layers, "l")
    for name, other in (("class_index", "c"), ("other_class_index", "d")):
        rows = placed(rows, name, page.classes, other)
    for (network, layer), cell in sorted(rows.partition_by("n", "l", as_dict=True, maintain_order=True).items()):
        values = np.full((len(page.classes), len(page.classes)), np.nan)
        one, two = cell["c"].to_numpy(), cell["d"].to_numpy()
        values[one, two] = values[two, one] = reals(cell, "value")
        yield Between(network, layer, values, 1 - values if measure[0] == "centroid_cosine" else values)


def nearest(apart: Reals, place: int, most: int) -> list[int]:
    """The positions of the classes that lie nearest to one, the nearest first."""
    row = apart[place].copy()
    row[place] = np.nan
    order = np.argsort(row, kind="stable")
    return [int(other) for other in order[: min(most, int(np.isfinite(row).sum()))]]


def seriation(apart: Reals) -> list[int]:
    """An order of the classes in which near ones stand beside each other; those without distances come last.

    The leaves of average linkage; of at most 200 classes in the order that makes neighbours the nearest (Bar-Joseph,
    Gifford and Jaakkola, "Fast optimal leaf ordering for hierarchical clustering", 2001).
    """
    known = np.flatnonzero(np.isfinite(apart).sum(1) > 0)
    others = np.setdiff1d(np.arange(len(apart)), known).tolist()
    if len(known) < 3:
        return [*known.tolist(), *others]
    inside = apart[np.ix_(known, known)]
    inside = np.where(np.isfinite(inside), inside, np.nanmax(inside))
    np.fill_diagonal(inside, 0.0)
    condensed = np.maximum(squareform(inside, checks=False), 0.0)
    tree = linkage(condensed, "average")
    if len(known) <= _MOST_FOR_OPTIMAL:
        tree = optimal_leaf_ordering(tree, condensed)
    return [*known[leaves_list(tree)].tolist(), *others]
