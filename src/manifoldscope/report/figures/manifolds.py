"""The manifolds of the most fragile class and of its nearest classes, in axes that they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.chart import COLOURS, MARKERS, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_TOOLTIPS, heading, in_order
from manifoldscope.report.rows import Reals
from manifoldscope.report.shared_axes import SHOWN, LayerPoints, SharedAxes

SECTION = Section("manifolds", "How do the manifolds of the most fragile class and its neighbours lie?", place=95)

MOST_NETWORKS = 6
_PAIRS = ((0, 1), (0, 2), (1, 2))


@FIGURES.register(
    "manifolds",
    section=SECTION,
    optional=True,
    missing="no points were kept for pictures (points.images_per_class)",
)
def manifolds(contents: Contents) -> Iterator[Figure]:
    """Points of three classes of each network in the three principal axes that they share, clean and attacked.

    A picture "points" has the names model, layer, attack, strength (None where nothing was attacked), class_names and
    output_names (by index); and the arrays label, prediction, margin, adversarial_prediction (n,), clean and
    adversarial (n, d), variance (n_classes,) and distances (n_classes, n_classes): see `shared_axes.LayerPoints`.
    """
    last = {str(picture.names["model"]): picture for picture in contents.pictures_of("points")}
    shown = [LayerPoints.of(last[name]) for name in in_order(list(last), contents.models)]
    if not shown:
        return
    attacked = any(points.adversarial is not None for points in shown)
    yield Figure(
        name="manifolds",
        title="Manifolds in the axes that they share",
        caption=(
            "Each point is a clean image of the class with the fewest robust images, or of the two classes whose "
            "centroids are nearest to it. The axes are the principal axes of these points together; beside each is "
            "its share of their variance in the whole layer. "
            + (
                "Thin lines lead to the same images when attacked; a cross marks the end where an image that was "
                "classified correctly is misclassified. "
                if attacked
                else ""
            )
            + "One layer of each network is shown, the last of those that were kept. What looks near in three axes may "
            "be far apart in the others."
        ),
        chart=shared_manifolds(shown),
        table=shared_table(shown),
    )


def shared_table(shown: Sequence[LayerPoints]) -> pl.DataFrame:
    """A row per image that is drawn: its class, predictions, and coordinates before and after the attack."""
    rows = []
    for points in shown:
        chosen, axes, before, after = _drawn(points)
        for row in np.flatnonzero(np.isin(points.place, chosen)):
            predicted = None if points.adversarial_prediction is None else int(points.adversarial_prediction[row])
            rows.append(
                {
                    "model": points.facts["model"],
                    "layer": points.facts["layer"],
                    "class_index": points.classes[points.place[row]],
                    "class_name": points.names[points.place[row]],
                    "clean_prediction": int(points.prediction[row]),
                    "adversarial_prediction": predicted,
                    "margin": float(points.margin[row]),
                    **{f"axis_{place + 1}": float(before[row, place]) for place in range(SHOWN)},
                    **{
                        f"adversarial_axis_{place + 1}": None if after is None else float(after[row, place])
                        for place in range(SHOWN)
                    },
                    **{f"share_{place + 1}": float(axes.shares[place]) for place in range(SHOWN)},
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def shared_manifolds(shown: Sequence[LayerPoints]) -> Chart:
    """A row per network: its points in three projections onto pairs of the shared axes."""
    shown = shown[:MOST_NETWORKS]
    chart = Chart(
        rows=len(shown), columns=3, width=2.3, height=2.3, left=0.65, top=0.5, bottom=0.55, across=0.7, down=1.35
    )
    for row, points in zip(chart.panels, shown, strict=True):
        chosen, axes, before, after = _drawn(points)
        for panel, pair in zip(row, _PAIRS, strict=True):
            _panel(chart, panel, points, chosen, before[:, pair], None if after is None else after[:, pair])
            panel.set_xlabel(_axis(axes, pair[0]))
            panel.set_ylabel(_axis(axes, pair[1]))
        attack = points.facts.get("attack")
        heading(
            row[0],
            f"{plain(str(points.facts['model']), 24)} · {plain(str(points.facts['layer']), 24)}",
            ""
            if attack is None
            else f"{words.attack(attack)} {words.at_strength(attack, float(points.facts['strength']))}",
            width=6.0,
        )
        row[-1].legend(
            handles=[
                Line2D([], [], linestyle="none", label=plain(points.names[place], 18), **_look(order))
                for order, place in enumerate(chosen)
            ],
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=len(chosen),
            borderaxespad=0.2,
            columnspacing=0.8,
            handletextpad=0.1,
        )
    return chart


def _drawn(points: LayerPoints) -> tuple[list[int], SharedAxes, Reals, Reals | None]:
    """The classes that are drawn, their axes, and all points in these."""
    chosen = points.telling()
    axes = points.shared_axes(chosen)
    after = None if points.adversarial is None else (points.adversarial - axes.centre) @ axes.axes.T
    return chosen, axes, (points.clean - axes.centre) @ axes.axes.T, after


def _look(order: int) -> dict[str, Any]:
    return {"color": COLOURS[order], "marker": MARKERS[order]}


def _axis(axes: SharedAxes, place: int) -> str:
    return f"Axis {place + 1} ({words.number(100 * float(axes.shares[place]), 2)}% of the variance)"


def _panel(
    chart: Chart, axes: Axes, points: LayerPoints, chosen: Sequence[int], before: Reals, after: Reals | None
) -> None:
    many = int(points.counts[list(chosen)].sum()) > 300
    for order, place in enumerate(chosen):
        rows = points.place == place
        look = _look(order)
        if after is not None:
            lines = np.stack([before[rows], after[rows]], 1)
            axes.add_collection(
                LineCollection(list(lines), colors=look["color"], linewidths=0.5, alpha=0.45, rasterized=many)
            )
            ends = after[rows & points.correct & ~points.robust]
            axes.scatter(
                ends[:, 0], ends[:, 1], s=11, marker="x", linewidth=0.7, color=look["color"], rasterized=many, zorder=3
            )
        dots = axes.scatter(
            before[rows, 0], before[rows, 1], s=13, edgecolor="white", linewidth=0.3, rasterized=many, zorder=4, **look
        )
        if len(points.place) <= MOST_TOOLTIPS // (3 * MOST_NETWORKS):
            chart.explain(dots, [_words(points, int(row)) for row in np.flatnonzero(rows)])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(0.06)


def _words(points: LayerPoints, row: int) -> str:
    named = dict(zip(points.classes, points.names, strict=True)) | dict(points.facts.get("output_names", {}))

    def seen(index: int) -> str:
        return "none" if index < 0 else plain(str(named.get(index, f"class {index}")), 30)

    text = f"{plain(points.names[points.place[row]], 30)}: predicted {seen(int(points.prediction[row]))}"
    if points.adversarial_prediction is not None:
        text += f", attacked {seen(int(points.adversarial_prediction[row]))}"
    return text
