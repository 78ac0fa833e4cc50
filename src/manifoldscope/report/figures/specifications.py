"""Specification curves: the coefficient under every choice of the analysis, sorted, above the choices themselves."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from manifoldscope.evidence.specification import CHOICES, Cell, Curve, specification_curves
from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, GRID, INK, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_MODELS, heading, in_order, leave_empty, look_of
from manifoldscope.report.findings.association import GATES
from manifoldscope.report.rows import Reals

SECTION = Section(
    "specifications",
    "Does the answer depend on the choices of the analysis?",
    place=15,
    terms={
        "Specification": "One choice of measure, layer, attack and strength, iterate and outcome, which gives one "
        "coefficient."
    },
)

MOST_SINGLE = 150
"""Of more specifications neighbours are pooled into this many groups."""

MOST_COARSE = 60
"""Groups of the raster below them."""

MOST_VALUES = 10
"""Values of one choice that have a row each; of more, the last row holds the others."""

_CURVE, _GAP, _ROW = 1.9, 0.12, 0.15  # inches: the height of a curve, the gap below it, a row of choices
_GIVEN = {"": "nothing held fixed", "margin": "given the margin", "clean_accuracy": "given clean accuracy"}
_BRIEF = {
    "few_classes": "few classes",
    "few_images": "few images",
    "unreliable_control": "unreliable control",
    "weak_instrument": "weak instrument",
    "same_images": "shared images",
}
_OUTCOMES = {
    "robust_accuracy": "outcome robust accuracy",
    "log_odds": "outcome log-odds",
    "minimal_epsilon": "outcome minimal ε",
}
_OTHERS = "others"

Values = Mapping[str, Sequence[Hashable]]


@FIGURES.register(
    "specifications",
    section=SECTION,
    missing="no network above chance level has a median over four associations or more that was tested",
)
def specifications(contents: Contents) -> Iterator[Figure]:
    """Every specification of a network with its coefficient and its choices: a figure for each of eight networks.

    It is not drawn where fewer than four specifications have a coefficient, or their median was not tested.
    """
    fact = specification_curves(contents.tables)
    if fact is None:
        return
    drawn = {model: curves for model, curves in fact.curves.items() if any(each.median for each in curves)}
    names = in_order(list(drawn), contents.models)
    left_out = f" Of {len(names)} networks the first {MOST_MODELS} are drawn." if len(names) > MOST_MODELS else ""
    if fact.at_chance:
        left_out += f" Not drawn, as their clean accuracy is at chance level: {words.listing(list(fact.at_chance))}."
    for place, model in enumerate(names[:MOST_MODELS]):
        curves = drawn[model]
        yield Figure(
            name=words.slug("specifications", model),
            title=f"Every specification of the association in {model}",
            caption=f"{_caption(model, curves)}{'' if place else _READING + left_out}",
            chart=specification_chart(curves, _values(curves, contents), look_of(model, contents.models)),
            table=cells_of(curves),
            more=place > 0,
        )


def _caption(model: str, curves: Sequence[Curve]) -> str:
    pooled = any(len(each.cells) > MOST_SINGLE for each in curves)
    text = (
        "Above: the coefficient of a measure and a robustness outcome across the classes of "
        f"{model} under every specification, in each panel sorted anew, with 95% intervals"
    )
    if pooled:
        text += (
            f"; of more than {MOST_SINGLE} specifications neighbours are pooled into {MOST_SINGLE} groups, the line is "
            "their mean and the band that of the limits"
        )
    if any(len(each.cells) <= MOST_SINGLE for each in curves):
        text += ". A point is filled where p, adjusted for all specifications of its panel, is below 0.05"
    text += (
        ". The dashed line is the median, and its p is from permutations of the classes that are joint over all "
        "specifications. Below: a tick where a specification has that choice"
    )
    if pooled:
        text += (
            f"; of more than {MOST_SINGLE}, its height is the share of each of {MOST_COARSE} groups that has it, "
            "relative to the largest of the row"
        )
    text += "."
    if alike := _alike(curves):
        text += f" The same in all: {words.listing(alike)}."
    if gates := dict.fromkeys(gate for each in curves for gate in each.gates):
        text += (
            " Grey or empty: clean difficulty cannot be held fixed with these data "
            f"({words.listing([GATES[gate] for gate in gates])}), and the panel says nothing."
        )
    return text


_READING = (
    " The p of a panel claims only what its control removes. With nothing held fixed, how hard the classes are when "
    "clean can make all of the median; given the margin, it can still hold what margins do not tell of that, and given "
    "clean accuracy what accuracies do not. How many coefficients have one sign says nothing without the median and "
    "its p: specifications share classes and images, and go up and down together. Measures that point opposite ways "
    "cancel in the median."
)


def _values(curves: Sequence[Curve], contents: Contents) -> Values:
    """What each choice can be, in the order of the study file; only of choices between which there is something."""
    order: dict[str, Sequence[Any]] = {
        "measure": contents.measures,
        "layer": contents.layers,
        "outcome": list(_OUTCOMES),
        "iterate": ["last", "any"],
    }
    attacks = list(contents.attacks)

    def place(choice: str, value: Any) -> tuple[Any, ...]:
        if choice == "attack":
            name, strength = value
            return attacks.index(name) if name in attacks else len(attacks), name, strength or 0.0
        known = list(order[choice])
        return known.index(value) if value in known else len(known), str(value)

    found: dict[str, Sequence[Hashable]] = {}
    for choice in CHOICES:
        values: set[Hashable] = set().union(*(each.values(choice) for each in curves))
        if len(values) > 1:
            found[choice] = sorted(values, key=lambda value: place(choice, value))
    return found


def _alike(curves: Sequence[Curve]) -> list[str]:
    """The choices between which there is nothing to choose."""
    values = {choice: set().union(*(each.values(choice) for each in curves)) for choice in CHOICES}
    return [_named(choice, next(iter(every))) for choice, every in values.items() if len(every) == 1]


def _named(choice: str, value: Any) -> str:
    if choice == "measure":
        return words.measure(*value)
    if choice == "attack":
        name, strength = value
        return words.attack(name) if strength is None else f"{words.attack(name)}, {words.at_strength(name, strength)}"
    if choice == "layer":
        return f"layer {value}"
    return words.iterate(value) if choice == "iterate" else _OUTCOMES.get(value, str(value))


def cells_of(curves: Sequence[Curve]) -> pl.DataFrame:
    """A row per control and specification, by rising coefficient."""
    rows = [
        {
            "model": curve.model,
            "controls": curve.control,
            "rank": rank,
            "layer": cell.specification.layer,
            "measure": cell.specification.measure[0],
            "parameters": cell.specification.measure[1],
            "attack": cell.specification.attack[0],
            "strength": cell.specification.attack[1],
            "iterate": cell.specification.iterate,
            "outcome": cell.specification.outcome,
            "coefficient": cell.r.value,
            "low": cell.r.low,
            "high": cell.r.high,
            "p_value": cell.r.p_value,
            "p_adjusted": cell.r.p_adjusted,
        }
        for curve in curves
        for rank, cell in enumerate(curve.cells, 1)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def specification_chart(curves: Sequence[Curve], values: Values, look: Mapping[str, Any]) -> Chart:
    """A column per control: the sorted coefficients with the median, and below them a raster of the choices.

    `values` has the choices in the order of their rows; `look` is that of the network.
    """
    rows = _rows(values)
    labels = [plain(label, 40) for _, _, label in rows]
    depth = _ROW * (len(rows) + 0.5 * max(0, len(values) - 1))
    height = _CURVE + (_GAP + depth if rows else 0)
    left = max(0.75, 0.2 + 0.058 * max(map(len, labels), default=0))
    chart = Chart(columns=len(curves), width=2.9, height=height, left=left, top=0.42, bottom=0.72, across=0.3)
    for place, (curve, axes) in enumerate(zip(curves, chart.panels[0], strict=True)):
        box = axes.get_position()
        unit = box.height / height
        raster = chart.add_axes((box.x0, box.y0, box.width, depth * unit)) if rows else None
        axes.set_position((box.x0, box.y1 - _CURVE * unit, box.width, _CURVE * unit))
        colour = look["color"] if curve.answers else FAINT
        heading(axes, _GIVEN[curve.control], _told(curve), size=9)
        lowest = axes if raster is None else raster
        if not curve.cells:
            leave_empty(axes, "no coefficient")
            if raster is not None:
                raster.set_axis_off()
            continue
        _curve(chart, axes, curve, colour)
        if place:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("Coefficient")
        if raster is not None:
            axes.tick_params(labelbottom=False)
            _raster(raster, curve.cells, rows, labels if place == 0 else [], colour)
        lowest.set_xlabel("Specification, by rising coefficient")
    pooled = any(len(each.cells) > MOST_SINGLE for each in curves)
    single = any(0 < len(each.cells) <= MOST_SINGLE for each in curves)
    ink = look["color"] if any(each.answers for each in curves) else FAINT
    filled: dict[str, Any] = {"color": ink, "marker": "o", "markersize": 4, "linewidth": 0}
    keys: list[Any] = [
        *([Line2D([], [], markeredgewidth=0, label="adjusted p below 0.05", **filled)] if single else []),
        *([Line2D([], [], markerfacecolor="white", label="0.05 or above", **filled)] if single else []),
        *([Patch(facecolor=ink, alpha=0.25, linewidth=0, label="95% intervals")] if pooled else []),
        Line2D([], [], color=INK, linewidth=1, linestyle=(0, (4, 2)), label="median"),
    ]
    chart.legend(handles=keys, loc="lower center", ncols=len(keys), borderaxespad=0.2, handlelength=2)
    return chart


def _told(curve: Curve) -> str:
    """The median with its p, and only beside them how many coefficients are below 0."""
    if curve.gates:
        return f"no answer: {', '.join(_BRIEF[gate] for gate in curve.gates)}"
    median = curve.median
    if median is None or median.p_value is None:
        return "the median was not tested"
    below = f"{words.number(curve.n_negative)} of {words.number(len(curve.cells))} below 0"
    return f"median {words.coefficient(median.value)}, p = {median.p_value:.2g}; {below}"


def _groups(n: int, most: int) -> list[slice]:
    """Neighbours that are drawn as one: each by itself where there are few."""
    edges = np.linspace(0, n, (most if n > MOST_SINGLE else n) + 1).round().astype(int)
    return [slice(start, end) for start, end in pairwise(edges)]


def _mean(values: Reals) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _curve(chart: Chart, axes: Axes, curve: Curve, colour: str) -> None:
    cells, n = curve.cells, len(curve.cells)
    r, low, high = (
        np.array([np.nan if (value := getattr(cell.r, name)) is None else value for cell in cells], dtype=np.float64)
        for name in ("value", "low", "high")
    )
    x = np.arange(1.0, n + 1)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    if n > MOST_SINGLE:
        x, r, low, high = (
            np.array([_mean(each[group]) for group in _groups(n, MOST_SINGLE)]) for each in (x, r, low, high)
        )
        axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(x, r, color=colour, linewidth=1.8, zorder=3)
    else:
        _upright(axes, x, low, high, color=colour, linewidth=0.7 if n > 60 else 1.1, alpha=0.45)
        points = axes.scatter(
            x,
            r,
            s=7 if n > 60 else 16,
            facecolor=[colour if cell.r.seen and curve.answers else "white" for cell in cells],
            edgecolor=colour,
            linewidth=0.8,
            zorder=4,
        )
        chart.explain(points, [_explained(cell) for cell in cells])
    if curve.median is not None:
        axes.axhline(curve.median.value, color=INK if curve.answers else FAINT, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_ylim(-1.05, 1.05)
    axes.set_xlim(*_ends(n))
    axes.grid(visible=False, axis="x")


def _ends(n: int) -> tuple[float, float]:
    room = max(0.6, 0.02 * n)
    return 1 - room, n + room


def _explained(cell: Cell) -> str:
    chosen = ((choice, getattr(cell.specification, choice)) for choice in CHOICES)
    named = ", ".join(_named(choice, value) for choice, value in chosen if value is not None)
    limits = f" ({words.coefficient(cell.r.low)} to {words.coefficient(cell.r.high)})" if cell.r.low is not None else ""
    return f"{named}: {words.coefficient(cell.r.value)}{limits}"


def _rows(values: Values) -> list[tuple[str, frozenset[Hashable], str]]:
    """The rows of the raster: which choice, which of its values, and how they are called."""
    rows: list[tuple[str, frozenset[Hashable], str]] = []
    for choice, every in values.items():
        shown = every if len(every) <= MOST_VALUES else every[: MOST_VALUES - 1]
        rows += [(choice, frozenset([value]), _named(choice, value)) for value in shown]
        if rest := every[len(shown) :]:
            rows.append((choice, frozenset(rest), f"{len(rest)} {_OTHERS}"))
    return rows


def _raster(
    axes: Axes,
    cells: Sequence[Cell],
    rows: Sequence[tuple[str, frozenset[Hashable], str]],
    labels: Sequence[str],
    colour: str,
) -> None:
    n, groups = len(cells), _groups(len(cells), MOST_COARSE)
    heights, place, before = [], 0.0, rows[0][0]
    for choice, _, _ in rows:
        place += 0.5 if choice != before else 0.0
        heights.append(place)
        place, before = place + 1, choice
    middle = np.array([(group.start + group.stop + 1) / 2 for group in groups])
    for height, (choice, those, _) in zip(heights, rows, strict=True):
        has = np.array([getattr(cell.specification, choice) in those for cell in cells], dtype=np.float64)
        share = np.array([_mean(has[group]) for group in groups])
        share /= share.max() or 1.0
        there = share > 0
        foot = np.full(int(there.sum()), height + 0.4)
        _upright(axes, middle[there], foot, foot - 0.8 * share[there], color=colour, linewidth=_tick(n))
    axes.set_ylim(heights[-1] + 0.6, -0.6)
    axes.set_xlim(*_ends(n))
    axes.set_yticks(heights, labels or [""] * len(heights), fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.hlines(np.array(heights) + 0.4, *_ends(n), color=GRID, linewidth=0.5, zorder=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _tick(n: int) -> float:
    """The width of a tick in points: of many, they fill the panel."""
    return min(2.2, 0.75 * 2.9 * 72 / (n if n <= MOST_SINGLE else MOST_COARSE))


def _upright(axes: Axes, x: Reals, low: Reals, high: Reals, **look: Any) -> None:
    """Upright lines as one path, which takes a tenth of what as many of their own take in an SVG."""
    nothing = np.full(len(x), np.nan)
    across, up = np.column_stack([x, x, nothing]).ravel(), np.column_stack([low, high, nothing]).ravel()
    axes.plot(across, up, solid_capstyle="butt", **look)
