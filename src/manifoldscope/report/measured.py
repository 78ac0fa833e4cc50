"""The drawings of a table of measures of points: class by class, along an axis, between classes, spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from manifoldscope.report import words
from manifoldscope.report.chart import COLOURS, FAINT, INK, Chart, plain, styled
from manifoldscope.report.figures.panel import MOST_TOOLTIPS
from manifoldscope.report.figures.spectra import reaches, shares
from manifoldscope.report.lettering import wide
from manifoldscope.report.rows import Reals, reals
from manifoldscope.report.small import Drawing, Part

MOST_ROWS = 40
"""Up to that many classes have a line of their own, with their name; more are drawn by rank."""

MOST_LINES = len(COLOURS)
"""Up to that many classes have a colour."""

MOST_DRAWINGS = 24
MOST_IN_MATRIX = 60
FEW_POINTS = 20

_OWN = ("label", "other", "measure", "parameters")


@styled
def measured_parts(
    table: pl.DataFrame, *, axes: Sequence[str] = (), meanings: Mapping[str, str] | None = None
) -> list[Part]:
    """The drawings of a table that `recordings` makes: `measured`, `curves`, `extrapolations` or `reliabilities`.

    Args:
        table: a row per class and measure (and place along the axes); of joint measures also per pair.
        axes: its columns that say where along the axes of the recording, such as time.
        meanings: what each measure is, by name; said in captions.
    """
    meanings = meanings or {}
    if "reliability" in table.columns:
        return [Part("How well two halves of the points agree on the classes", "", [_reliabilities(table)])]
    across = "n_points" if "standard_deviation" in table.columns else axes[0] if axes else None
    if across is not None and across in axes and len(axes) > 1:
        return [Part("Class by class", f"Measured apart for each of {words.listing(list(axes))}: see the table.", [])]
    classes, pairs = table, table.clear()
    if "other" in table.columns:
        classes, pairs = table.filter(pl.col("other").is_null()), table.filter(pl.col("other").is_not_null())
    wholes = classes.filter(pl.col("label").is_null())
    if across is None:
        classes = classes.filter(pl.col("label").is_not_null())
    found: list[Drawing] = []
    left_out = 0
    for (name, parameters), rows in classes.group_by("measure", "parameters", maintain_order=True):
        finite = rows.filter(pl.col("value").is_finite())
        label = words.measure(str(name), str(parameters or ""))
        if finite.is_empty() or len(found) == MOST_DRAWINGS:
            left_out += len(found) == MOST_DRAWINGS
            continue
        meaning = meanings.get(str(name), "")
        found.append(
            _class_by_class(finite, label, meaning) if across is None else _along(finite, label, meaning, across)
        )
    more = f"{left_out} more measures are in the table alone." if left_out else ""
    text = " ".join(filter(None, [_legend(classes) if across is None else "", more]))
    parts = [Part(_title(table, across), text, found)] if found else []
    matrices = [] if across is not None else _matrices(pairs, wholes)
    return [*parts, Part("Between classes", "", matrices)] if matrices else parts


@styled
def spectra_part(spectra: Mapping[str, Reals], n_points: Mapping[str, int]) -> Part:
    """The share of variance along each principal axis, a line per class.

    Args:
        spectra: eigenvalues of each class, largest first, in squared units of the features.
        n_points: of each class.
    """
    usable = {name: share for name, values in spectra.items() if (share := shares(values)).size}
    named = len(usable) if len(usable) <= MOST_LINES else 0
    chart = Chart(width=2.5, height=2.35, left=0.95, right=0.15, top=0.12, bottom=_room_below(named))
    (panel,) = chart.flat
    for place, (name, share) in enumerate(usable.items()):
        rank, many = np.arange(1, share.size + 1), not named
        reach = reaches(np.cumsum(share), 0.95)
        colour = FAINT if many else COLOURS[place]
        drawn = np.where(share > 1e-12, share, np.nan)
        label = None if many else f"{plain(name, 12)}: 95% at {reach}"
        panel.plot(rank, drawn, color=colour, alpha=0.4 if many else 1, linewidth=1.2, label=label)
        panel.plot([reach], [drawn[reach - 1]], "o", color=colour, markersize=5, markeredgecolor="white", zorder=4)
    panel.set(xscale="log", yscale="log", xlabel="Principal component", ylabel="Share of variance")
    panel.set_ylim(bottom=max(1e-8, panel.get_ylim()[0]))
    panel.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5), numticks=8))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _percent(value)))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_minor_formatter(NullFormatter())
    if named:
        _legend_below(panel)
    fewest, most = min(n_points.values()), max(n_points.values())
    sizes = words.number(fewest) if fewest == most else f"{words.number(fewest)} to {words.number(most)}"
    caption = (
        f"A line per class ({sizes} points each); the mark is where 95% of the variance is reached. The last "
        "components of a sample fall off because the points end, and not because the class does."
    )
    return Part("Spectra", "", [Drawing("How the variance of a class is shared out", caption, chart)])


def cautions(table: pl.DataFrame) -> list[str]:
    """Reasons to read a table of measures with care: what describes the sample, few points, values that are missing."""
    found = []
    columns = set(table.columns)
    if {"describes_sample", "n_points"} <= columns:
        n = int(table["describes_sample"].fill_null(False).sum())
        if n:
            found.append(
                f"{n} of {table.height} values describe the sample or the width of the layer rather than the class: "
                "they are within 10% of the most that so many points and features can show, or drop by more than 10% "
                "when half of the points are left out. More points, or features, would give other values."
            )
    if {"label", "n_points", "ceiling"} <= columns and "standard_deviation" not in columns:
        sizes = table.filter(pl.col("label").is_not_null()).group_by("label").agg(pl.col("n_points").min())
        few = sizes.filter(pl.col("n_points") < FEW_POINTS).sort("n_points", "label")
        if few.height:
            listed = words.listing([f"{row['label']} ({row['n_points']})" for row in few.to_dicts()])
            found.append(f"Fewer than {FEW_POINTS} points of {listed}: little can be said of their geometry.")
        if sizes.height and sizes["n_points"].n_unique() > 1:
            span = f"{min(sizes['n_points'])} to {max(sizes['n_points'])}"
            found.append(
                f"Classes have {span} points, and most measures grow with their number; --equal draws as many of each "
                "class."
            )
    if "value" in columns:
        missing = table.filter(~pl.col("value").fill_null(math.nan).is_finite())
        reasons = words.listing([_clause(note) for note in missing["note"].unique(maintain_order=True) if note], 3)
        if missing.height:
            found.append(f"{missing.height} of {table.height} values could not be given: {reasons or 'see the table'}.")
    return found


def _title(table: pl.DataFrame, across: str | None) -> str:
    if across == "n_points":
        return "Against the number of points"
    return f"Along {across}" if across else "Class by class"


# Class by class ----------------------------------------------------------------------------------------------------


def _class_by_class(rows: pl.DataFrame, label: str, meaning: str) -> Drawing:
    """A mark per class, with two standard errors, what chance gives, and the ceiling."""
    many = rows.height > MOST_ROWS
    if many:
        rows = rows.sort("value", "label")
    names = [plain(name, 22) for name in rows["label"]]
    room = 0.45 if many else 0.25 + 0.068 * max(map(wide, names))
    height = 2.4 if many else max(0.7, 0.2 * rows.height + 0.3)
    chart = Chart(width=max(1.6, 3.35 - room), height=height, left=room + 0.1, right=0.15, top=0.12, bottom=0.48)
    (panel,) = chart.flat
    values, errors = reals(rows, "value"), 2 * np.nan_to_num(_column(rows, "stderr"))
    ceilings, chance = _column(rows, "ceiling"), _column(rows, "null")
    places = np.arange(1, rows.height + 1)
    hollow = rows["describes_sample"].fill_null(False).to_numpy() if "describes_sample" in rows.columns else errors < 0
    x, y = (places, values) if many else (values, places)
    draw_bars = panel.vlines if many else panel.hlines
    draw_bars(places, values - errors, values + errors, color=COLOURS[0], alpha=0.5, linewidth=1.4)
    near = ceilings <= values.max() + 1.5 * (np.ptp(values) + 0.05 * abs(values.max()))
    for numbers, marker, colour in (
        (np.where(near, ceilings, np.nan), "_" if many else "|", INK),
        (chance, "x", FAINT),
    ):
        shown = np.isfinite(numbers)
        first, second = (places[shown], numbers[shown]) if many else (numbers[shown], places[shown])
        panel.scatter(first, second, marker=marker, color=colour, s=18 if marker == "x" else 40, linewidth=1, zorder=2)
    crowded = rows.height > MOST_TOOLTIPS
    fills = ["white" if each else COLOURS[0] for each in hollow]
    size = 30 if not many else 10
    points = panel.scatter(
        x, y, s=size, facecolor=fills, edgecolor=COLOURS[0], linewidth=1, zorder=3, rasterized=crowded
    )
    if not crowded:
        chart.explain(points, [_told(row, label) for row in rows.iter_rows(named=True)])
    if many:
        panel.set(xlabel=f"{words.number(rows.height)} classes, by rank", ylabel=_short(label))
    else:
        panel.set_yticks(places, names)
        panel.set_ylim(rows.height + 0.6, 0.4)
        _name_across(chart, panel, _short(label))
        panel.xaxis.set_major_locator(MaxNLocator(5))
    return Drawing(label, _caption(rows, meaning, near), chart)


def _caption(rows: pl.DataFrame, meaning: str, near: NDArray[np.bool_]) -> str:
    ceilings = _column(rows, "ceiling")
    known = np.isfinite(ceilings)
    if not known.any():
        return meaning
    low, high = (words.number(float(value)) for value in (ceilings[known].min(), ceilings[known].max()))
    drawn = "" if near[known].all() else ", not all drawn" if near[known].any() else ", not drawn"
    return f"{meaning} Ceiling {low if low == high else f'{low} to {high}'}{drawn}.".strip()


def _legend(rows: pl.DataFrame) -> str:
    """What marks mean, of those that the drawings have."""
    meant = {
        "stderr": "Bars are two standard errors.",
        "ceiling": "Strokes are ceilings, the most that so many points and features can show.",
        "null": "Crosses are what chance gives.",
    }
    said = [text for name, text in meant.items() if np.isfinite(_column(rows, name)).any()]
    if "describes_sample" in rows.columns and rows["describes_sample"].fill_null(False).any():
        said.append("Hollow marks describe the sample of points, or the width of the layer, more than the class.")
    return " ".join(said)


def _told(row: Mapping[str, object], label: str) -> str:
    """A class and its numbers, for the tooltip."""
    text = f"{row['label']}: {label} {words.number(_real(row['value']), 4)}"
    details = [
        f"{called} {words.number(number)}"
        for name, called in (("stderr", "standard error"), ("ceiling", "ceiling"), ("null", "at chance"))
        if math.isfinite(number := _real(row.get(name)))
    ]
    return f"{text} ({', '.join(details)})" if details else text


# Along an axis -----------------------------------------------------------------------------------------------------


def _along(rows: pl.DataFrame, label: str, meaning: str, across: str) -> Drawing:
    """A line per class along an axis of the recording, or against the number of points."""
    lines = rows.partition_by("label", maintain_order=True)
    many = len(lines) > MOST_LINES
    named = 0 if many or len(lines) == 1 else len(lines)
    chart = Chart(width=2.75, height=2.2, left=0.62, right=0.15, top=0.12, bottom=_room_below(named))
    (panel,) = chart.flat
    of_draws = across == "n_points"
    error = "standard_deviation" if of_draws else "stderr"
    banded = not many and bool(np.isfinite(_column(rows, error)).any())
    for place, line in enumerate(lines):
        line = line.sort(across)
        x, y, spread = reals(line, across), reals(line, "value"), _column(line, error) * (1 if of_draws else 2)
        if many:
            panel.plot(x, y, color=FAINT, alpha=0.35, linewidth=1)
            continue
        name = plain(line["label"][0] or "all classes", 16)
        panel.plot(x, y, "-o", color=COLOURS[place], linewidth=1.5, markersize=2.5, label=name)
        panel.fill_between(x, y - spread, y + spread, color=COLOURS[place], alpha=0.16, linewidth=0)
    if many:
        middle = rows.group_by(across).agg(pl.col("value").median()).sort(across)
        panel.plot(reals(middle, across), reals(middle, "value"), color=INK, linewidth=2)
    if named:
        _legend_below(panel)
    panel.set(xlabel="Points" if of_draws else plain(across, 40), ylabel=_short(label))
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    parts = [meaning, "Faint lines are classes, the strong one their median." if many else ""]
    if banded:
        parts.append("Bands are one standard deviation over draws." if of_draws else "Bands are two standard errors.")
    return Drawing(label, " ".join(filter(None, parts)), chart)


# Between classes ---------------------------------------------------------------------------------------------------


def _matrices(pairs: pl.DataFrame, wholes: pl.DataFrame) -> list[Drawing]:
    """A matrix of each joint measure that has values of pairs."""
    found: list[Drawing] = []
    for (name, parameters), rows in pairs.group_by("measure", "parameters", maintain_order=True):
        label = words.measure(str(name), str(parameters or ""))
        labels = list(dict.fromkeys([*rows["label"], *rows["other"]]))
        whole = wholes.filter(pl.col("measure") == name, pl.col("parameters").fill_null("") == (parameters or ""))
        value = f" Over all classes: {words.number(_real(whole['value'][0]), 4)}." if whole.height else ""
        if len(labels) > MOST_IN_MATRIX or len(found) == MOST_DRAWINGS:
            continue
        place = {each: index for index, each in enumerate(labels)}
        matrix = np.full((len(labels), len(labels)), np.nan)
        for one, other, number in rows.select("label", "other", "value").iter_rows():
            matrix[place[one], place[other]] = matrix[place[other], place[one]] = _real(number)
        room = 0.2 + 0.068 * max(wide(plain(each, 14)) for each in labels)
        side = 3.3 - room
        chart = Chart(width=side, height=side, left=room, right=0.6, top=0.12, bottom=room)
        (panel,) = chart.flat
        image = panel.imshow(matrix, cmap="cividis", interpolation="nearest")
        panel.grid(False)
        ticks = range(0, len(labels), max(1, math.ceil(len(labels) / 16)))
        panel.set_xticks(ticks, [plain(labels[at], 14) for at in ticks], rotation=90)
        panel.set_yticks(ticks, [plain(labels[at], 14) for at in ticks])
        bar = chart.add_axes(
            (panel.get_position().x1 + 0.015, panel.get_position().y0, 0.03, panel.get_position().height)
        )
        chart.colorbar(image, cax=bar).ax.tick_params(labelsize=7.5)
        found.append(Drawing(label, f"Each cell is a pair of classes.{value}", chart))
    return found


def _reliabilities(table: pl.DataFrame) -> Drawing:
    rows = table.filter(pl.col("reliability").is_finite())
    names = [words.measure(name, parameters) for name, parameters in rows.select("measure", "parameters").rows()]
    names = [plain(_short(name) if len(name) > 24 else name, 28) for name in names]
    room = 0.25 + 0.068 * max(map(len, names), default=0)
    height = max(0.7, 0.2 * rows.height + 0.3)
    chart = Chart(width=max(1.2, 3.35 - room), height=height, left=room + 0.1, right=0.15, top=0.12, bottom=0.48)
    (panel,) = chart.flat
    places = np.arange(1, rows.height + 1)
    panel.hlines(places, reals(rows, "low"), reals(rows, "high"), color=COLOURS[0], alpha=0.5, linewidth=1.4)
    panel.scatter(reals(rows, "reliability"), places, s=30, color=COLOURS[0], zorder=3)
    panel.set_yticks(places, names)
    panel.set(ylim=(rows.height + 0.6, 0.4), xlabel="Reliability")
    caption = (
        "1: another sample of points would order and space the classes alike; 0: it would tell nothing of them. Bars "
        "are 95% intervals."
    )
    return Drawing("Split-half reliability", caption, chart)


def _column(rows: pl.DataFrame, name: str) -> Reals:
    return reals(rows, name) if name in rows.columns else np.full(rows.height, np.nan)


def _real(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _room_below(named: int) -> float:
    """Inches below an axis, for its label and the names of so many lines."""
    return 0.5 + 0.17 * math.ceil(named / 2)


def _legend_below(panel: Axes) -> None:
    """Name the lines below the axis, where none is covered."""
    panel.legend(fontsize=7.5, ncols=2, loc="upper left", bbox_to_anchor=(-0.2, -0.19), borderaxespad=0)


def _name_across(chart: Chart, panel: Axes, text: str) -> None:
    """Label the x axis; a label that is wider than its axis goes on to the left, where there is room."""
    wide = 0.075 * len(text) > chart.panel_size[0]
    panel.set_xlabel(text, loc="right" if wide else "center")


def _percent(share: float) -> str:
    """A share without an exponent, as 0.00001%."""
    return f"{share * 100:.8f}".rstrip("0").rstrip(".") + "%"


def _short(label: str) -> str:
    """The name of a measure without its parameters, which the title has."""
    return label.partition(" (")[0]


def _clause(note: str) -> str:
    return note.rstrip(". ")
