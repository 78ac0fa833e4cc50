"""How a measure spreads over the classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.ticker import MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.chart import Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MEASURES,
    MOST_MODELS,
    heading,
    in_order,
    leave_empty,
    look_of,
    value_axis,
)
from manifoldscope.report.rows import Reals, clean_geometry, number_range, of_measure, reals, with_chance

SECTION = Section("histograms", "How do dimensions spread over the classes?", place=110)


@FIGURES.register("histograms", section=SECTION, missing="no class has a value in the table geometry")
def histograms(contents: Contents) -> Iterator[Figure]:
    """How many classes have which value of a measure: a figure per measure."""
    for rank, (measure, parameters) in enumerate(contents.measures[:MOST_MEASURES]):
        label = words.measure(measure, parameters)
        table = of_measure(clean_geometry(contents.tables["geometry"]), measure, parameters)
        yield Figure(
            name=words.slug("histograms", measure, parameters),
            title=f"{label}: how many classes have which value",
            caption=(
                f"How many classes have which {words.noun(label)}; the ticks under the bars are the single classes. "
                "Networks share their axis within a layer. The dashed line is the ceiling, or an arrow points to it "
                f"where it lies far to the right: the largest value that {number_range(table['n_points'])} points a "
                "class can give. Classes that crowd against it describe the number of images and not the manifold."
            ),
            chart=dimension_histograms(table, label=label, models=contents.models, layers=contents.layers),
            table=with_chance(
                table.select(
                    *("model", "layer", "class_index", "class_name", "value", "stderr"),
                    *("n_points", "n_features", "ceiling", "null", "null_p", "note"),
                )
            ),
            more=rank > 0,
        )


def dimension_histograms(
    values: pl.DataFrame,
    *,
    label: str,
    models: Sequence[str] = (),
    layers: Sequence[str] = (),
) -> Chart:
    """How the classes spread over the measure: a row per network, a column per layer, the ceiling drawn."""
    names = in_order(values["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = in_order(values["layer"].unique().to_list(), layers)[:MOST_LAYERS]
    chart = Chart(
        rows=len(names),
        columns=len(shown),
        width=(5.5, 4.6, 3.1, 2.3)[len(shown) - 1],
        height=1.15,
        left=0.8,
        top=0.3,
        down=0.42,
        across=0.45,
        bottom=0.5,
    )
    for column, layer in enumerate(shown):
        of_layer = values.filter(pl.col("layer") == layer)
        everything = reals(of_layer, "value")
        edges = _edges(everything)
        for row, name in enumerate(names):
            axes = chart.panels[row][column]
            panel = of_layer.filter(pl.col("model") == name)
            if panel.is_empty():
                leave_empty(axes, "not measured")
                continue
            look = look_of(name, models or names)
            x = reals(panel, "value")
            counts, _, _ = axes.hist(
                x, bins=edges.tolist(), color=look["color"], alpha=0.85, edgecolor="white", linewidth=0.6
            )
            most = float(np.max(counts))
            axes.set_ylim(-0.14 * most, 1.12 * most)
            value_axis(axes, everything, reals(panel, "ceiling"))
            axes.set_xlim(min(axes.get_xlim()[0], edges[0]), max(axes.get_xlim()[1], edges[-1]))
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.grid(axis="x", visible=False)
            if panel.height <= 200:
                rug = axes.scatter(x, np.full(x.size, -0.07 * most), marker="|", s=22, linewidth=1, color=look["color"])
                chart.explain(
                    rug,
                    [f"{row['class_name']}: {words.number(row['value'])}" for row in panel.iter_rows(named=True)],
                )
            if row == 0 or chart.apart:
                heading(axes, f"layer {layer}")
            if row == len(names) - 1 or chart.apart:
                axes.set_xlabel(label)
            if column == 0 or chart.apart:
                axes.set_ylabel(f"{plain(name, 18)}\nclasses")
    return chart


def _edges(values: Reals) -> Reals:
    low, high = float(values.min()), float(values.max())
    if np.all(values == np.round(values)):
        step = max(1, math.ceil((high - low + 1) / 40))
        return np.arange(low - 0.5, high + step, step)
    if high == low:
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, 25)
