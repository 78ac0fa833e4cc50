"""The figures of a report: tables and pictures in, matplotlib figures out.

`models` gives the order
of the networks, and with it their colours, so that a network looks the same in every figure; left out, they are in
alphabetical order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from manifoldscope.evidence import PairAssociation
from manifoldscope.evidence.answer import RELIABLE
from manifoldscope.report import words
from manifoldscope.report.behind import (
    SHARES,
    Reals,
    association,
    class_accuracy,
    clean_geometry,
    mean_accuracy,
    of_measure,
    predicted,
    reaches,
    reals,
    shares,
    square,
)
from manifoldscope.report.chart import COLOURS, DASHES, FAINT, GRID, INK, MARKERS, Chart, plain, styled
from manifoldscope.report.pictures import CorrelationPicture, ExamplePicture, SpectrumPicture
from manifoldscope.tables import WHOLE, conform

MOST_MODELS = 8  # in one figure, as there are colours
MOST_STRENGTHS = 5
MOST_LAYERS = 4
MOST_TOOLTIPS = 3_000  # beyond these a figure's points become pixels: the file would grow past all use
NAMED_CLASSES = 20  # up to so many classes are named in the panel itself
NAMED_IN_MATRIX = 30  # up to so many classes are named beside a matrix
MANY_PAIRS = 1_000  # beyond these most pairs have few of the falls
MOST_NAMED_PAIRS = 6  # of those with the largest shares of falls


# Small things that the figures share -------------------------------------------------------------------------------


def _order(present: Sequence[str], models: Sequence[str]) -> list[str]:
    """The names that are present: those of `models` in that order, then the others."""
    return [name for name in models if name in set(present)] + sorted(set(present) - set(models))


def _look(model: str, models: Sequence[str]) -> dict[str, Any]:
    place = list(models).index(model) if model in models else len(models)
    turn, index = divmod(place, len(COLOURS))
    return {"color": COLOURS[index], "marker": MARKERS[(index + turn) % len(MARKERS)]}


def _dash(model: str, models: Sequence[str]) -> Any:
    return DASHES[(list(models).index(model) if model in models else 0) % len(DASHES)]


def _percent(axes: Axes, *, label: str = "", limits: tuple[float, float] = (-0.04, 1.04)) -> None:
    axes.set_ylim(*limits)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}"))
    axes.set_ylabel(label)


def _heading(axes: Axes, title: str, below: str = "", *, colour: str = INK, size: float = 9.5) -> None:
    # An annotation and not a title: matplotlib moves a title that is wider than its axes.
    axes.annotate(
        plain(title, 60),
        (0, 1),
        (0, 7 + 1.4 * (size - 1.2) if below else 6),
        xycoords="axes fraction",
        textcoords="offset points",
        fontweight="bold",
        color=colour,
        fontsize=size,
    )
    if below:
        axes.annotate(
            below, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", color=INK, fontsize=size - 1.2
        )


def _empty(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT)


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


def _name_points(chart: Chart, axes: Axes, x: Reals, y: Reals, names: Sequence[str]) -> None:
    """Write each name beside its point, where it covers neither a point nor another name; else leave it out.

    A point whose name is empty is not to be covered.
    """
    width, height = (72 * inches for inches in chart.panel_size)
    places = axes.transAxes.inverted().transform(axes.transData.transform(np.column_stack([x, y])))
    px, py = places[:, 0] * width, places[:, 1] * height
    boxes = [(a - 4, b - 4, a + 4, b + 4) for a, b in zip(px, py, strict=True)]
    for index, name in enumerate(names):
        if not name:
            continue
        text = plain(name, 24)
        wide, high = 5.0 * len(text) + 1, 8.0
        for dx, dy, side in (
            (6, 0, "left"),
            (-6, 0, "right"),
            (4, 7, "left"),
            (4, -7, "left"),
            (-4, 7, "right"),
            (-4, -7, "right"),
        ):
            start = px[index] + dx - (wide if side == "right" else 0)
            box = (start, py[index] + dy - high / 2, start + wide, py[index] + dy + high / 2)
            inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            others = (other for place, other in enumerate(boxes) if place != index)
            if inside and not any(_overlap(box, other) for other in others):
                axes.annotate(
                    text,
                    (x[index], y[index]),
                    (dx, dy),
                    textcoords="offset points",
                    ha=side,
                    va="center_baseline",
                    fontsize=8,
                )
                boxes.append(box)
                break


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


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
    _percent(axes)
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


def _pick(values: Sequence[float], most: int) -> list[float]:
    """At most `most` of the values, evenly from the first to the last."""
    ordered = sorted(values)
    if len(ordered) <= most:
        return ordered
    return [ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, most)]


# The figures -------------------------------------------------------------------------------------------------------


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
    names = _order(table["model"].unique().to_list(), models)
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
        look = _look(name, models or names)
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
        _heading(axes, situation, _association_text(row))
        axes.set_xlabel(label)
        if axes in [line[0] for line in chart.panels]:
            axes.set_ylabel(f"Accuracy under {words.threat(first['attack'])} (%)")
        else:
            axes.tick_params(labelleft=False)
        if panel.height <= NAMED_CLASSES:
            _name_points(chart, axes, reals(panel, "value"), reals(panel, "accuracy"), panel["class_name"].to_list())
    if not names:
        _empty(chart.flat[0], "no class has both a dimension and an accuracy")
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
    names = _order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    strengths = _pick(table["strength"].unique().to_list(), MOST_STRENGTHS)
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
        _empty(chart.flat[0], "no class has both a dimension and an accuracy")
        return chart
    for (row, name), (column, value) in itertools.product(enumerate(names), enumerate(strengths)):
        axes = chart.panels[row][column]
        panel = table.filter((pl.col("model") == name) & (pl.col("strength") == value))
        if panel.is_empty():
            _empty(axes, f"not run at {words.strength(value)}")
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
            _look(name, models or names),
            label=label,
            size=19 if panel.height <= 30 else 11 if panel.height <= 150 else 7,
            budget=budget,
            far_note=column == len(strengths) - 1,
        )
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=bool(np.all(reals(panel, "value") % 1 == 0))))
        _heading(axes, words.at_strength(first["attack"], value), _association_text(found, short=True), size=8.5)
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
    names = _order(values["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = _order(values["layer"].unique().to_list(), layers)[:MOST_LAYERS]
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
        _empty(chart.flat[0], "no class has been measured")
        return chart
    for column, layer in enumerate(shown):
        of_layer = values.filter(pl.col("layer") == layer)
        everything = reals(of_layer, "value")
        edges = _edges(everything)
        for row, name in enumerate(names):
            axes = chart.panels[row][column]
            panel = of_layer.filter(pl.col("model") == name)
            if panel.is_empty():
                _empty(axes, "not measured")
                continue
            look = _look(name, models or names)
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
                _heading(axes, f"layer {plain(layer, 30)}")
            if row == len(names) - 1:
                axes.set_xlabel(label)
            if column == 0:
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


# Between classes, under attack, and from other numbers of images ---------------------------------------------------

_NEAR_IS_LARGE = ("centre_correlation", "effective_alignment")
_SIGNED = ("centre_correlation",)
_OPTIMAL_LEAVES = 200  # beyond so many classes the best order of the leaves takes too long


@styled
def class_pairs(
    table: pl.DataFrame,
    found: Mapping[str, PairAssociation] | None = None,
    *,
    measure: str,
    parameters: str = "",
    attack: str = "pgd",
    models: Sequence[str] = (),
) -> Chart:
    """Every two classes: a matrix of their values, and the falls from one into the other against them.

    A row a network. `table` is `pairs_beside_falls(...)`; `found` has Spearman's rho by the name of a network. Classes
    are in the order of a hierarchical clustering (average linkage), so that near ones stand together.
    """
    names = _order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    fallen = table.filter(pl.col("share").is_finite())
    longest = max((len(plain(name, 14)) for name in table["class_name"].unique()), default=1)
    named = table["class_index"].n_unique() <= NAMED_IN_MATRIX
    margin = 0.45 + (0.06 * longest if named else 0)
    chart = Chart(
        rows=max(1, len(names)),
        columns=1 if fallen.is_empty() else 2,
        width=3.4,
        height=3.4,
        left=margin,
        top=0.45,
        right=1.0 if fallen.is_empty() else 0.2,
        bottom=margin,
        across=1.65,
        down=margin + 0.65,
    )
    if not names:
        _empty(chart.flat[0], "no pair of classes has been measured")
        return chart
    label = words.measure(measure, parameters)
    for row, name in zip(chart.panels, names, strict=True):
        panel = table.filter(pl.col("model") == name)
        _pair_matrix(chart, row[0], panel, measure, label)
        _heading(row[0], plain(name, 40))
        if len(row) > 1:
            here = panel.filter(pl.col("share").is_finite())
            _falls_panel(chart, row[1], here, (found or {}).get(name), _look(name, models or names), label, attack)
    return chart


def _pair_matrix(chart: Chart, axes: Axes, panel: pl.DataFrame, measure: str, label: str) -> None:
    classes, values = square(panel, "value")
    order = _clustered(values, near_is_large=measure in _NEAR_IS_LARGE)
    reach = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    low, high = (-reach, reach) if measure in _SIGNED else (None, None)
    axes.set_facecolor("#d5d8db")  # a class beside itself, and a pair without a value
    image = axes.imshow(
        values[np.ix_(order, order)],
        cmap="RdBu_r" if measure in _SIGNED else "cividis_r" if measure in _NEAR_IS_LARGE else "cividis",
        vmin=low,
        vmax=high,
        interpolation="none" if len(classes) <= _OPTIMAL_LEAVES else "antialiased",
    )
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)
    if len(classes) <= NAMED_IN_MATRIX:
        called = dict(panel.select("class_index", "class_name").iter_rows())
        texts = [plain(called[classes[place]], 14) for place in order]
        size = 8 if len(classes) <= 20 else 6.5
        axes.set_xticks(range(len(texts)), texts, fontsize=size, rotation=90 if max(map(len, texts)) > 2 else 0)
        axes.set_yticks(range(len(texts)), texts, fontsize=size)
        axes.tick_params(length=0)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"{len(classes)} classes, near ones together")
    place, inch = axes.get_position(), 1 / chart.get_figwidth()
    bar = chart.colorbar(image, cax=chart.add_axes((place.x1 + 0.12 * inch, place.y0, 0.12 * inch, place.height)))
    bar.outline.set_linewidth(0.5)
    bar.set_label(plain(label, 44))


def _clustered(values: Reals, *, near_is_large: bool) -> list[int]:
    """The order of the leaves of an average linkage; a pair without a value counts as an average one."""
    if len(values) < 3 or not np.isfinite(values).any():
        return list(range(len(values)))
    known = np.where(np.isfinite(values), values, np.nanmean(values))
    apart = known.max() - known if near_is_large else known - known.min()
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=len(values) <= _OPTIMAL_LEAVES)
    return [int(leaf) for leaf in leaves_list(tree)]


def _falls_panel(
    chart: Chart,
    axes: Axes,
    panel: pl.DataFrame,
    found: PairAssociation | None,
    look: dict[str, Any],
    label: str,
    attack: str,
) -> None:
    if panel.is_empty():
        _empty(axes, "no image fell")
        return
    x, y = reals(panel, "value"), reals(panel, "share")
    crowded = panel.height > MOST_TOOLTIPS // 4
    points = axes.scatter(
        x,
        y,
        s=24 if panel.height <= 100 else 8,
        alpha=0.7 if panel.height <= MANY_PAIRS else 0.3,
        linewidth=0,
        rasterized=crowded,
        zorder=3,
        **look,
    )
    if not crowded:
        chart.explain(
            points,
            [
                f"{row['class_name']} into {row['other_class_name']}: {row['n_into']} of {row['n_falls']} falls, "
                f"{label} {words.number(row['value'])}"
                for row in panel.iter_rows(named=True)
            ],
        )
    _falls_axis(axes, float(y.max()), many=panel.height > MANY_PAIRS)
    axes.set_xlabel(plain(label, 60))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    even = float(y.mean())
    axes.axhline(even, color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
    if panel.height >= 20:
        edges = np.quantile(x, np.linspace(0, 1, 6))
        fifth = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, 4)
        for place in np.unique(fifth):
            axes.hlines(y[fifth == place].mean(), edges[place], edges[place + 1], color=INK, linewidth=2, zorder=4)
    shown = np.argsort(-y, kind="stable")[:200]  # names are among the highest points, and keep clear of these
    called = [
        f"{plain(row['class_name'], 10)} → {plain(row['other_class_name'], 10)}"
        if rank < MOST_NAMED_PAIRS and row["share"] > even
        else ""
        for rank, row in enumerate(panel[shown].iter_rows(named=True))
    ]
    _name_points(chart, axes, x[shown], y[shown], called)
    situation = f"falls under {words.threat(attack)} at {words.at_strength(attack, float(panel['strength'][0]))}"
    _heading(axes, situation, _pair_association_text(found))


def _falls_axis(axes: Axes, highest: float, *, many: bool) -> None:
    """Shares of falls; with many pairs, of which most have few, by their square root, so that means can be read."""
    top = min(1.04, 1.15 * highest + 0.02)
    if many:
        axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
        axes.set_yticks([0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    axes.set_ylim(0 if many else -0.03, top)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}"))
    axes.set_ylabel("Share of a class's falls (%)" + (", square-root scale" if many else ""))


def _pair_association_text(found: PairAssociation | None) -> str:
    if found is None:
        return "no ρ: the network guesses when clean"
    if not math.isfinite(found.coefficient):
        return f"ρ undefined, {words.number(found.n_pairs)} pairs"
    tested = f"Mantel p = {found.p_value:.2g}" if math.isfinite(found.p_value) else "not tested"
    return f"Spearman ρ = {words.coefficient(found.coefficient)}, {words.number(found.n_pairs)} pairs ({tested})"


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
    names = _order(chosen["model"].unique().to_list(), models)[:MOST_MODELS]
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
        _empty(chart.flat[0], "no displacement has been measured")
        return chart
    for row, name in zip(chart.panels, names, strict=True):
        panel, look = chosen.filter(pl.col("model") == name), _look(name, models or names)
        # By the share within the own class, so that the lines of a hundred classes can be followed.
        panel = panel.sort("own", "class_index", descending=[True, False])
        for axes, part in zip(row, SHARES, strict=False):
            _share_panel(chart, axes, panel, part, look, named=named)
        row[0].set_ylabel("Share of squared length (%)")
        _heading(row[0], f"{plain(name, 20)} · {words.at_strength(threat, float(panel['strength'][0]))}", _PARTS["own"])
        if len(row) > 3:
            _size_panel(row[3], every.filter(pl.col("model") == name), look, strengths, threat)
    present = [key for key in _CONTROLS if any(chosen[f"{part}_{key}"].is_not_null().any() for part in SHARES)]
    keys: list[Any] = [
        Line2D([], [], label=f"attacked ({plain(name, 18)})", linestyle="none", **_look(name, models or names))
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
        _heading(axes, "", _PARTS[part])


def _size_panel(axes: Axes, panel: pl.DataFrame, look: dict[str, Any], strengths: Sequence[float], threat: str) -> None:
    _class_lines(axes, panel, look["color"], up="relative")
    mean = panel.group_by("strength").agg(pl.col("relative").mean()).sort("strength")
    axes.plot(reals(mean, "strength"), reals(mean, "relative"), linewidth=1.8, markersize=5, markeredgewidth=0, **look)
    _strength_ticks(axes, strengths)
    axes.set_ylim(0, 1.1 * float(panel["relative"].max() or 1.0))  # type: ignore[arg-type]  # a column of numbers
    axes.set_xlabel(words.strength_axis(threat).replace(" (", "\n("))
    _heading(axes, "", "length, in radii of the class")


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
    names = _order(values["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = _order(values["layer"].unique().to_list(), layers)[:MOST_LAYERS]
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
        _empty(chart.flat[0], "no curve has been drawn up")
        return chart
    sizes = sorted(values["n_points"].unique().to_list())
    for (row, name), (column, layer) in itertools.product(enumerate(names), enumerate(shown)):
        axes = chart.panels[row][column]
        panel = values.filter((pl.col("model") == name) & (pl.col("layer") == layer))
        if panel.is_empty():
            _empty(axes, "no curve")
            continue
        _curves_panel(chart, axes, panel, _look(name, models or names)["color"], sizes)
        if row == 0:
            _heading(axes, f"layer {plain(layer, 30)}")
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
    _class_lines(axes, classes, colour, across="n_points", up="value")
    axes.plot(reals(whole, "n_points"), reals(whole, "value"), color=INK, linewidth=1.8, zorder=4)
    many = classes["class_index"].n_unique() > 30
    if further.height:
        last = measured.sort("n_points").unique("class_index", keep="last")
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
    ticks = _pick(sizes, 6)
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
    names = _order(known["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = _order(known["layer"].unique().to_list(), layers)[:MOST_LAYERS]
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
        _empty(chart.flat[0], "no reliability has been estimated")
        return chart
    lowest = float(np.nanmin(reals(known, "low"), initial=0.0))
    for column, (axes, layer) in enumerate(zip(chart.flat, shown, strict=True)):
        for turn, name in enumerate(names):
            rows = known.filter((pl.col("model") == name) & (pl.col("layer") == layer))
            if rows.is_empty():
                continue
            look = _look(name, models or names)
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
        _heading(axes, f"layer {plain(layer, 30)}")
    marks = [Line2D([], [], label=plain(name, 24), linestyle="none", **_look(name, models or names)) for name in names]
    chart.legend(handles=marks, loc="lower center", ncols=min(len(marks), 5), borderaxespad=0.3)
    return chart


# From pictures, and over strengths and networks ---------------------------------------------------------------------


@styled
def variance_spectra(
    spectra: Sequence[SpectrumPicture], *, models: Sequence[str] = (), layers: Sequence[str] = ()
) -> Chart:
    """The share of variance along each principal axis, on two logarithmic axes: a panel a layer, a line a network.

    The line is the median over classes and the band holds the middle 80% of them. The marker stands at the component
    where the median class has reached 95% of its variance.
    """
    usable = [picture for picture in spectra if shares(picture.variances).size]
    names = _order([picture.model for picture in usable], models)[:MOST_MODELS]
    shown = _order([picture.layer for picture in usable], layers)[:MOST_LAYERS]
    columns = min(2, max(1, len(shown)))
    chart = Chart(
        rows=max(1, math.ceil(len(shown) / 2)),
        columns=columns,
        width=4.6 if columns == 2 else 5.6,
        height=3.1,
        top=0.42,
        down=0.95,
        across=0.75,
    )
    for axes, layer in itertools.zip_longest(chart.flat, shown):
        if layer is None:
            _empty(axes, "" if shown else "no spectra were kept")
            continue
        floor = 1.0
        for name in names:
            group = [shares(p.variances) for p in usable if p.model == name and p.layer == layer]
            if not group:
                continue
            length = int(np.median([len(share) for share in group]))
            stack = np.full((len(group), length), np.nan)
            for line, share in zip(stack, group, strict=True):
                part = share[:length]
                line[: part.size] = np.where(part > 1e-12, part, np.nan)
            kept = np.flatnonzero(np.isfinite(stack).any(axis=0))
            kept = kept[np.unique(np.geomspace(1, kept.size, min(kept.size, 120)).astype(int)) - 1]
            low, middle, high = np.nanquantile(stack[:, kept], (0.1, 0.5, 0.9), axis=0)
            look, rank = _look(name, models or names), kept + 1
            axes.fill_between(rank, low, high, color=look["color"], alpha=0.16, linewidth=0)
            axes.plot(rank, middle, color=look["color"], linestyle=_dash(name, models or names))
            reach = int(np.median([reaches(np.cumsum(share), 0.95) for share in group]))
            height = float(np.interp(reach, rank, middle))
            axes.plot([reach], [height], markersize=7, markeredgecolor="white", linestyle="none", zorder=4, **look)
            axes.plot(
                [],
                [],
                linestyle=_dash(name, models or names),
                markersize=6,
                markeredgecolor="white",
                label=f"{plain(name, 26)}: 95% at {reach}",
                **look,
            )
            floor = min(floor, float(np.nanmin(middle[middle > 1e-9], initial=1.0)))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(floor / 2, 1e-8))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if axis is axes.xaxis else (1,), numticks=8))
            axis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}%"))
        axes.set_xlabel("Principal component")
        axes.set_ylabel("Share of the class's variance")
        axes.legend(loc="lower left", handlelength=2.6)
        points = sorted({picture.n_points for picture in usable if picture.layer == layer})
        size = f"{points[0]} to {points[-1]}" if len(points) > 1 else str(points[0])
        features = sorted({picture.n_features for picture in usable if picture.layer == layer})
        _heading(
            axes, f"layer {plain(layer, 30)}", f"{size} points a class, {' / '.join(map(str, features[:3]))} features"
        )
    return chart


@styled
def feature_correlations(
    correlations: Sequence[CorrelationPicture], *, models: Sequence[str] = (), most: int = 6
) -> Chart:
    """Correlation matrices of the features within a class; at most `most` of them, spread over networks and layers."""
    shown = _spread(correlations, models, most)
    n_models = len({picture.model for picture in shown})
    columns = n_models if n_models in (2, 3) else min(3, max(1, len(shown)))
    chart = Chart(
        rows=max(1, math.ceil(len(shown) / columns)),
        columns=columns,
        width=2.7,
        height=2.7,
        left=0.5,
        right=1.0,
        top=0.42,
        down=0.95,
        across=0.65,
    )
    image = None
    for axes, picture in itertools.zip_longest(chart.flat, shown):
        axes.grid(visible=False)
        if picture is None:
            _empty(axes, "" if shown else "no correlations were kept")
            continue
        size = picture.matrix.shape[0]
        axes.set_facecolor("#d5d8db")  # a constant feature correlates with nothing: grey
        image = axes.imshow(
            picture.matrix,
            cmap="RdBu_r",
            vmin=-1,
            vmax=1,
            interpolation="none",
            extent=(0.5, size + 0.5, size + 0.5, 0.5),
        )
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.spines[["top", "right"]].set_visible(True)
        _heading(
            axes,
            f"{plain(picture.model, 16)} · {plain(picture.layer, 14)} · {plain(picture.class_name, 12)}",
            f"mean |r| {words.coefficient(picture.mean_absolute)}; by chance {words.coefficient(picture.baseline)}",
            size=8.8,
        )
        axes.set_xlabel("Feature")
        axes.set_ylabel("Feature")
    if image is not None:
        place = chart.panels[0][-1].get_position()
        inch = 1 / chart.get_figwidth()
        scale = chart.add_axes((place.x1 + 0.2 * inch, place.y0, 0.13 * inch, place.height))
        bar = chart.colorbar(image, cax=scale, ticks=[-1, -0.5, 0, 0.5, 1])
        bar.set_label("Pearson r between two features")
        bar.outline.set_linewidth(0.5)
    return chart


def _spread(correlations: Sequence[CorrelationPicture], models: Sequence[str], most: int) -> list[CorrelationPicture]:
    """One class of each network and layer, and further whole rounds while there are at most `most` in all."""
    groups: dict[tuple[str, str], list[CorrelationPicture]] = {}
    for picture in correlations:
        if picture.matrix.size:
            groups.setdefault((picture.model, picture.layer), []).append(picture)
    chosen: list[CorrelationPicture] = []
    for turn in itertools.zip_longest(*groups.values()):
        if chosen and len(chosen) + len(groups) > most:
            break
        chosen += [picture for picture in turn if picture is not None]
    chosen = chosen[:most]
    order = _order([picture.model for picture in chosen], models)
    return sorted(chosen, key=lambda picture: (picture.layer, picture.class_index, order.index(picture.model)))


@styled
def accuracy_by_strength(robustness: pl.DataFrame, *, attack: str = "pgd", models: Sequence[str] = ()) -> Chart:
    """Accuracy against the strength of an attack: first all networks, then a panel a network with its classes.

    Solid: the last iterate. Dashed: no iterate was misclassified.
    """
    classes, means = class_accuracy(robustness, attack=attack), mean_accuracy(robustness, attack=attack)
    names = _order(means["model"].unique().to_list(), models)[:MOST_MODELS]
    panels = ([None] if len(names) > 1 else []) + list(names)
    columns = min(4, max(1, len(panels)))
    chart = Chart(
        rows=max(1, math.ceil(len(panels) / columns)),
        columns=columns,
        width=(5.6, 4.4, 3.1, 2.35)[columns - 1],
        height=2.5,
        top=0.3,
        bottom=0.92,
        across=0.28,
        down=0.95,
    )
    if not names:
        _empty(chart.flat[0], "no attack has been run")
        return chart
    strengths = sorted(means["strength"].unique().to_list())
    for place, axes in enumerate(chart.flat):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        only = panels[place]
        for name in names if only is None else [only]:
            look = _look(name, models or names)
            if only is not None:
                group = classes.filter((pl.col("model") == name) & (pl.col("iterate") == _shown_iterate(classes, name)))
                _class_lines(axes, group, look["color"])
            for iterate in ("any", "last"):
                line = means.filter((pl.col("model") == name) & (pl.col("iterate") == iterate))
                if line.is_empty():
                    continue
                x, y, low, high = (
                    reals(line, key) for key in ("strength", "accuracy", "accuracy_low", "accuracy_high")
                )
                if iterate == "last":
                    axes.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
                axes.plot(
                    x,
                    y,
                    linestyle="-" if iterate == "last" else (0, (4, 2)),
                    linewidth=1.8 if iterate == "last" else 1.2,
                    markersize=5.5 if iterate == "last" else 0,
                    markeredgewidth=0,
                    zorder=4,
                    **look,
                )
        n_classes = classes.filter(pl.col("model").is_in(names))["class_index"].n_unique()
        _percent(axes)
        _strength_ticks(axes, strengths)
        axes.set_xlabel(words.strength_axis(attack).replace(" (", "\n("))
        if only is None:
            _heading(axes, "all networks")
        else:
            _heading(axes, plain(only, 24 if columns > 3 else 40))
        if place % columns == 0:
            axes.set_ylabel(f"Accuracy under {words.threat(attack)} (%)")
        else:
            axes.tick_params(labelleft=False)
        if only is not None and n_classes > 1:
            axes.text(
                0.98,
                0.97,
                f"thin: {n_classes} classes",
                transform=axes.transAxes,
                ha="right",
                va="top",
                fontsize=7.5,
                color=FAINT,
            )
    keys = [Line2D([], [], label=plain(name, 24), markeredgewidth=0, **_look(name, models or names)) for name in names]
    dashes: dict[str, Any] = {"last": "-", "any": (0, (4, 2))}
    for iterate, dash in dashes.items():
        if iterate in means["iterate"].to_list():
            keys.append(Line2D([], [], color=FAINT, linestyle=dash, label=words.iterate(iterate)))
    chart.legend(handles=keys, loc="lower center", ncols=min(len(keys), 5), handlelength=2.4, borderaxespad=0.3)
    return chart


def _shown_iterate(table: pl.DataFrame, model: str) -> str:
    return "last" if "last" in table.filter(pl.col("model") == model)["iterate"].to_list() else "any"


def _class_lines(
    axes: Axes, group: pl.DataFrame, colour: str, *, across: str = "strength", up: str = "accuracy"
) -> None:
    lines = [
        np.column_stack([reals(part, across), reals(part, up)])
        for part in group.sort(across).partition_by("class_index", maintain_order=True)
    ]
    alpha = 0.45 if len(lines) <= 20 else max(0.06, 9 / len(lines))
    axes.add_collection(LineCollection(lines, colors=colour, alpha=alpha, linewidths=0.7, rasterized=len(lines) > 100))


def _strength_ticks(axes: Axes, strengths: Sequence[float]) -> None:
    """A tick at each strength that was run; a logarithmic axis where they span more than a factor of 20."""
    positive = [value for value in strengths if value > 0]
    if positive and max(positive) / min(positive) > 20:
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.6)
    ticks = _pick(strengths, 6)
    axes.set_xticks(ticks, [words.strength(value) for value in ticks], rotation=0 if len(ticks) <= 5 else 30)
    axes.xaxis.set_minor_locator(NullLocator())
    span = (max(strengths) - min(strengths)) or 1.0
    if axes.get_xscale() == "linear":
        axes.set_xlim(min(strengths) - 0.05 * span, max(strengths) + 0.05 * span)


def _by_class(examples: Sequence[ExamplePicture]) -> list[ExamplePicture]:
    """Class by class, and within a class by threat and rising strength."""
    classes = list(dict.fromkeys(picture.class_name for picture in examples))
    return sorted(examples, key=lambda one: (classes.index(one.class_name), one.threat, one.strength))


@styled
def attacked_examples(examples: Sequence[ExamplePicture], *, models: Sequence[str] = (), most: int = 12) -> Chart:
    """Triples of original, magnified perturbation (the factor stated) and adversarial image, with predictions."""
    order = _order([picture.model for picture in examples], models)
    changed = [picture for picture in examples if not np.array_equal(picture.original, picture.adversarial)]
    groups = [_by_class([picture for picture in changed if picture.model == name]) for name in order]
    mixed = [picture for turn in itertools.zip_longest(*groups) for picture in turn if picture is not None][:most]
    shown = sorted(mixed, key=lambda picture: order.index(picture.model))
    abreast = 1 if len(shown) <= 2 else (2 if len(shown) <= 4 else 3)
    rows = max(1, math.ceil(len(shown) / abreast))
    chart = Chart(
        rows=rows, columns=3 * abreast, width=1.0, height=1.0, left=0.15, top=0.42, bottom=0.28, across=0.16, down=0.78
    )
    for axes in chart.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
    if not shown:
        _empty(chart.flat[0], "no images were kept")
    for place, picture in enumerate(shown):
        row, column = place % rows, 3 * (place // rows)
        before, between, after = chart.panels[row][column : column + 3]
        change = picture.adversarial - picture.original
        largest = float(np.abs(change).max(initial=0.0))
        _image(before, picture.original)
        _image(after, picture.adversarial)
        if picture.original.ndim == 2:
            reach = largest or 1.0
            between.imshow(change, cmap="RdBu_r", vmin=-1.5 * reach, vmax=1.5 * reach, interpolation="none")
        else:
            _image(between, 0.5 + change * (0.5 / largest if largest else 0.0))
        fooled, threat = picture.last_prediction != picture.label, words.threat(picture.threat)
        before.set_xlabel(f"sees {plain(predicted(picture.clean_name, picture.clean_prediction), 14)}", fontsize=7.5)
        between.set_xlabel(f"× {words.number(0.5 / largest, 2)}" if largest else "no change", fontsize=7.5)
        after.set_xlabel(
            f"sees {plain(predicted(picture.last_name, picture.last_prediction), 14)}",
            fontsize=7.5,
            fontweight="bold" if fooled else "normal",
            color="#B24A00" if fooled else INK,
        )
        _heading(
            before,
            f"{plain(picture.model, 20)} · {threat} {words.at_strength(picture.threat, picture.strength)}",
            f"true class: {plain(picture.class_name, 30)}",
            size=8.8,
        )
        for axes in (before, between, after):
            axes.spines[:].set_visible(True)
            axes.spines[:].set_color(GRID)
    for axes in chart.flat:
        if not axes.images:
            axes.set_axis_off()
    return chart


def _image(axes: Axes, pixels: Reals) -> None:
    inside = np.clip(np.nan_to_num(pixels), 0, 1)
    axes.imshow(inside, cmap="gray" if inside.ndim == 2 else None, vmin=0, vmax=1, interpolation="none")


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
    names = _order([*values["model"].unique(), *means["model"].unique()], models)[:MOST_MODELS]
    shown = _order(values["layer"].unique().to_list(), layers)[: MOST_LAYERS - 1]
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
        _empty(chart.flat[0], "no network has been measured")
        return chart
    for axes, layer in zip(chart.flat, shown, strict=False):
        of_layer = reals(values.filter(pl.col("layer") == layer), "value")
        highest = top = float(of_layer.max())
        for place, name in enumerate(names):
            panel = values.filter((pl.col("model") == name) & (pl.col("layer") == layer)).sort("class_index")
            if panel.is_empty():
                continue
            look, y = _look(name, models or names), reals(panel, "value")
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
        _heading(axes, f"layer {plain(layer, 26)}", "point: a class; bar and number: the mean", size=9)
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
        look = _look(name, models)
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
    _percent(axes, label="Accuracy (%)")
    clean = "open: clean; " if value else ""
    _heading(axes, "accuracy", f"{clean}filled: {words.threat(attack)} {words.at_strength(attack, value)}", size=9)


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
