"""Where attacked images move, class by class, beside where images move that were not attacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.behind import SHARES, reals
from manifoldscope.report.chart import FAINT, INK, Chart, plain, styled
from manifoldscope.report.figures.panel import (
    MOST_MODELS,
    MOST_TOOLTIPS,
    NAMED_CLASSES,
    class_lines,
    heading,
    in_order,
    leave_empty,
    look_of,
    strength_ticks,
)

_PARTS = {
    "own": "within the own class",
    "toward": "toward the nearest class",
    "outside": "outside both",
}
_CONTROLS: dict[str, dict[str, Any]] = {
    "held_out": {"marker": "o", "facecolor": "white", "edgecolor": INK, "linewidth": 0.9},
    "layer": {"marker": "x", "color": FAINT, "linewidth": 1.1},
    "random": {"marker": "_", "color": INK, "linewidth": 1.4},
}
_CONTROL_NAMES = {
    "held_out": "clean images, held out",
    "layer": "random, with the layer's covariance",
    "random": "random direction",
}


@styled
def displacement_by_class(
    chosen: pl.DataFrame, every: pl.DataFrame, *, threat: str = "pgd", models: Sequence[str] = ()
) -> Chart:
    """Where attacked images move: a row a network; a panel a share, class by class, and the size against the strength.

    `every` is `displacement_table(...)` and `chosen` its rows at one strength a network, as of `telling_displacement`.
    The last panel is left out where there is one strength.
    """
    names = in_order(chosen["model"].unique().to_list(), models)[:MOST_MODELS]
    strengths = sorted(every["strength"].unique().to_list())
    longest = max((len(plain(name, 12)) for name in chosen["class_name"].unique()), default=1)
    named = chosen["class_index"].n_unique() <= NAMED_CLASSES
    margin = 0.45 + (0.07 * longest if named and longest > 2 else 0.1)
    chart = Chart(
        rows=max(1, len(names)),
        columns=3 + (len(strengths) > 1),
        width=2.35 if len(strengths) > 1 else 2.8,
        height=1.9,
        left=0.7,
        top=0.45,
        bottom=margin + 0.5,
        across=0.55,
        down=margin + 0.65,
    )
    if not names:
        leave_empty(chart.flat[0], "no displacement has been measured")
        return chart
    for row, name in zip(chart.panels, names, strict=True):
        panel, look = chosen.filter(pl.col("model") == name), look_of(name, models or names)
        # By the share within the own class, so that the lines of a hundred classes can be followed.
        panel = panel.sort("own", "class_index", descending=[True, False])
        for axes, part in zip(row, SHARES, strict=False):
            _share_panel(chart, axes, panel, part, look, named=named)
        row[0].set_ylabel("Share of squared length (%)")
        heading(row[0], f"{plain(name, 20)} · {words.at_strength(threat, float(panel['strength'][0]))}", _PARTS["own"])
        if len(row) > 3:
            _size_panel(row[3], every.filter(pl.col("model") == name), look, strengths, threat)
    present = [key for key in _CONTROLS if any(chosen[f"{part}_{key}"].is_not_null().any() for part in SHARES)]
    keys: list[Any] = [
        Line2D([], [], label=f"attacked ({plain(name, 18)})", linestyle="none", **look_of(name, models or names))
        for name in names
    ]
    keys += [chart.flat[0].scatter([], [], s=22, label=_CONTROL_NAMES[key], **_CONTROLS[key]) for key in present]
    chart.legend(handles=keys, loc="lower center", ncols=min(len(keys), 5), borderaxespad=0.3)
    return chart


def _share_panel(
    chart: Chart, axes: Axes, panel: pl.DataFrame, part: str, look: dict[str, Any], *, named: bool
) -> None:
    places, y, error = np.arange(panel.height), reals(panel, part), reals(panel, f"{part}_stderr")
    size = 30 if panel.height <= 30 else 9
    top = float(np.nanmax(y + np.nan_to_num(error)))
    for control, mark in _CONTROLS.items():
        beside = reals(panel, f"{part}_{control}")
        if np.isfinite(beside).any():
            axes.scatter(places, beside, s=size, zorder=2, rasterized=panel.height > 300, **mark)
            top = max(top, float(np.nanmax(beside)))
    many = panel.height > 30
    axes.vlines(places, y - error, y + error, color=look["color"], linewidth=1, alpha=0.3 if many else 0.7)
    points = axes.scatter(places, y, s=size, edgecolor="white", linewidth=0 if many else 0.4, zorder=4, **look)
    if panel.height <= MOST_TOOLTIPS // (3 * MOST_MODELS):
        chart.explain(
            points,
            [
                f"{row['class_name']}: {row[part]:.1%} of {row['n_images']} images' displacements; "
                f"held out {words.number(100 * (row[f'{part}_held_out'] or 0))}%, "
                f"random {words.number(100 * (row[f'{part}_random'] or 0))}%"
                for row in panel.iter_rows(named=True)
            ],
        )
    axes.set_ylim(-0.05 * top, 1.1 * top or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}"))
    axes.set_xlim(-0.8, panel.height - 0.2)
    axes.grid(axis="x", visible=False)
    texts = [plain(name, 12) for name in panel["class_name"]]
    if named:
        axes.set_xticks(places, texts, rotation=90 if max(map(len, texts)) > 2 else 0)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{panel.height} classes, by the share within")
    if part != SHARES[0]:
        heading(axes, "", _PARTS[part])


def _size_panel(axes: Axes, panel: pl.DataFrame, look: dict[str, Any], strengths: Sequence[float], threat: str) -> None:
    class_lines(axes, panel, look["color"], up="relative")
    mean = panel.group_by("strength").agg(pl.col("relative").mean()).sort("strength")
    axes.plot(reals(mean, "strength"), reals(mean, "relative"), linewidth=1.8, markersize=5, markeredgewidth=0, **look)
    strength_ticks(axes, strengths)
    axes.set_ylim(0, 1.1 * float(panel["relative"].max() or 1.0))  # type: ignore[arg-type]  # a column of numbers
    axes.set_xlabel(words.strength_axis(threat).replace(" (", "\n("))
    heading(axes, "", "length, in radii of the class")
