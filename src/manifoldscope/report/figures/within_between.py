"""A measure against robust accuracy, within networks and between them, in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from manifoldscope.evidence.networks_by_classes import Levels, NetworksByClasses, networks_by_classes
from manifoldscope.evidence.within_between import LEAST_CLASSES
from manifoldscope.report import words
from manifoldscope.report.chart import INK, Chart
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.dimension_accuracy import beside_accuracy
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_TOOLTIPS,
    heading,
    in_order,
    look_of,
    name_points,
    percent_axis,
    value_axis,
)
from manifoldscope.report.findings.phrases import p_value
from manifoldscope.report.rows import Reals, number_range, reals

SECTION = Section(
    "within-between",
    "Does what holds between networks hold within each of them?",
    place=62,
    terms={
        "Simpson's reversal": "An association within groups that has the opposite sign between them (Simpson 1951); "
        "neither is a mistake, and they answer different questions."
    },
)


@FIGURES.register(
    "within_between",
    section=SECTION,
    optional=True,
    missing="fewer than two networks above chance level have an association across their classes",
)
def within_between(contents: Contents) -> Iterator[Figure]:
    """The classes of every network with its line, and the means of networks with theirs, a panel per layer.

    It is not drawn where fewer than two networks above chance level have an association across their classes.
    """
    fact = networks_by_classes(contents.tables)
    if fact is None:
        return
    by_layer = {each.layer: each for each in fact.layers}
    layers = [by_layer[name] for name in contents.layers if name in by_layer][:MOST_LAYERS]
    points = {each.layer: _points(contents, fact, each.layer) for each in layers}
    layers = [each for each in layers if points[each.layer]["model"].n_unique() > 1]
    if not layers:
        return
    table = pl.concat([points[each.layer] for each in layers])
    label = words.measure(fact.measure, fact.parameters)
    opening = "Simpson's reversal: " if any(each.reversal for each in layers) else ""
    yield Figure(
        name="within_between",
        title=f"{opening}{label} against robust accuracy, within and between networks",
        caption=_caption(fact, layers, table, label),
        chart=within_between_chart(table, layers, label=label, models=contents.models),
        table=table,
    )


def _caption(fact: NetworksByClasses, layers: Sequence[Levels], table: pl.DataFrame, label: str) -> str:
    at = words.at_strength(fact.attack, fact.strength)
    text = (
        f"Each small point is a class of a network: across, its {words.noun(label)}; upwards, the share of its "
        f"{number_range(table['n_images'])} images that are still classified correctly under "
        f"{words.attack(fact.attack)} at {at} ({words.iterate(fact.iterate)}), where the networks differ most. Lines "
        "in colour are least-squares fits within a network; large points are the means of networks, over their "
        "classes, and the dashed line is the fit through these. Within r is the mean over networks by Fisher's z; its "
        "p is from permutations of the classes that are joint over networks, and is of these networks alone"
    )
    if len(fact.layers) > 1:
        text += f"; it is adjusted for {len(fact.layers)} layers"
    text += (
        ". Between r is that of the means, and is not tested. How hard classes are when clean is not held fixed in "
        "either."
    )
    if any(each.reversal for each in layers):
        text += (
            " Where the signs are opposite and neither is small (Simpson's reversal), a statement about networks must "
            "not be carried over to classes, nor the other way round."
        )
    if len(layers) < len(fact.layers):
        text += f" Of {len(fact.layers)} layers, {len(layers)} are drawn."
    if fact.replicated:
        text += " Replicates of one network have lines of their own in its colour, and one mean."
    if fact.at_chance:
        text += f" Not drawn, as their clean accuracy is at chance level: {words.listing(list(fact.at_chance))}."
    return text


def _points(contents: Contents, fact: NetworksByClasses, layer: str) -> pl.DataFrame:
    """The rows of `beside_accuracy` of the networks that have an association, with their `network`."""
    table = beside_accuracy(
        contents.tables["geometry"],
        contents.tables["robustness"],
        layer=layer,
        measure=fact.measure,
        parameters=fact.parameters or "",
        attack=fact.attack,
        iterate=fact.iterate,
    ).filter(pl.col("model").is_in(list(fact.networks)) & (pl.col("strength") == fact.strength))
    varies = [pl.col(name).n_unique().over("model") > 1 for name in ("value", "robust_accuracy")]
    return table.filter(pl.len().over("model") >= LEAST_CLASSES, *varies).with_columns(
        network=pl.col("model").replace(dict(fact.networks))
    )


def within_between_chart(
    table: pl.DataFrame, layers: Sequence[Levels], *, label: str, models: Sequence[str] = ()
) -> Chart:
    """A panel per layer; `table` has the rows of `beside_accuracy` with the column `network`."""
    columns = min(2, len(layers))
    rows = -(-len(layers) // columns)
    chart = Chart(
        rows=rows, columns=columns, width=4.0 if columns > 1 else 5.4, height=3.2, top=0.42, bottom=0.78, across=0.35
    )
    for place, axes in enumerate(chart.flat):
        if place >= len(layers):
            axes.set_axis_off()
            continue
        fact = layers[place]
        here = table.filter(layer=fact.layer)
        means = _panel(chart, axes, here, label, models, budget=MOST_TOOLTIPS // len(layers))
        after = " · Simpson's reversal" if fact.reversal else ""
        heading(axes, f"layer {fact.layer}", _told(fact, len(means)), after=after)
        axes.set_xlabel(label)
        if place % columns == 0:
            attack, strength = here["attack_name"][0], float(here["strength"][0])
            axes.set_ylabel(f"Robust accuracy, {words.attack(attack)} {words.at_strength(attack, strength)} (%)")
        else:
            axes.tick_params(labelleft=False)
    keys = [
        Line2D(
            [], [], color=INK, marker="o", markersize=4, markeredgewidth=0, linewidth=1.3, label="classes, their fit"
        ),
        Line2D(
            [], [], color=INK, marker="o", markersize=9, markeredgecolor="white", linestyle="none", label="network mean"
        ),
        Line2D([], [], color=INK, linewidth=1.6, linestyle=(0, (4, 2)), label="fit between networks"),
    ]
    chart.legend(handles=keys, loc="lower center", ncols=3, borderaxespad=0.2, handlelength=2.4)
    return chart


def _told(fact: Levels, n_networks: int) -> str:
    """`within r = −0.60 (p = 0.01), between r = 0.90`."""
    tested = p_value(fact.within).removeprefix(", ")
    within = f"within r = {words.coefficient(fact.within.value)}{f' ({tested})' if tested else ''}"
    if fact.between is None:
        return f"{within}; {words.count(n_networks, 'network')}, no r between"
    return f"{within}, between r = {words.coefficient(fact.between)}"


def _panel(
    chart: Chart, axes: Axes, rows: pl.DataFrame, label: str, models: Sequence[str], *, budget: int
) -> pl.DataFrame:
    """Draw the classes and the means; returns the latter."""
    percent_axis(axes)
    value_axis(axes, reals(rows, "value"), np.full(rows.height, np.nan))
    crowded = rows.height > budget
    networks = in_order(rows["network"].unique().to_list(), models)
    for name in in_order(rows["model"].unique().to_list(), models):
        mine = rows.filter(model=name)
        _classes(chart, axes, mine, _look(mine["network"][0], networks, models), label, crowded=crowded)
    means = rows.group_by("network").agg(pl.col("value", "robust_accuracy").mean()).sort("network")
    mx, my = reals(means, "value"), reals(means, "robust_accuracy")
    _fit(axes, mx, my, color=INK, linewidth=1.6, linestyle=(0, (4, 2)), zorder=4)
    size = 110 if len(means) <= 12 else 40
    for row in means.iter_rows(named=True):
        look = _look(row["network"], networks, models)
        axes.scatter(row["value"], row["robust_accuracy"], s=size, edgecolor="white", linewidth=1.2, zorder=5, **look)
    name_points(chart, axes, mx, my, means["network"].to_list())
    for text in axes.texts:
        text.set(zorder=6, bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.8})
    return means


def _look(network: str, networks: Sequence[str], models: Sequence[str]) -> dict[str, Any]:
    """That of the network; of replicates, of which none has that name, by the order of networks."""
    return look_of(network, models if network in models else networks)


def _classes(
    chart: Chart, axes: Axes, rows: pl.DataFrame, look: Mapping[str, Any], label: str, *, crowded: bool
) -> None:
    x, y = reals(rows, "value"), reals(rows, "robust_accuracy")
    size = 16 if rows.height <= 30 else 9 if rows.height <= 150 else 5
    points = axes.scatter(
        x, y, s=size, alpha=0.6 if rows.height <= 30 else 0.35, linewidth=0, rasterized=crowded, zorder=2, **look
    )
    if not crowded:
        texts = [
            f"{row['model']}, {row['class_name']}: {label} {words.number(row['value'])}, robust accuracy "
            f"{row['robust_accuracy']:.1%}"
            for row in rows.iter_rows(named=True)
        ]
        chart.explain(points, texts)
    _fit(axes, x, y, color=look["color"], linewidth=1.4, zorder=3)


def _fit(axes: Axes, x: Reals, y: Reals, **look: Any) -> None:
    """The least-squares line over the range of x; none where x is the same for all."""
    centred = x - x.mean()
    squares = float(centred @ centred)
    if len(x) < 2 or squares == 0:
        return
    slope = float(centred @ (y - y.mean())) / squares
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, y.mean() + slope * (ends - x.mean()), **look)
