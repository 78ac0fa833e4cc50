"""Networks side by side: what is measured in each layer, and their accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from manifoldscope.report import words
from manifoldscope.report.behind import clean_geometry, mean_accuracy, reals
from manifoldscope.report.chart import FAINT, INK, Chart, plain, styled
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MODELS,
    MOST_TOOLTIPS,
    heading,
    in_order,
    leave_empty,
    look_of,
    percent_axis,
)


@styled
def network_comparison(
    geometry: pl.DataFrame,
    robustness: pl.DataFrame,
    *,
    measure: str = "pca_dimension",
    parameters: str = "fraction=0.95",
    attack: str = "pgd",
    iterate: str = "last",
    models: Sequence[str] = (),
    layers: Sequence[str] = (),
) -> Chart:
    """Networks side by side: the measure in each layer, a point a class and a bar at the mean; and their robustness.

    Robustness is shown at the strength where the networks differ most, beside clean accuracy.
    """
    values = clean_geometry(geometry).filter(
        (pl.col("measure") == measure) & (pl.col("parameters").fill_null("") == (parameters or ""))
    )
    means = mean_accuracy(robustness, attack=attack, iterate=iterate)
    names = in_order([*values["model"].unique(), *means["model"].unique()], models)[:MOST_MODELS]
    shown = in_order(values["layer"].unique().to_list(), layers)[: MOST_LAYERS - 1]
    columns = max(1, len(shown) + (0 if means.is_empty() else 1))
    chart = Chart(
        columns=columns,
        width=(5.2, 4.3, 3.0, 2.25)[columns - 1],
        height=2.8,
        top=0.42,
        bottom=0.95 if _tilted(names, columns) else 0.32,
        across=0.62,
    )
    if not names:
        leave_empty(chart.flat[0], "no network has been measured")
        return chart
    for axes, layer in zip(chart.flat, shown, strict=False):
        of_layer = reals(values.filter(pl.col("layer") == layer), "value")
        highest = top = float(of_layer.max())
        for place, name in enumerate(names):
            panel = values.filter((pl.col("model") == name) & (pl.col("layer") == layer)).sort("class_index")
            if panel.is_empty():
                continue
            look, y = look_of(name, models or names), reals(panel, "value")
            offsets = np.linspace(-0.26, 0.26, y.size) if y.size > 1 else np.zeros(1)
            crowded = values.height > MOST_TOOLTIPS
            points = axes.scatter(place + offsets, y, s=11, alpha=0.6, linewidth=0, rasterized=crowded, **look)
            if not crowded:
                texts = [f"{row['class_name']}: {words.number(row['value'])}" for row in panel.iter_rows(named=True)]
                chart.explain(points, texts)
            axes.hlines(y.mean(), place - 0.36, place + 0.36, color=look["color"], linewidth=2.2, zorder=4)
            axes.annotate(
                words.number(float(y.mean())),
                (place, float(y.max())),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                fontweight="bold",
            )
            ceiling = float(np.nanmax(reals(panel, "ceiling"), initial=-np.inf))
            if np.isfinite(ceiling) and ceiling <= 1.6 * highest:
                axes.hlines(
                    ceiling, place - 0.42, place + 0.42, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="ceiling"
                )
                if top < ceiling:  # named once, where it is first drawn
                    note = f"ceiling {words.number(ceiling)}"
                    axes.annotate(
                        note, (place - 0.42, ceiling), (0, 3), textcoords="offset points", fontsize=7.5, color=FAINT
                    )
                top = max(top, ceiling)
        axes.set_ylim(min(0.0, 1.1 * float(of_layer.min())), 1.14 * top if top > 0 else 1.0)
        axes.set_ylabel(words.measure(measure, parameters))
        heading(axes, f"layer {plain(layer, 26)}", "point: a class; bar and number: the mean", size=9)
        _network_ticks(axes, names, columns)
    if not means.is_empty():
        _robustness_panel(chart.flat[len(shown)], means, names, models or names, attack)
        _network_ticks(chart.flat[len(shown)], names, columns)
    return chart


def _robustness_panel(
    axes: Axes, means: pl.DataFrame, names: Sequence[str], models: Sequence[str], attack: str
) -> None:
    attacked = means.filter((pl.col("strength") > 0) & pl.col("model").is_in(list(names)))
    spreads = attacked.group_by("strength").agg(pl.col("accuracy").std().fill_null(0.0).round(9).alias("spread"))
    ranked = spreads.sort("spread", "strength", descending=[True, False])
    value = float(ranked["strength"][0]) if ranked.height else 0.0
    for place, name in enumerate(names):
        look = look_of(name, models)
        for strength, open_marker in ((0.0, True), (value, False)):
            row = means.filter((pl.col("model") == name) & (pl.col("strength") == strength))
            if row.is_empty() or (open_marker and value == 0):
                continue
            y, low, high = (reals(row, key) for key in ("accuracy", "accuracy_low", "accuracy_high"))
            x = place + (-0.13 if open_marker else 0.13)
            axes.vlines(x, low, high, color=look["color"], linewidth=1.1)
            axes.scatter(
                [x],
                y,
                s=38,
                marker=look["marker"],
                facecolor="white" if open_marker else look["color"],
                edgecolor=look["color"],
                linewidth=1.2,
                zorder=4,
            )
            if not open_marker:
                axes.annotate(
                    f"{y[0] * 100:.0f}%",
                    (x, y[0]),
                    (7, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8.5,
                    fontweight="bold",
                )
    percent_axis(axes, label="Accuracy (%)")
    clean = "open: clean; " if value else ""
    heading(axes, "accuracy", f"{clean}filled: {words.threat(attack)} {words.at_strength(attack, value)}", size=9)


def _tilted(names: Sequence[str], columns: int) -> bool:
    longest = max((len(plain(name, 18)) for name in names), default=0)
    return longest * len(names) > (110, 90, 42, 32)[columns - 1]


def _network_ticks(axes: Axes, names: Sequence[str], columns: int) -> None:
    tilted = _tilted(names, columns)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(
        range(len(names)),
        [plain(name, 18) for name in names],
        rotation=35 if tilted else 0,
        ha="right" if tilted else "center",
        rotation_mode="anchor",
    )
    axes.grid(axis="x", visible=False)
