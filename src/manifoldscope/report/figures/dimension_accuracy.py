"""A measure of the classes beside their robust accuracy, at one strength and at each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from manifoldscope.evidence import at_chance, nearly_constant
from manifoldscope.report import words
from manifoldscope.report.chart import Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_ATTACKS,
    MOST_LAYERS,
    MOST_MEASURES,
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
    value_axis,
)
from manifoldscope.report.regression import regression
from manifoldscope.report.rows import (
    class_accuracy,
    clean_geometry,
    number_range,
    of_measure,
    reals,
    strengths_of_classes,
)

SECTION = Section("dimension-against-accuracy", "Are the robust classes the ones with fewer dimensions?", place=10)


@FIGURES.register(
    "dimension_against_accuracy",
    section=SECTION,
    missing="no class has both a value in the table geometry and an accuracy in the table robustness",
)
def dimension_against_accuracy(contents: Contents) -> Iterator[Figure]:
    """A point per class, its measure against its robust accuracy; of the first measure and attack at every strength."""
    robustness = contents.tables["robustness"]
    associations = contents.tables["associations"].filter(
        ~pl.col("model").is_in(list(at_chance(contents.tables["models"])))
    )
    captioned = False
    for measure, parameters, layer, attack, first in _combinations(contents):
        iterate = contents.iterate(attack)
        table = beside_accuracy(
            contents.tables["geometry"],
            robustness,
            layer=layer,
            measure=measure,
            parameters=parameters,
            attack=attack,
            iterate=iterate,
        )
        label, under = words.measure(measure, parameters), words.attack(attack)
        axes_meant = (
            f"across, the {words.noun(label)} of its activations in layer {layer}; upwards, the share of its "
            f"{number_range(table['n_images'])} images that are still classified correctly under {under} "
            f"({words.iterate(iterate)}), with its 95% Wilson interval"
        )
        strengths = strengths_of_classes(robustness, attack=attack, iterate=iterate)
        telling = table.join(strengths, on=("model", "strength"), how="semi")
        if telling.is_empty():
            continue
        at_each = first and table["strength"].n_unique() > 1
        told = _CAPTION.format(_OTHERS if at_each else "")
        yield Figure(
            name=words.slug("dimension_against_accuracy", measure, parameters, layer, attack),
            title=f"{label} against robust accuracy under {under}, layer {layer}",
            caption=f"Each point is a class: {axes_meant}. {_SHORT if captioned else told}",
            chart=at_one_strength(telling, associations, models=contents.models),
            table=telling,
            more=not first,
        )
        if at_each:
            yield Figure(
                name=words.slug("dimension_against_accuracy", "every-strength", measure, parameters, layer, attack),
                title=f"{label} against robust accuracy under {under} at every strength, layer {layer}",
                caption=(
                    f"A row is a network, a column per strength, a point per class: {axes_meant}."
                    f"{'' if captioned else _CAPTION_BY_STRENGTH}"
                ),
                chart=at_every_strength(table, associations, models=contents.models),
                table=table,
                more=True,
            )
        captioned = True


_CAPTION = (
    "The dimension has an error of its own that is not drawn. Where classes with more dimensions are more fragile, the "
    "cloud slopes down to the right and r is negative; an interval of r that holds 0 means that these classes cannot "
    "tell. A dashed line is the ceiling: the largest value that so many points and features can give. Each network "
    "is shown at the strength where the accuracies of its classes differ most; that choice does not look at "
    "dimensions{}. A network at chance level when clean has no r: its robust accuracies are not informative. Nor is "
    "there one where all classes but one or two share one value: it would rest on these alone. Point at a class for "
    "its name and numbers."
)
_OTHERS = ", and every strength is in a figure of its own"
_SHORT = "Each network is shown at the strength where the accuracies of its classes differ most."
_CAPTION_BY_STRENGTH = (
    " At strength 0 the height is the accuracy on clean images: a class that is hard without any attack is hard under "
    "one, so an r that is already there at 0 is not about robustness. Where all classes are at 0% or 100% there is "
    "nothing left to explain, and r says little."
)


def _combinations(contents: Contents) -> Iterator[tuple[str, str, str, str, bool]]:
    """(measure, parameters, layer, attack, shown at once): the first measure under the first attack is not folded."""
    ways = itertools.product(enumerate(contents.measures[:MOST_MEASURES]), enumerate(contents.attacks[:MOST_ATTACKS]))
    for (rank, (measure, parameters)), (place, attack) in ways:
        if rank and place:
            continue
        for layer in contents.layers[:MOST_LAYERS]:
            yield measure, parameters, layer, attack, rank == place == 0


def beside_accuracy(
    geometry: pl.DataFrame,
    robustness: pl.DataFrame,
    *,
    layer: str,
    measure: str,
    parameters: str,
    attack: str,
    iterate: str,
) -> pl.DataFrame:
    """A row per model, strength and class: the value of the measure, and the robust accuracy with its 95% interval."""
    values = of_measure(clean_geometry(geometry), measure, parameters).filter(pl.col("layer") == layer)
    kept = ("measure", "parameters", "value", "ceiling", "n_points")
    return (
        values.select("model", "layer", "class_index", "class_name", *kept)
        .join(
            class_accuracy(robustness, attack=attack, iterate=iterate).drop("class_name"), on=("model", "class_index")
        )
        .sort("model", "strength", "class_index")
    )


def at_one_strength(table: pl.DataFrame, associations: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """A panel per network, each at one strength; `table` holds the rows of `beside_accuracy` at these."""
    names = in_order(table["model"].unique().to_list(), models)
    columns = min(3, len(names))
    width = (3.15, 3.9, 5.2)[3 - columns]
    chart = Chart(
        rows=math.ceil(len(names) / columns),
        columns=columns,
        width=width,
        height=2.85,
        top=0.42,
        bottom=0.46,
        across=0.32,
        down=1.0,
    )
    for place, axes in enumerate(chart.flat):
        if place >= len(names):
            axes.set_axis_off()
            continue
        panel = table.filter(pl.col("model") == names[place])
        first = panel.row(0, named=True)
        label = words.measure(first["measure"], first["parameters"])
        _cloud(
            chart,
            axes,
            panel,
            look_of(names[place], models or names),
            label=label,
            size=36 if panel.height <= 30 else 18 if panel.height <= 150 else 12,
            budget=MOST_TOOLTIPS // len(names),
        )
        heading(
            axes,
            names[place],
            _association_text(association(associations, first), panel),
            after=f" · {words.at_strength(first['attack_name'], first['strength'])}",
        )
        axes.set_xlabel(label)
        if place % columns == 0:
            axes.set_ylabel(f"Robust accuracy, {words.attack(first['attack_name'])} (%)")
        else:
            axes.tick_params(labelleft=False)
        if panel.height <= NAMED_CLASSES:
            name_points(
                chart, axes, reals(panel, "value"), reals(panel, "robust_accuracy"), panel["class_name"].to_list()
            )
    return chart


def central_cloud(table: pl.DataFrame, associations: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """One network at one strength with its regression; `table` holds these rows of `beside_accuracy`."""
    first = table.row(0, named=True)
    label, look = words.measure(first["measure"], first["parameters"]), look_of(first["model"], models)
    chart = Chart(width=4.6, height=3.1, top=0.42, bottom=0.46)
    axes = chart.flat[0]
    line = regression(reals(table, "value"), reals(table, "robust_accuracy"))
    if line is not None:
        at = np.linspace(reals(table, "value").min(), reals(table, "value").max(), 60)
        axes.fill_between(
            at, line.at(at) - line.band(at), line.at(at) + line.band(at), color=look["color"], alpha=0.12, linewidth=0
        )
        axes.plot(at, line.at(at), color=look["color"], linewidth=1.2)
    size = 36 if table.height <= 30 else 18 if table.height <= 150 else 12
    _cloud(chart, axes, table, look, label=label, size=size, budget=MOST_TOOLTIPS)
    heading(
        axes,
        first["model"],
        _association_text(association(associations, first), table),
        after=f" · {words.at_strength(first['attack_name'], first['strength'])}",
    )
    axes.set_xlabel(label)
    axes.set_ylabel(f"Robust accuracy, {words.attack(first['attack_name'])} (%)")
    if table.height <= NAMED_CLASSES:
        name_points(chart, axes, reals(table, "value"), reals(table, "robust_accuracy"), table["class_name"].to_list())
    return chart


def at_every_strength(table: pl.DataFrame, associations: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """A row per network, a column per strength (at most five); `table` is that of `beside_accuracy`."""
    names = in_order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    strengths = evenly(table["strength"].unique().to_list(), MOST_STRENGTHS)
    label = words.measure(table["measure"][0], table["parameters"][0])
    chart = Chart(
        rows=len(names),
        columns=len(strengths),
        width=1.85 if len(strengths) > 3 else 2.6,
        height=1.55,
        left=0.85,
        top=0.4,
        bottom=0.62,
        across=0.25,
        down=0.72,
    )
    for (row, name), (column, value) in itertools.product(enumerate(names), enumerate(strengths)):
        axes = chart.panels[row][column]
        panel = table.filter((pl.col("model") == name) & (pl.col("strength") == value))
        if panel.is_empty():
            leave_empty(axes, f"not run at {words.strength(value)}")
            continue
        first = panel.row(0, named=True)
        _cloud(
            chart,
            axes,
            panel,
            look_of(name, models or names),
            label=label,
            size=19 if panel.height <= 30 else 11 if panel.height <= 150 else 7,
            budget=MOST_TOOLTIPS // (len(names) * len(strengths)),
            far_note=column == len(strengths) - 1,
        )
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=bool(np.all(reals(panel, "value") % 1 == 0))))
        found = _association_text(association(associations, first), panel, short=True)
        heading(axes, "", found, after=words.at_strength(first["attack_name"], value), size=8.5)
        if column == 0:
            axes.set_ylabel(f"{plain(name, 22)}\nrobust accuracy (%)")
        else:
            axes.tick_params(labelleft=False)
        if row == len(names) - 1 or chart.apart:
            axes.set_xlabel(label if len(label) < 24 else label.replace(" (", "\n("))
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
    """One point per class: the value against the robust accuracy, with the interval of the latter and the ceiling."""
    x, y, low, high = (
        reals(rows, column) for column in ("value", "robust_accuracy", "robust_accuracy_low", "robust_accuracy_high")
    )
    percent_axis(axes)
    value_axis(axes, x, reals(rows, "ceiling"), corner=(x, y), far_note=far_note)
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
            f"{row['class_name']}: {label} {words.number(row['value'])}, robust accuracy {row['robust_accuracy']:.1%} "
            f"({row['robust_accuracy_low']:.1%} to {row['robust_accuracy_high']:.1%}; {row['n_robust']} of "
            f"{row['n_images']})"
            for row in rows.iter_rows(named=True)
        ]
        chart.explain(points, texts)


def association(associations: pl.DataFrame, point: dict[str, Any]) -> dict[str, Any] | None:
    """The row of `associations` that goes with a row of `beside_accuracy`, without controls; Pearson comes first."""
    same = ("model", "layer", "measure", "iterate")
    rows = associations.filter(
        *(pl.col(name) == point[name] for name in same),
        pl.col("parameters").fill_null("") == (point["parameters"] or ""),
        pl.col("attack") == point["attack_name"],
        (pl.col("strength") - point["strength"]).abs() < 1e-9,
        pl.col("controls").fill_null("") == "",
        pl.col("outcome") == "robust_accuracy",
    ).to_dicts()
    preference = ("pearson", "spearman")
    rows.sort(key=lambda row: (preference.index(row["method"]) if row["method"] in preference else 9, row["method"]))
    return rows[0] if rows else None


def _association_text(row: dict[str, Any] | None, panel: pl.DataFrame, *, short: bool = False) -> str:
    if row is None:
        return "" if short else "no association given"
    symbol = {"pearson": "r", "spearman": "ρ"}.get(row["method"], row["method"])
    if row["coefficient"] is None or not math.isfinite(row["coefficient"]):
        return f"{symbol} undefined"
    if few := nearly_constant(reals(panel, "value")):
        return f"{symbol} not given" if short else f"{symbol} not given: one value in all but {few} of the classes"
    value, low, high = (words.coefficient(row[key]) for key in ("coefficient", "low", "high"))
    if short:
        return f"{symbol} {value}" + (f" ({low} to {high})" if low != "–" else "")
    name = {"r": "Pearson r", "ρ": "Spearman ρ"}.get(symbol, symbol)
    return f"{name} = {value}" + (f" (95% {low} to {high})" if low != "–" else "") + f", {row['n']} classes"
