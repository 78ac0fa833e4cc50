"""Accuracy on another dataset of the same classes beside clean accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from manifoldscope.evidence import beside_clean
from manifoldscope.report import words
from manifoldscope.report.chart import INK, Chart
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_MODELS,
    MOST_TOOLTIPS,
    NAMED_CLASSES,
    heading,
    in_order,
    leave_empty,
    look_of,
    name_points,
    percent_axis,
)
from manifoldscope.report.rows import number_range, reals, with_interval

SECTION = Section("shifts", "How accurate is the network under distribution shift?", place=90)


@FIGURES.register(
    "shifts",
    section=SECTION,
    optional=True,
    missing="no other dataset of the same classes was tested ([[shifts]])",
)
def shifts(contents: Contents) -> Iterator[Figure]:
    """Accuracy on each dataset of the same classes against clean accuracy."""
    every = contents.tables["shifts"]
    for rank, dataset in enumerate(every["dataset"].unique(maintain_order=True)):
        table = shifted_beside_clean(every.filter(pl.col("dataset") == dataset))
        yield Figure(
            name=words.slug("shifts", dataset),
            title=f"Accuracy on {dataset} beside clean accuracy",
            caption=(
                f"Each point is a class: across, the share of its {number_range(table['n_clean'])} images of the study "
                "that are classified correctly without any attack; upwards, that of its "
                f"{number_range(table['n_images'])} images of {dataset}. Lines are 95% Wilson intervals. On the dashed "
                "line nothing changes; below it the network is less accurate on the class there."
                f"{'' if rank else _READING.format(dataset=dataset)}"
            ),
            chart=shifted_accuracy(table, models=contents.models),
            table=table,
            more=rank > 2,
        )


_READING = (
    " Where a point's lines reach the dashed one, chance may have moved it. Images of the study that are in {dataset} "
    "as well, stored alike, are left out; whether a network that came with its weights was trained on any of them "
    "cannot be seen here."
)


def shifted_beside_clean(shifted: pl.DataFrame) -> pl.DataFrame:
    """A row per model and class: accuracy on another dataset beside the clean one, and the change, with 95% intervals.

    Of the accuracies the intervals are Wilson's; of the change Newcombe's, for independent images.
    """
    table = with_interval(beside_clean(shifted), successes="n_correct", name="accuracy")
    return with_interval(table, successes="n_clean_correct", trials="n_clean", name="clean").select(
        *("model", "class_index", "class_name", "n_images", "accuracy", "accuracy_low", "accuracy_high"),
        *("n_clean", "clean_accuracy", "clean_low", "clean_high", "change", "change_low", "change_high"),
    )


def shifted_accuracy(table: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """Accuracy on another dataset against clean accuracy: a panel per network, a point per class, with 95% intervals.

    On the dashed line nothing changes. `table` is that of `shifted_beside_clean`, for one dataset.
    """
    finite = table.filter(pl.col("accuracy").is_finite() & pl.col("clean_accuracy").is_finite())
    names = in_order(finite["model"].unique().to_list(), models)[:MOST_MODELS]
    columns = min(3, max(1, len(names)))
    chart = Chart(
        rows=max(1, math.ceil(len(names) / columns)),
        columns=columns,
        width=3.2,
        height=3.2,
        top=0.45,
        bottom=0.55,
        across=0.45,
        down=0.95,
    )
    if not names:
        leave_empty(chart.flat[0], "no class has an accuracy on both datasets")
        return chart
    for place, axes in enumerate(chart.flat):
        if place >= len(names):
            axes.set_visible(False)
            continue
        panel = finite.filter(pl.col("model") == names[place]).sort("class_index")
        _shifted_panel(chart, axes, panel, names[place], models or names)
        axes.set_xlabel("Clean accuracy (%)")
        if place % columns == 0:
            axes.set_ylabel("Accuracy on the other dataset (%)")
    return chart


def _shifted_panel(chart: Chart, axes: Axes, panel: pl.DataFrame, name: str, models: Sequence[str]) -> None:
    look = look_of(name, models)
    x, y = reals(panel, "clean_accuracy"), reals(panel, "accuracy")
    alpha = 0.5 if panel.height <= 30 else max(0.05, 15 / panel.height)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    crowded = panel.height * MOST_MODELS > MOST_TOOLTIPS
    lines = {"color": look["color"], "linewidth": 0.9, "alpha": alpha, "rasterized": crowded}
    axes.vlines(x, reals(panel, "accuracy_low"), reals(panel, "accuracy_high"), **lines)
    axes.hlines(y, reals(panel, "clean_low"), reals(panel, "clean_high"), **lines)
    points = axes.scatter(x, y, s=24, linewidth=0, zorder=3, rasterized=crowded, **look)
    if not crowded:
        chart.explain(
            points,
            [
                f"{row['class_name']}: {row['clean_accuracy'] * 100:.0f}% clean ({row['n_clean']} images), "
                f"{row['accuracy'] * 100:.0f}% here ({row['n_images']}); change "
                f"{words.number(100 * row['change_low'])} to {words.number(100 * row['change_high'])} points"
                for row in panel.iter_rows(named=True)
            ],
        )
    lowest = float(np.nanmin(panel.select("accuracy_low", "clean_low").to_numpy()))
    limits = (max(-0.04, lowest - 0.08), 1.04)
    percent_axis(axes)
    ticks = [tick for tick in axes.get_yticks() if tick >= limits[0]]
    axes.set_yticks(ticks)
    axes.set_xticks(ticks)
    axes.set_ylim(*limits)
    axes.set_xlim(*limits)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}"))
    if panel.height <= NAMED_CLASSES:
        name_points(chart, axes, x, y, panel["class_name"].to_list())
    heading(axes, name, "point: a class; dashed: no change", size=9)
