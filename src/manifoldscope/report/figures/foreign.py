"""Foreign datasets: accuracy on other images of the same classes, and scores that notice images of none of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from manifoldscope.report import words
from manifoldscope.report.behind import reals
from manifoldscope.report.chart import FAINT, INK, Chart, plain, styled
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
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


@styled
def shifted_accuracy(table: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """Accuracy on another dataset against clean accuracy: a panel a network, a point a class, with 95% intervals.

    On the dashed line nothing changes. `table` is that of `behind.shifted_beside_clean`, for one dataset.
    """
    known = table.filter(pl.col("accuracy").is_finite() & pl.col("clean_accuracy").is_finite())
    names = in_order(known["model"].unique().to_list(), models)[:MOST_MODELS]
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
        panel = known.filter(pl.col("model") == names[place]).sort("class_index")
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


@styled
def detection_by_score(table: pl.DataFrame, *, models: Sequence[str] = (), layers: Sequence[str] = ()) -> Chart:
    """How well each score tells foreign images from known ones: a line a score, a mark a network, 95% intervals.

    `table` holds the rows of `detection` for one dataset; dashed is where a score tells nothing.
    """
    known = table.filter(pl.col("auroc").is_finite())
    names = in_order(known["model"].unique().to_list(), models)[:MOST_MODELS]
    present = [layer for layer in known["layer"].unique().to_list() if layer]
    shown = in_order(present, [layer for layer in layers if layer])[:MOST_LAYERS]
    lines = [("", "max_softmax")] if known.filter(pl.col("layer") == "").height else []
    lines += [(layer, score) for layer in shown for score in ("nearest_centre", "mahalanobis", "residual")]
    texts = [f"{words.score(score)}{f' ({plain(layer, 26)})' if layer else ''}" for layer, score in lines]
    chart = Chart(
        width=5.4,
        height=max(1.0, len(lines) * (0.2 + 0.11 * len(names))),
        left=0.3 + 0.068 * max(map(len, texts), default=10),
        top=0.2,
        bottom=0.85,
    )
    axes = chart.flat[0]
    if not names:
        leave_empty(axes, "no score has been computed")
        return chart
    for turn, name in enumerate(names):
        rows = known.filter((pl.col("model") == name) & (pl.col("layer").is_in([*shown, ""])))
        look = look_of(name, models or names)
        offset = 0.6 * ((turn + 0.5) / len(names) - 0.5)
        keys = [key for key in rows.select("layer", "score").rows() if key in lines]
        rows = pl.concat(
            [rows.filter((pl.col("layer") == layer) & (pl.col("score") == score)) for layer, score in keys]
        )
        y = np.array([lines.index(key) + offset for key in keys])
        axes.hlines(y, reals(rows, "low"), reals(rows, "high"), color=look["color"], linewidth=1.1, alpha=0.7)
        points = axes.scatter(reals(rows, "auroc"), y, s=26, linewidth=0, zorder=3, **look)
        chart.explain(
            points,
            [
                f"{name}, {texts[lines.index(key)]}: {words.coefficient(row['auroc'])} "
                f"({words.coefficient(row['low'])} to {words.coefficient(row['high'])}), {row['n_foreign']} foreign "
                f"images against {row['n_known']}"
                for key, row in zip(keys, rows.to_dicts(), strict=True)
            ],
        )
    lowest = float(np.nanmin(reals(known, "low"), initial=0.5))
    axes.axvline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_xlim(max(-0.02, lowest - 0.05), 1.02)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks(range(len(lines)), texts)
    axes.tick_params(axis="y", length=0)
    for border in range(1, len(lines), 3):
        axes.axhline(border - 0.5, color=FAINT, linewidth=0.5)
    axes.set_xlabel("AUROC (0.5: guessing; 1: told apart without fail)")
    marks = [
        Line2D([], [], label=plain(name, 24), linestyle="none", **look_of(name, models or names)) for name in names
    ]
    chart.legend(handles=marks, loc="lower center", ncols=min(len(marks), 5), borderaxespad=0.3)
    return chart
