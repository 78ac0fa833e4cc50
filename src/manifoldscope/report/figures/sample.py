"""What a sample of images can show: measures by the number of points, and whether two samples agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from manifoldscope.evidence.across_classes import RELIABLE
from manifoldscope.report import words
from manifoldscope.report.behind import of_measure, reals
from manifoldscope.report.chart import FAINT, INK, Chart, plain, styled
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MODELS,
    MOST_TOOLTIPS,
    class_lines,
    evenly,
    heading,
    in_order,
    leave_empty,
    look_of,
)
from manifoldscope.tables import WHOLE


@styled
def value_by_points(
    curves: pl.DataFrame,
    *,
    measure: str,
    parameters: str = "",
    models: Sequence[str] = (),
    layers: Sequence[str] = (),
) -> Chart:
    """A measure against the number of points: a row a network, a column a layer, a thin line a class.

    Open marks are extrapolated; thick is the layer as a whole, dashed the ceiling of so many points.
    """
    values = of_measure(curves, measure, parameters).filter(pl.col("value").is_finite())
    names = in_order(values["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = in_order(values["layer"].unique().to_list(), layers)[:MOST_LAYERS]
    chart = Chart(
        rows=max(1, len(names)),
        columns=max(1, len(shown)),
        width=(5.2, 4.2, 3.0, 2.3)[max(1, len(shown)) - 1],
        height=2.1,
        left=0.85,
        top=0.45,
        bottom=0.8,
        down=0.55,
        across=0.5,
    )
    if not names:
        leave_empty(chart.flat[0], "no curve has been drawn up")
        return chart
    sizes = sorted(values["n_points"].unique().to_list())
    for (row, name), (column, layer) in itertools.product(enumerate(names), enumerate(shown)):
        axes = chart.panels[row][column]
        panel = values.filter((pl.col("model") == name) & (pl.col("layer") == layer))
        if panel.is_empty():
            leave_empty(axes, "no curve")
            continue
        _curves_panel(chart, axes, panel, look_of(name, models or names)["color"], sizes)
        if row == 0:
            heading(axes, f"layer {plain(layer, 30)}")
        if row == len(names) - 1:
            axes.set_xlabel("Points a class (logarithmic)")
        if column == 0:
            axes.set_ylabel(f"{plain(name, 24)}\n{plain(words.measure(measure, parameters), 34)}")
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


@styled
def reliability_by_measure(
    reliability: pl.DataFrame, *, models: Sequence[str] = (), layers: Sequence[str] = ()
) -> Chart:
    """How well two samples of the images agree on the classes: a panel a layer, a line a measure, a mark a network.

    The line through a mark is its 95% interval; dashed is where an association begins to be called attenuated.
    """
    known = reliability.filter(pl.col("reliability").is_finite())
    names = in_order(known["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = in_order(known["layer"].unique().to_list(), layers)[:MOST_LAYERS]
    measures = sorted(known.select("measure", pl.col("parameters").fill_null("")).unique().rows())
    texts = [plain(words.measure(*each), 36) for each in measures]
    chart = Chart(
        columns=max(1, len(shown)),
        width=(5.0, 3.6, 2.5, 2.0)[max(1, len(shown)) - 1],
        height=max(1.0, len(measures) * (0.2 + 0.11 * len(names))),
        left=0.3 + 0.068 * max(map(len, texts), default=10),
        top=0.35,
        bottom=0.85,
        across=0.3,
    )
    if not names:
        leave_empty(chart.flat[0], "no reliability has been estimated")
        return chart
    lowest = float(np.nanmin(reals(known, "low"), initial=0.0))
    for column, (axes, layer) in enumerate(zip(chart.flat, shown, strict=True)):
        for turn, name in enumerate(names):
            rows = known.filter((pl.col("model") == name) & (pl.col("layer") == layer))
            if rows.is_empty():
                continue
            look = look_of(name, models or names)
            offset = 0.6 * ((turn + 0.5) / len(names) - 0.5)
            keys = rows.select("measure", pl.col("parameters").fill_null("")).rows()
            y = np.array([measures.index(key) + offset for key in keys])
            axes.hlines(y, reals(rows, "low"), reals(rows, "high"), color=look["color"], linewidth=1.1, alpha=0.7)
            points = axes.scatter(reals(rows, "reliability"), y, s=26, linewidth=0, zorder=3, **look)
            chart.explain(
                points,
                [
                    f"{name}, {texts[measures.index(key)]}: {words.coefficient(row['reliability'])} "
                    f"({words.coefficient(row['low'])} to {words.coefficient(row['high'])}), {row['n_classes']} classes"
                    for key, row in zip(keys, rows.to_dicts(), strict=True)
                ],
            )
        axes.axvline(RELIABLE, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        axes.set_xlim(max(-1.05, min(-0.05, lowest - 0.05)), 1.05)
        axes.set_ylim(len(measures) - 0.5, -0.5)
        axes.set_yticks(range(len(measures)), texts if column == 0 else [])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Reliability across classes")
        heading(axes, f"layer {plain(layer, 30)}")
    marks = [
        Line2D([], [], label=plain(name, 24), linestyle="none", **look_of(name, models or names)) for name in names
    ]
    chart.legend(handles=marks, loc="lower center", ncols=min(len(marks), 5), borderaxespad=0.3)
    return chart
