"""Accuracy against epsilon from the smallest perturbations that a search found, class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from manifoldscope.report import words
from manifoldscope.report.behind import not_found, reals, survival_steps
from manifoldscope.report.chart import FAINT, Chart, plain, styled
from manifoldscope.report.figures.panel import (
    MOST_MODELS,
    MOST_TOOLTIPS,
    heading,
    in_order,
    leave_empty,
    look_of,
    percent_axis,
)


@styled
def accuracy_by_smallest(
    smallest: pl.DataFrame, verdicts: pl.DataFrame, *, threat: str, models: Sequence[str] = ()
) -> Chart:
    """Accuracy against epsilon: a panel a network, a falling line a class, a mark at its median smallest epsilon."""
    classes = not_found(smallest, threat=threat)
    names = in_order(classes["model"].unique().to_list(), models)[:MOST_MODELS]
    columns = min(4, max(1, len(names)))
    chart = Chart(
        rows=max(1, math.ceil(len(names) / columns)),
        columns=columns,
        width=(5.6, 4.4, 3.1, 2.35)[columns - 1],
        height=2.5,
        top=0.5,
        bottom=0.95,
        across=0.28,
        down=1.0,
    )
    if not names:
        leave_empty(chart.flat[0], "no search for smallest perturbations has been run")
        return chart
    steps = survival_steps(verdicts, threat=threat)
    farthest = classes.filter(pl.col("upper_quartile").is_finite())["upper_quartile"].max()
    largest = float(reals(classes, "largest").max())
    right = min(largest, 1.6 * float(farthest)) if isinstance(farthest, float) and farthest > 0 else largest
    for place, axes in enumerate(chart.flat):
        if place >= len(names):
            axes.set_axis_off()
            continue
        name = names[place]
        look = look_of(name, models or names)
        mine = classes.filter(pl.col("model") == name)
        lines = [
            np.column_stack([reals(part, "epsilon"), reals(part, "accuracy")])
            for part in steps.filter(pl.col("model") == name).partition_by("class_index", maintain_order=True)
        ]
        alpha = 0.5 if len(lines) <= 20 else max(0.06, 9 / len(lines))
        axes.add_collection(
            LineCollection(lines, colors=look["color"], alpha=alpha, linewidths=0.9, rasterized=len(lines) > 100)
        )
        known = mine.filter(pl.col("median").is_finite())
        marks = axes.scatter(
            reals(known, "median"), np.full(known.height, 0.5), s=24, linewidth=0, alpha=0.8, zorder=4, **look
        )
        if 0 < classes.height <= MOST_TOOLTIPS and known.height:
            chart.explain(
                marks,
                [
                    f"{row['class_name']}: median {words.number(row['median'])}, quartiles "
                    f"{words.number(row['lower_quartile'])} and {words.number(row['upper_quartile'])}; "
                    f"{row['share_not_found']:.0%} not found up to {words.number(row['largest'])}"
                    for row in known.iter_rows(named=True)
                ],
            )
        n_images = int(mine["n_images"].sum())
        share = int((mine["n_clean_correct"] - mine["n_found"]).sum()) / n_images
        heading(axes, plain(name, 24), f"{share:.0%} not found up to {words.number(largest)}")
        percent_axis(axes)
        axes.set_xlim(-0.02 * right, right)
        axes.set_xlabel("Smallest ε found\n(pixels run from 0 to 1)")
        if place % columns == 0:
            axes.set_ylabel("Images that still stand (%)")
        else:
            axes.tick_params(labelleft=False)
    keys = [
        Line2D([], [], color=FAINT, linewidth=0.9, label="a class"),
        Line2D([], [], color=FAINT, linestyle="none", marker="o", markersize=4.5, label="its median smallest ε"),
    ]
    chart.legend(handles=keys, loc="lower center", ncols=2, borderaxespad=0.3)
    return chart
