"""Defences: robust accuracy against clean accuracy, the time of training and the cost of a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from manifoldscope.evidence.defences import told
from manifoldscope.report import words
from manifoldscope.report.chart import Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_MODELS, heading, in_order, look_of, percent_axis
from manifoldscope.report.rows import Reals, number_range, reals

SECTION = Section("defences", "What do defences cost, and what do they lose?", place=63)

_COSTS = {
    "seconds": ("training time", "Seconds of training"),
    "multiply_adds": ("forward pass", "Multiply-adds per image"),
}
"""The columns that say what a network costs: the heading of the panel, and the label of its axis."""


@FIGURES.register(
    "defences",
    section=SECTION,
    optional=True,
    missing="no network was attacked with and without a defence",
)
def defences(contents: Contents) -> Iterator[Figure]:
    """Robust against clean accuracy, and against what a defence costs: a figure for each source and norm."""
    for rank, table in enumerate(told(contents.tables["defences"]).partition_by("source", "norm", maintain_order=True)):
        row = table.row(0, named=True)
        attacks = words.listing([words.attack(name) for name in row["attacks"].split(" + ")])
        strength = f"ε = {words.strength(row['strength'])} ({words.norm(row['norm'])})"
        yield Figure(
            name=words.slug("defences", row["source"], row["norm"]),
            title=f"{row['source']}: defences under {attacks} at {strength}",
            caption=(
                f"Each point is a network of {row['source']} with its defence and training. Robust are images that no "
                f"iterate of any of these attacks misclassifies ({attacks}), at the strength at which the networks "
                f"differ most. Left: against accuracy on the same {number_range(table['n_images'])} clean images. "
                "Beside it: against what training took on the machine of this study, other work included, and against "
                "the multiplications of a forward pass, which are the same everywhere. Bars are 95% Wilson intervals "
                "over images; how much a retraining would change is not in them."
            ),
            chart=defences_chart(table, models=contents.models),
            table=table,
            more=rank > 0,
        )


def defences_chart(table: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """A panel of robust against clean accuracy, and one for each cost that is known."""
    names = in_order(table["model"].to_list(), models)[:MOST_MODELS]
    shown = table.filter(pl.col("model").is_in(names))
    costs = [column for column in _COSTS if (shown[column].is_finite() & (shown[column] > 0)).any()]
    columns = 1 + len(costs)
    chart = Chart(
        columns=columns,
        width=(4.6, 3.4, 2.6)[columns - 1],
        height=2.6,
        bottom=0.75 + 0.2 * (len(names) > 4),
        across=0.4,
    )
    for place, axes in enumerate(chart.flat):
        across = ["clean_accuracy", *costs][place]
        for row in shown.iter_rows(named=True):
            _draw(chart, axes, row, across, look_of(row["model"], models or names))
        percent_axis(axes, label="" if place else "Robust accuracy (%)")
        if place:
            title, label = _COSTS[across]
            _cost_axis(axes, reals(shown, across), label)
            heading(axes, title)
    _clean_axis(chart.flat[0], shown)
    keys = [Line2D([], [], linestyle="", label=plain(name, 28), **look_of(name, models or names)) for name in names]
    chart.legend(handles=keys, loc="lower center", ncols=4, borderaxespad=0.3)
    return chart


def _draw(chart: Chart, axes: Axes, row: Mapping[str, Any], across: str, look: Mapping[str, Any]) -> None:
    x, y = row[across], row["robust_accuracy"]
    if x is None or y is None or not np.isfinite([x, y]).all() or (across != "clean_accuracy" and x <= 0):
        return
    axes.vlines(x, row["robust_low"], row["robust_high"], color=look["color"], linewidth=1)
    if across == "clean_accuracy":
        axes.hlines(y, row["clean_low"], row["clean_high"], color=look["color"], linewidth=1)
    point = axes.scatter([x], [y], s=36, linewidth=0, zorder=4, **look)
    chart.explain(point, [_explained(row)])


def _explained(row: Mapping[str, Any]) -> str:
    way = [f"defence {row['defence']}"] if row["defence"] else []
    way += [f"trained by {row['objective']}"] if row["objective"] else []
    took = f", {words.number(row['seconds'])} s of training" if row["seconds"] else ""
    return (
        f"{row['model']} ({', '.join(way) or 'no defence'}): {row['n_robust']} of {row['n_images']} robust, "
        f"{row['n_clean_correct']} correct when clean{took}"
    )


def _clean_axis(axes: Axes, table: pl.DataFrame) -> None:
    low = np.nanmin(reals(table, "clean_low"), initial=1.0)
    axes.set_xlim(low - 0.02 * (1.02 - low), 1.0 + 0.03 * (1.02 - low))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}"))
    axes.set_xlabel("Clean accuracy (%)")
    heading(axes, "accuracy")


def _cost_axis(axes: Axes, values: Reals, label: str) -> None:
    """A logarithmic axis that reaches beyond the values."""
    known = values[np.isfinite(values) & (values > 0)]
    axes.set_xscale("log")
    axes.set_xlim(known.min() / 1.5, known.max() * 1.5)
    narrow = known.max() < 5 * known.min()  # 1, 2 and 5 of each power of ten would be one or two of its values
    axes.xaxis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=(1, 2, 5), numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def _short(value: float) -> str:
    """20, 5k, 2M or 1G.

    Example:
        >>> [_short(value) for value in (0.5, 20, 5e3, 2e6, 1e9)]
        ['0.5', '20', '5k', '2M', '1G']
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
