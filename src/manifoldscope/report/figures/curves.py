"""Measures by the number of points: whether a value belongs to the class or to the sample."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, INK, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MEASURES,
    MOST_MODELS,
    MOST_TOOLTIPS,
    class_lines,
    evenly,
    heading,
    in_order,
    leave_empty,
    look_of,
)
from manifoldscope.report.rows import number_range, of_measure, reals
from manifoldscope.tables import WHOLE

SECTION = Section("curves", "How do the values depend on the number of images?", place=120)


@FIGURES.register(
    "curves",
    section=SECTION,
    optional=True,
    missing="no curves over the number of points were measured (sampling.curve)",
)
def curves(contents: Contents) -> Iterator[Figure]:
    """Each measure against the number of points that are measured."""
    every = contents.tables["curves"]
    for rank, (measure, parameters) in enumerate(contents.measures_in(every)[:MOST_MEASURES]):
        table = of_measure(every, measure, parameters)
        measured = table.filter(pl.col("extrapolated").not_().fill_null(True))
        label = words.measure(measure, parameters)
        yield Figure(
            name=words.slug("curves", measure, parameters),
            title=f"{label} against the number of images",
            caption=(
                f"The {words.noun(label)} of each class (a thin line) when {number_range(measured['n_points'])} of its "
                "images are measured, as a mean over draws; a thick line is a measure of all classes together. Dashed "
                "is the ceiling, the largest value that that many points can give. Open marks, where there are any, "
                f"are extrapolated.{'' if rank else _READING}"
            ),
            chart=value_by_points(table, label=label, models=contents.models, layers=contents.layers),
            table=table,
            more=rank > 0,
        )


_READING = (
    " A line that still rises where it ends says that the value belongs to the number of images; one that runs along "
    "the ceiling says nothing of the class. Values are extrapolated by a law that the points themselves follow; where "
    "they follow none there is no mark, and the table says why. Not shown: the spread between draws, which is in the "
    "table and says nothing of other images, since all draws share theirs."
)


def value_by_points(
    table: pl.DataFrame, *, label: str, models: Sequence[str] = (), layers: Sequence[str] = ()
) -> Chart:
    """A measure against the number of points: a row per network, a column per layer, a thin line per class.

    Open marks are extrapolated; thick is the layer as a whole, dashed the ceiling of that many points.
    """
    values = table.filter(pl.col("value").is_finite())
    names = in_order(values["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = in_order(values["layer"].unique().to_list(), layers)[:MOST_LAYERS]
    chart = Chart(
        rows=len(names),
        columns=len(shown),
        width=(5.2, 4.2, 3.0, 2.3)[len(shown) - 1],
        height=2.1,
        left=0.85,
        top=0.45,
        bottom=0.8,
        down=0.55,
        across=0.5,
    )
    sizes = sorted(values["n_points"].unique().to_list())
    for (row, name), (column, layer) in itertools.product(enumerate(names), enumerate(shown)):
        axes = chart.panels[row][column]
        panel = values.filter((pl.col("model") == name) & (pl.col("layer") == layer))
        if panel.is_empty():
            leave_empty(axes, "no curve")
            continue
        _curves_panel(chart, axes, panel, look_of(name, models or names)["color"], sizes)
        if row == 0 or chart.apart:
            heading(axes, f"layer {layer}")
        if row == len(names) - 1 or chart.apart:
            axes.set_xlabel("Points a class (logarithmic)")
        if column == 0 or chart.apart:
            axes.set_ylabel(f"{plain(name, 24)}\n{plain(label, 34)}")
    keys = [Line2D([], [], color=FAINT, linewidth=0.8, label="a class")]
    if values["class_index"].min() == WHOLE:
        keys.append(Line2D([], [], color=INK, linewidth=1.8, label="all classes of the layer"))
    keys.append(Line2D([], [], color=INK, linewidth=1, linestyle=(0, (4, 2)), label="ceiling"))
    if values["extrapolated"].any():
        look: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": FAINT}
        keys.append(Line2D([], [], linestyle="none", label="extrapolated", markersize=4.5, **look))
    chart.legend(handles=keys, loc="lower center", ncols=len(keys), handlelength=2.2, borderaxespad=0.3)
    return chart


def _curves_panel(chart: Chart, axes: Axes, panel: pl.DataFrame, colour: str, sizes: Sequence[int]) -> None:
    measured = panel.filter(pl.col("extrapolated").not_().fill_null(True))
    further = panel.filter(pl.col("extrapolated"))
    classes, whole = measured.filter(pl.col("class_index") != WHOLE), measured.filter(pl.col("class_index") == WHOLE)
    class_lines(axes, classes, colour, across="n_points", up="value")
    axes.plot(reals(whole, "n_points"), reals(whole, "value"), color=INK, linewidth=1.8, zorder=4)
    many = classes["class_index"].n_unique() > 30
    if further.height:
        last = measured.sort("n_points").unique("class_index", keep="last", maintain_order=True)
        joined = pl.concat(
            [last.filter(pl.col("class_index").is_in(further["class_index"].unique().to_list())), further]
        )
        lines = [
            part.sort("n_points").select("n_points", "value").to_numpy() for part in joined.partition_by("class_index")
        ]
        axes.add_collection(LineCollection(lines, colors=colour, alpha=0.4, linewidths=0.7, linestyles="dotted"))
        axes.scatter(
            reals(further, "n_points"),
            reals(further, "value"),
            s=8 if many else 20,
            facecolor="white",
            edgecolor=colour,
            linewidth=0.8,
            zorder=3,
        )
    ends = classes.sort("n_points").unique("class_index", keep="last", maintain_order=True)
    if 0 < ends.height <= MOST_TOOLTIPS // (MOST_MODELS * MOST_LAYERS):
        points = axes.scatter(
            reals(ends, "n_points"), reals(ends, "value"), s=6 if many else 12, color=colour, linewidth=0
        )
        chart.explain(
            points,
            [
                f"{row['class_name']}: {words.number(row['value'])} from {row['n_points']} points"
                for row in ends.iter_rows(named=True)
            ],
        )
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / 1.1, sizes[-1] * 1.1)
    ticks = evenly(sizes, 6)
    axes.set_xticks(ticks, [words.number(size) for size in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    _ceiling_line(axes, panel)


def _ceiling_line(axes: Axes, panel: pl.DataFrame) -> None:
    """Limits that hold the values from 0 on, and the ceiling as far as it lies within; else a note where it is."""
    low, high = float(reals(panel, "value").min()), float(reals(panel, "value").max())
    axes.set_ylim(min(0.0, 1.1 * low), 1.15 * high if high > 0 else 1.0)
    measured = panel.filter(pl.col("ceiling").is_finite() & pl.col("extrapolated").not_().fill_null(True))
    bounds = measured.group_by("n_points").agg(pl.col("ceiling").max())
    if bounds.is_empty():
        return
    bounds = bounds.sort("n_points")
    axes.plot(reals(bounds, "n_points"), reals(bounds, "ceiling"), color=INK, linewidth=1, linestyle=(0, (4, 2)))
    if float(reals(bounds, "ceiling")[-1]) > 1.15 * high:
        note = f"ceiling {words.number(float(reals(bounds, 'ceiling')[-1]))} ↑"
        axes.text(0.99, 0.98, note, transform=axes.transAxes, ha="right", va="top", fontsize=7.5, color=FAINT)
