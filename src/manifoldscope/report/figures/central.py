"""The one picture that carries the answer of a study, above all others."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from manifoldscope.evidence.across_classes import across_classes
from manifoldscope.report import words
from manifoldscope.report.central_pair import central_pair
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, OPENING, Figure
from manifoldscope.report.figures.dimension_accuracy import beside_accuracy, central_cloud


@FIGURES.register("central", section=OPENING, missing="no measure could be associated with robust accuracy")
def central(contents: Contents) -> Iterator[Figure]:
    """The scatter that carries the answer: the classes of the network and layer with the largest coefficient."""
    fact, pair = across_classes(contents.tables), central_pair(contents.tables)
    if fact is None or pair is None:
        return
    table = beside_accuracy(
        contents.tables["geometry"],
        contents.tables["robustness"],
        layer=pair.layer,
        measure=fact.measure,
        parameters=fact.parameters or "",
        attack=pair.attack,
        iterate=pair.iterate,
    ).filter((pl.col("model") == pair.model) & ((pl.col("strength") - pair.strength).abs() < 1e-12))
    if table.is_empty():
        return
    label = words.measure(fact.measure, fact.parameters)
    several = f"Of {words.count(len(fact.asked), 'coefficient')} it is the largest, chosen for its size: it overstates."
    n_images = words.number(int(table["n_images"][0]))
    yield Figure(
        name="central",
        title=f"{label} against robust accuracy, {pair.model} at {pair.layer}",
        caption=(
            f"Each point is a class, with the 95% interval of its accuracy over {n_images} images under "
            f"{words.attack(pair.attack)}.{' ' + several if len(fact.asked) > 1 else ''}"
        ),
        chart=central_cloud(table, contents.tables["associations"], models=contents.models),
        table=table,
    )
