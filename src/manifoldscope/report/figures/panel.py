"""What all figures share: the look of a network, headings, axes and ticks, and how much one figure holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from manifoldscope.report import words
from manifoldscope.report.chart import COLOURS, DASHES, FAINT, INK, MARKERS, Chart, plain
from manifoldscope.report.lettering import wide
from manifoldscope.report.rows import Reals, reals

MOST_MODELS = 8  # in one figure, as there are colours
MOST_STRENGTHS = 5
MOST_LAYERS = 4
MOST_MEASURES = 4
MOST_ATTACKS = 3
MOST_TOOLTIPS = 3_000  # beyond these a figure's points become pixels: the file would grow past all use
NAMED_CLASSES = 20  # up to that many classes are named in the panel itself


def in_order(present: Sequence[str], models: Sequence[str]) -> list[str]:
    """The names that are present: those of `models` in that order, then the others."""
    return [name for name in models if name in set(present)] + sorted(set(present) - set(models))


def look_of(model: str, models: Sequence[str]) -> dict[str, Any]:
    """Colour and marker of a network: those of its place in `models`."""
    place = list(models).index(model) if model in models else len(models)
    turn, index = divmod(place, len(COLOURS))
    return {"color": COLOURS[index], "marker": MARKERS[(index + turn) % len(MARKERS)]}


def dash_of(model: str, models: Sequence[str]) -> Any:
    """The dashes of a network's line: those of its place in `models`."""
    return DASHES[(list(models).index(model) if model in models else 0) % len(DASHES)]


def heading(
    axes: Axes,
    title: str,
    below: str = "",
    *,
    after: str = "",
    width: float | None = None,
    colour: str = INK,
    size: float = 9.5,
) -> None:
    """Write a title above the axes, from their left edge on, and below it a smaller line.

    The title is shortened to what `width` holds (in inches; that of the axes if omitted). What stands `after` it, such
    as a strength, is never shortened: a number that has lost its end is another number.
    """
    # An annotation and not a title: matplotlib moves a title that is wider than its axes.
    axes.annotate(
        shortened(title, 72 * width if width else room_above(axes), after=after, size=size),
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


def room_above(axes: Axes) -> float:
    """The width of the axes in points."""
    return 72 * axes.bbox.width / axes.figure.dpi


def shortened(text: str, room: float, *, after: str = "", size: float = 9.5, weight: str = "bold") -> str:
    """`text` in one line, cut so that it fits into `room` points together with all of `after`."""
    font = FontProperties(family="DejaVu Sans", weight=weight, size=size)
    line = plain(text, 60)
    for length in range(len(line), 0, -1):
        whole = plain(line, length) + after
        if text_to_path.get_text_width_height_descent(whole, font, ismath=False)[0] <= room:
            return whole
    return after or plain(line, 1)


def leave_empty(axes: Axes, text: str) -> None:
    """Leave the axes empty, and say why."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT)


def percent_axis(axes: Axes, *, label: str = "", limits: tuple[float, float] = (-0.04, 1.04)) -> None:
    """Make the y axis one of shares in [0, 1], written in percent."""
    axes.set_ylim(*limits)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}"))
    axes.set_ylabel(label)


def value_axis(
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


def strength_ticks(axes: Axes, strengths: Sequence[float]) -> None:
    """A tick at each strength that was run; a logarithmic axis where they span more than a factor of 20."""
    positive = [value for value in strengths if value > 0]
    if positive and max(positive) / min(positive) > 20:
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.6)
    ticks = evenly(strengths, 6)
    axes.set_xticks(ticks, [words.strength(value) for value in ticks], rotation=0 if len(ticks) <= 5 else 30)
    axes.xaxis.set_minor_locator(NullLocator())
    span = (max(strengths) - min(strengths)) or 1.0
    if axes.get_xscale() == "linear":
        axes.set_xlim(min(strengths) - 0.05 * span, max(strengths) + 0.05 * span)


def evenly(values: Sequence[float], most: int) -> list[float]:
    """At most `most` of the values, evenly from the first to the last."""
    ordered = sorted(values)
    if len(ordered) <= most:
        return ordered
    return [ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, most)]


def class_lines(
    axes: Axes, group: pl.DataFrame, colour: str, *, across: str = "strength", up: str = "robust_accuracy"
) -> None:
    """Draw a thin line per class, paler the more classes there are."""
    group = group.sort("class_index", across)
    begins = np.diff(group["class_index"].to_numpy()).nonzero()[0] + 1
    lines = np.split(np.column_stack([reals(group, across), reals(group, up)]), begins)
    alpha = 0.45 if len(lines) <= 20 else max(0.06, 9 / len(lines))
    axes.add_collection(LineCollection(lines, colors=colour, alpha=alpha, linewidths=0.7, rasterized=len(lines) > 100))


def name_points(chart: Chart, axes: Axes, x: Reals, y: Reals, names: Sequence[str]) -> None:
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
        length, high = 5.0 * wide(text) + 1, 8.0
        for dx, dy, side in (
            (6, 0, "left"),
            (-6, 0, "right"),
            (4, 7, "left"),
            (4, -7, "left"),
            (-4, 7, "right"),
            (-4, -7, "right"),
        ):
            start = px[index] + dx - (length if side == "right" else 0)
            box = (start, py[index] + dy - high / 2, start + length, py[index] + dy + high / 2)
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
