"""A measure of the classes: beside their accuracy, at one strength and at each, and how it is spread over them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.behind import Reals, association, clean_geometry, reals
from manifoldscope.report.chart import FAINT, INK, Chart, plain, styled
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MODELS,
    MOST_STRENGTHS,
    MOST_TOOLTIPS,
    NAMED_CLASSES,
    evenly,
    heading,
    in_order,
    leave_empty,
    look_of,
    name_points,
    percent_axis,
)
from manifoldscope.tables import conform


@styled
def dimension_against_accuracy(
    table: pl.DataFrame,
    associations: pl.DataFrame | None = None,
    *,
    measure: str = "pca_dimension",
    parameters: str = "fraction=0.95",
    models: Sequence[str] = (),
) -> Chart:
    """The study's central picture: a point a class, a panel a network, each at one strength.

    `table` is `telling_strengths(dimension_beside_accuracy(...))`, or any other choice of one strength a network.
    """
    associations = conform("associations", []) if associations is None else associations
    names = in_order(table["model"].unique().to_list(), models)
    columns = min(3, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    width = (3.15, 3.9, 5.2)[3 - columns]
    chart = Chart(rows=rows, columns=columns, width=width, height=2.85, top=0.42, bottom=0.46, across=0.32, down=1.0)
    label = words.measure(measure, parameters)
    budget = MOST_TOOLTIPS // max(1, len(names))
    for axes, name in itertools.zip_longest(chart.flat, names):
        if name is None:
            axes.set_axis_off()
            continue
        panel = table.filter(pl.col("model") == name)
        first = panel.row(0, named=True)
        row = association(
            associations,
            model=name,
            measure=measure,
            parameters=parameters,
            **{key: first[key] for key in ("layer", "attack", "strength", "iterate")},
        )
        look = look_of(name, models or names)
        _cloud(
            chart,
            axes,
            panel,
            look,
            label=label,
            size=36 if panel.height <= 30 else 18 if panel.height <= 150 else 12,
            budget=budget,
        )
        situation = f"{plain(name, 34)} · {words.at_strength(first['attack'], first['strength'])}"
        heading(axes, situation, _association_text(row))
        axes.set_xlabel(label)
        if axes in [line[0] for line in chart.panels]:
            axes.set_ylabel(f"Accuracy under {words.threat(first['attack'])} (%)")
        else:
            axes.tick_params(labelleft=False)
        if panel.height <= NAMED_CLASSES:
            name_points(chart, axes, reals(panel, "value"), reals(panel, "accuracy"), panel["class_name"].to_list())
    if not names:
        leave_empty(chart.flat[0], "no class has both a dimension and an accuracy")
    return chart


@styled
def dimension_against_accuracy_by_strength(
    table: pl.DataFrame,
    associations: pl.DataFrame | None = None,
    *,
    measure: str = "pca_dimension",
    parameters: str = "fraction=0.95",
    models: Sequence[str] = (),
) -> Chart:
    """The central picture at every strength (at most five): a row a network, a column a strength.

    `table` is `dimension_beside_accuracy(...)`.
    """
    associations = conform("associations", []) if associations is None else associations
    names = in_order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    strengths = evenly(table["strength"].unique().to_list(), MOST_STRENGTHS)
    chart = Chart(
        rows=max(1, len(names)),
        columns=max(1, len(strengths)),
        width=1.85 if len(strengths) > 3 else 2.6,
        height=1.55,
        left=0.85,
        top=0.4,
        bottom=0.62,
        across=0.25,
        down=0.72,
    )
    label = words.measure(measure, parameters)
    if not names:
        leave_empty(chart.flat[0], "no class has both a dimension and an accuracy")
        return chart
    for (row, name), (column, value) in itertools.product(enumerate(names), enumerate(strengths)):
        axes = chart.panels[row][column]
        panel = table.filter((pl.col("model") == name) & (pl.col("strength") == value))
        if panel.is_empty():
            leave_empty(axes, f"not run at {words.strength(value)}")
            continue
        first = panel.row(0, named=True)
        found = association(
            associations,
            model=name,
            measure=measure,
            parameters=parameters,
            **{key: first[key] for key in ("layer", "attack", "strength", "iterate")},
        )
        budget = MOST_TOOLTIPS // (len(names) * len(strengths))
        _cloud(
            chart,
            axes,
            panel,
            look_of(name, models or names),
            label=label,
            size=19 if panel.height <= 30 else 11 if panel.height <= 150 else 7,
            budget=budget,
            far_note=column == len(strengths) - 1,
        )
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=bool(np.all(reals(panel, "value") % 1 == 0))))
        heading(axes, words.at_strength(first["attack"], value), _association_text(found, short=True), size=8.5)
        if column == 0:
            axes.set_ylabel(f"{plain(name, 22)}\naccuracy (%)")
        else:
            axes.tick_params(labelleft=False)
        if row == len(names) - 1:
            axes.set_xlabel(label if len(label) < 24 else label.replace(" (", "\n("))
    return chart


@styled
def dimension_histograms(
    geometry: pl.DataFrame,
    *,
    measure: str = "pca_dimension",
    parameters: str = "fraction=0.95",
    models: Sequence[str] = (),
    layers: Sequence[str] = (),
) -> Chart:
    """How the classes spread over the measure: a row a network, a column a layer, the ceiling drawn."""
    values = clean_geometry(geometry).filter(
        (pl.col("measure") == measure) & (pl.col("parameters").fill_null("") == (parameters or ""))
    )
    names = in_order(values["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = in_order(values["layer"].unique().to_list(), layers)[:MOST_LAYERS]
    label = words.measure(measure, parameters)
    chart = Chart(
        rows=max(1, len(names)),
        columns=max(1, len(shown)),
        width=(5.5, 4.6, 3.1, 2.3)[max(1, len(shown)) - 1],
        height=1.15,
        left=0.8,
        top=0.3,
        down=0.42,
        across=0.45,
        bottom=0.5,
    )
    if not names:
        leave_empty(chart.flat[0], "no class has been measured")
        return chart
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
            _value_axis(axes, everything, reals(panel, "ceiling"))
            axes.set_xlim(min(axes.get_xlim()[0], edges[0]), max(axes.get_xlim()[1], edges[-1]))
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.grid(axis="x", visible=False)
            if panel.height <= 200:
                rug = axes.scatter(x, np.full(x.size, -0.07 * most), marker="|", s=22, linewidth=1, color=look["color"])
                chart.explain(
                    rug,
                    [f"{row['class_name']}: {words.number(row['value'])}" for row in panel.iter_rows(named=True)],
                )
            if row == 0:
                heading(axes, f"layer {plain(layer, 30)}")
            if row == len(names) - 1:
                axes.set_xlabel(label)
            if column == 0:
                axes.set_ylabel(f"{plain(name, 18)}\nclasses")
    return chart


def _cloud(
    chart: Chart,
    axes: Axes,
    rows: pl.DataFrame,
    look: dict[str, Any],
    *,
    label: str,
    size: float,
    budget: int,
    far_note: bool = True,
) -> None:
    """One point a class: the value against the accuracy, with the accuracy's interval and the ceiling."""
    x, y, low, high = (reals(rows, column) for column in ("value", "accuracy", "accuracy_low", "accuracy_high"))
    percent_axis(axes)
    _value_axis(axes, x, reals(rows, "ceiling"), corner=(x, y), far_note=far_note)
    crowded = len(x) > budget
    faint = 0.55 if len(x) <= 30 else 0.3
    axes.vlines(x, low, high, color=look["color"], alpha=faint, linewidth=0.8, rasterized=crowded or len(x) > 300)
    points = axes.scatter(
        x,
        y,
        s=size,
        edgecolor="white",
        linewidth=0.5,
        alpha=1 if len(x) <= 30 else 0.8,
        rasterized=crowded,
        zorder=3,
        **look,
    )
    if not crowded:
        texts = [
            f"{row['class_name']}: {label} {words.number(row['value'])}, accuracy {row['accuracy']:.1%} "
            f"({row['accuracy_low']:.1%} to {row['accuracy_high']:.1%}; {row['n_survived']} of {row['n_images']})"
            for row in rows.iter_rows(named=True)
        ]
        chart.explain(points, texts)


def _association_text(row: dict[str, Any] | None, *, short: bool = False) -> str:
    if row is None:
        return "" if short else "no association given"
    symbol = {"pearson": "r", "spearman": "ρ"}.get(row["method"], row["method"])
    if row["coefficient"] is None or not math.isfinite(row["coefficient"]):
        return f"{symbol} undefined"
    value, low, high = (words.coefficient(row[key]) for key in ("coefficient", "low", "high"))
    if short:
        return f"{symbol} {value}" + (f" ({low} to {high})" if low != "–" else "")
    name = {"r": "Pearson r", "ρ": "Spearman ρ"}.get(symbol, symbol)
    return f"{name} = {value}" + (f" (95% {low} to {high})" if low != "–" else "") + f", {row['n']} classes"


def _value_axis(
    axes: Axes, values: Reals, ceilings: Reals, *, corner: tuple[Reals, Reals] | None = None, far_note: bool = True
) -> None:
    """Limits of the x axis that hold the values and, if it is not far beyond them, the ceiling; and draw the ceiling.

    `corner` gives the points (x in data, y in [0, 1]) that a note about a far ceiling must not cover.
    """
    low, high = float(values.min()), float(values.max())
    pad = 0.08 * (high - low) or max(0.05 * abs(high), 0.5)
    near = np.unique(ceilings[np.isfinite(ceilings)])
    far = near[near > high + 1.5 * (high - low + pad)]
    near = near[near <= high + 1.5 * (high - low + pad)]
    left, right = low - pad, high + pad
    if near.size:
        right = max(right, float(near.max()) + 0.11 * (max(right, float(near.max())) - left))
    axes.set_xlim(left, right)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=bool(np.all(values == np.round(values)))))
    if near.size > 3:  # classes of many sizes: their ceilings form a band
        axes.axvspan(near.min(), near.max(), facecolor="none", edgecolor=FAINT, hatch="////", lw=0, label="ceiling")
        text = f"ceilings {words.number(near.min())} to {words.number(near.max())}"
    else:
        for ceiling in near:
            axes.axvline(ceiling, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="ceiling")
        text = f"ceiling {' / '.join(map(words.number, near))}"
    if near.size:
        axes.annotate(
            text,
            (float(near.max()), 0.98),
            (3, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            va="top",
            ha="left",
            fontsize=7.5,
            color=FAINT,
        )
    if far.size and far_note:
        upper = lower = False
        if corner is not None:
            right_side = corner[0] > left + 0.55 * (right - left)
            upper = bool(np.any(right_side & (corner[1] > 0.85)))
            lower = bool(np.any(right_side & (corner[1] < 0.15)))
        axes.text(
            0.99,
            0.98 if not upper else (0.03 if not lower else 0.5),
            f"ceiling {words.number(far.min())} →",
            transform=axes.transAxes,
            ha="right",
            va="top" if not upper else "bottom",
            fontsize=7.5,
            color=FAINT,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1},
        )


def _edges(values: Reals) -> Reals:
    low, high = float(values.min()), float(values.max())
    if np.all(values == np.round(values)):
        step = max(1, math.ceil((high - low + 1) / 40))
        return np.arange(low - 0.5, high + step, step)
    if high == low:
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, 25)
