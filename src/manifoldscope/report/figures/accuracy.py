"""Robust accuracy by the strength of an attack: of whole networks, and of their classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
from matplotlib.lines import Line2D

from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_ATTACKS,
    MOST_MODELS,
    class_lines,
    heading,
    in_order,
    look_of,
    percent_axis,
    strength_ticks,
)
from manifoldscope.report.rows import class_accuracy, mean_accuracy, reals

SECTION = Section("accuracy", "How does robust accuracy drop with the strength of the attack?", place=20)


@FIGURES.register("accuracy", section=SECTION, missing="the table robustness has no rows")
def accuracy(contents: Contents) -> Iterator[Figure]:
    """Robust accuracy against the strength of each attack."""
    for place, attack in enumerate(contents.attacks[:MOST_ATTACKS]):
        table = mean_accuracy(contents.tables["robustness"], attack=attack)
        if table.is_empty():
            continue
        under = words.attack(attack)
        yield Figure(
            name=words.slug("accuracy", attack),
            title=f"Robust accuracy under {under}",
            caption=(
                f"The share of all images that are classified correctly under {under}, with its 95% Wilson interval "
                "as a band. Solid: the last iterate, the attack as it is usually written. Dashed: no iterate on the "
                "way was misclassified, never above the solid line; where the two differ, the attack had already "
                "succeeded and moved on. Thin lines are single classes. An undefended network that does not come "
                "near 0 at a large strength points to a weak attack rather than a strong network."
            ),
            chart=accuracy_by_strength(contents.tables["robustness"], attack=attack, models=contents.models),
            table=table,
            more=place > 0,
        )


def accuracy_by_strength(robustness: pl.DataFrame, *, attack: str, models: Sequence[str] = ()) -> Chart:
    """Robust accuracy against the strength of an attack: first all networks, then a panel per network with its classes.

    Solid: the last iterate. Dashed: no iterate was misclassified.
    """
    classes, means = class_accuracy(robustness, attack=attack), mean_accuracy(robustness, attack=attack)
    names = in_order(means["model"].unique().to_list(), models)[:MOST_MODELS]
    panels = ([None] if len(names) > 1 else []) + list(names)
    columns = min(4, len(panels))
    chart = Chart(
        rows=math.ceil(len(panels) / columns),
        columns=columns,
        width=(5.6, 4.4, 3.1, 2.35)[columns - 1],
        height=2.5,
        top=0.3,
        bottom=0.92,
        across=0.28,
        down=0.95,
    )
    strengths = sorted(means["strength"].unique().to_list())
    for place, axes in enumerate(chart.flat):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        only = panels[place]
        for name in names if only is None else [only]:
            look = look_of(name, models or names)
            if only is not None:
                group = classes.filter((pl.col("model") == name) & (pl.col("iterate") == _shown_iterate(classes, name)))
                class_lines(axes, group, look["color"])
            for iterate in ("any", "last"):
                line = means.filter((pl.col("model") == name) & (pl.col("iterate") == iterate))
                if line.is_empty():
                    continue
                x, y, low, high = (
                    reals(line, key)
                    for key in ("strength", "robust_accuracy", "robust_accuracy_low", "robust_accuracy_high")
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
        percent_axis(axes)
        strength_ticks(axes, strengths)
        axes.set_xlabel(words.strength_axis(attack).replace(" (", "\n("))
        heading(axes, "all networks" if only is None else only)
        if place % columns == 0:
            axes.set_ylabel(f"Robust accuracy, {words.attack(attack)} (%)")
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
    keys = [
        Line2D([], [], label=plain(name, 24), markeredgewidth=0, **look_of(name, models or names)) for name in names
    ]
    dashes: dict[str, Any] = {"last": "-", "any": (0, (4, 2))}
    for iterate, dash in dashes.items():
        if iterate in means["iterate"].to_list():
            keys.append(Line2D([], [], color=FAINT, linestyle=dash, label=words.iterate(iterate)))
    chart.legend(handles=keys, loc="lower center", ncols=min(len(keys), 5), handlelength=2.4, borderaxespad=0.3)
    return chart


def _shown_iterate(table: pl.DataFrame, model: str) -> str:
    return "last" if "last" in table.filter(pl.col("model") == model)["iterate"].to_list() else "any"
