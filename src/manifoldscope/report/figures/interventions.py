"""Accuracy against the number of directions of a layer that are projected out or kept alone, leading beside random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, INK, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_MODELS,
    evenly,
    heading,
    in_order,
    leave_empty,
    look_of,
    percent_axis,
)
from manifoldscope.report.rows import number_range, reals, with_interval

SECTION = Section(
    "interventions",
    "Does robustness follow the directions of a layer when they are changed?",
    place=85,
    terms={"Leading directions": "Those along which the activations vary most: the first principal axes."},
)

_NAMES = {"leading": "leading", "random": "random", "random_rescaled": "random, equal change"}
_DASHES: dict[str, Any] = {"leading": "-", "random": (0, (4, 2)), "random_rescaled": (0, (1, 1.4))}
_MARKS = {"leading": "o", "random": "s", "random_rescaled": "^"}
_KEPT = {"without": "projected out", "only": "kept alone"}
_WHOSE = {"class": "each class", "all": "all classes"}
_KEYS = ("model", "keep", "n_directions", "directions")


@FIGURES.register(
    "interventions",
    section=SECTION,
    optional=True,
    missing="no directions of a layer were changed ([[interventions]]), or no layer spans so many",
)
def interventions(contents: Contents) -> Iterator[Figure]:
    """Robust and clean accuracy against the number of directions: a figure per layer and whose directions they are.

    It is not drawn where a study has no `[[interventions]]`, or none of the layers spans so many directions.
    """
    every, robustness = contents.tables["interventions"], contents.tables["robustness"]
    asked = every.select("intervention", "layer", "of", "attack", "strength").unique(maintain_order=True)
    for place, (name, layer, of, attack, strength) in enumerate(asked.rows()):
        rows = every.filter(intervention=name, layer=layer, of=of, attack=attack, strength=strength)
        table = accuracy_by_directions(rows)
        if table.is_empty():
            continue
        under = f"{words.attack(attack)} at {words.at_strength(attack, strength)}"
        n_draws = rows.filter(pl.col("directions") != "leading")["draw"].n_unique()
        yield Figure(
            name=words.slug("interventions", *dict.fromkeys((name, layer)), of),
            title=f"Accuracy with directions of {_WHOSE[of]} projected out or kept alone, layer {layer}",
            caption=(
                f"The share of all {number_range(table['n_images'])} images that are classified correctly, under "
                f"{under} and clean, where directions of the activations in layer {layer} are projected out, or only "
                f"these are kept, at every step of the attack too. {_MEANT[of]} Solid: the directions of the largest "
                "variance. Dashed: as many random ones within the span of the same points"
                f"{f', a mean over {n_draws} draws (small dots)' if n_draws > 1 else ''}. Dotted: these, with their "
                "change of the activations multiplied such that its mean square is that of the leading ones. Bars are "
                "95% Wilson intervals for that many images. The grey line is the network without intervention."
                f"{_TOLD if of == 'class' else ''}{'' if place else _READING}"
            ),
            chart=accuracy_chart(table, untouched(robustness, rows), rows, models=contents.models),
            table=table,
            more=place > 1,
        )


_MEANT = {
    "class": "They are principal axes of the clean activations of one class around their mean, other images than those "
    "attacked, and are applied to the images of that class.",
    "all": "They are principal axes of the clean activations of all classes around their mean, of other images than "
    "those attacked.",
}
_TOLD = (
    " The projection depends on the true class of the image, which no classifier knows: compare the lines with each "
    "other, and not with the grey one."
)
_READING = (
    " Where solid and dotted lines differ, it matters which directions are changed, and not only by how much. Robust "
    "accuracy is at most clean accuracy: where both fall together, it says nothing of its own. Not shown: single "
    "classes, which are in the table `interventions` with their PCA dimension after the projection."
)


def accuracy_by_directions(rows: pl.DataFrame) -> pl.DataFrame:
    """A row per model, projection, number and choice of directions: accuracies over all classes, draws averaged.

    Columns `robust_accuracy` and `clean_accuracy` with their 95% Wilson intervals (`_low`, `_high`) for `n_images`
    images, and `dimension`, the mean PCA dimension of a class afterwards. Of two iterates the last one is taken.

    Args:
        rows: those of the table `interventions` of one intervention, and one of "class" or "all".
    """
    pooled = (
        _of_one_iterate(rows)
        .group_by(*_KEYS, "class_index")
        .agg(pl.col("n_images").first(), pl.col("n_clean_correct", "n_robust", "dimension").mean())
        .group_by(_KEYS)
        .agg(pl.col("n_images", "n_clean_correct", "n_robust").sum(), pl.col("dimension").mean())
        .with_columns(
            robust_accuracy=pl.col("n_robust") / pl.col("n_images"),
            clean_accuracy=pl.col("n_clean_correct") / pl.col("n_images"),
        )
    )
    clean = with_interval(pooled, successes="n_clean_correct", name="clean_accuracy")
    return (
        with_interval(clean)
        .sort(*_KEYS)
        .select(
            *_KEYS,
            "n_images",
            *("robust_accuracy", "robust_accuracy_low", "robust_accuracy_high"),
            *("clean_accuracy", "clean_accuracy_low", "clean_accuracy_high"),
            "dimension",
        )
    )


def untouched(robustness: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Columns model, robust_accuracy and clean_accuracy: the networks under the attack of `rows`, over all classes."""
    wanted = _of_one_iterate(rows).select("model", "attack", "parameters", "strength", "iterate").unique()
    counted = robustness.join(wanted, on=wanted.columns, nulls_equal=True).group_by("model")
    return counted.agg(pl.col("n_images", "n_robust", "n_clean_correct").sum()).select(
        "model",
        robust_accuracy=pl.col("n_robust") / pl.col("n_images"),
        clean_accuracy=pl.col("n_clean_correct") / pl.col("n_images"),
    )


def _of_one_iterate(rows: pl.DataFrame) -> pl.DataFrame:
    known = rows.filter(pl.col("n_images") > 0)
    iterate = "last" if "last" in known["iterate"].to_list() else "any"
    return known.filter(iterate=iterate)


def accuracy_chart(
    table: pl.DataFrame, untouched: pl.DataFrame, rows: pl.DataFrame, *, models: Sequence[str] = ()
) -> Chart:
    """Accuracy against the number of directions: a row per network; robust and clean, projected out and kept alone.

    `table` is `accuracy_by_directions(rows)`; `untouched` says what the networks do without intervention.
    """
    names = in_order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    keeps = [keep for keep in _KEPT if keep in set(table["keep"])]
    chart = Chart(
        rows=len(names),
        columns=2 * len(keeps),
        width=2.4 if len(keeps) > 1 else 3.2,
        height=2.1,
        left=0.8,
        top=0.55,
        bottom=0.95,
        across=0.25,
        down=0.85,
    )
    numbers = sorted(table["n_directions"].unique().to_list())
    for row, name in zip(chart.panels, names, strict=True):
        for place, (keep, what) in enumerate((keep, what) for keep in keeps for what in ("robust", "clean")):
            axes = row[place]
            mine = table.filter(model=name, keep=keep)
            if mine.is_empty():
                leave_empty(axes, "no such directions")
                continue
            before = untouched.filter(model=name)[f"{what}_accuracy"].to_list()
            draws = _of_one_iterate(rows.filter(model=name, keep=keep))
            _panel(chart, axes, mine, draws, what, look_of(name, models or names))
            for value in before:
                axes.axhline(value, color=FAINT, linewidth=1.2, alpha=0.6, zorder=1)
            percent_axis(axes)
            _number_ticks(axes, numbers)
            heading(axes, name if place == 0 else "", f"{what}, {_KEPT[keep]}")
            if place == 0:
                axes.set_ylabel("Accuracy (%)")
            else:
                axes.tick_params(labelleft=False)
            if row is chart.panels[-1]:
                axes.set_xlabel("Directions")
    keys = []
    for key, label in _NAMES.items():
        if key in set(table["directions"]):
            filled = INK if key == "leading" else "white"
            look = {"marker": _MARKS[key], "markersize": 5, "markerfacecolor": filled, "linestyle": _DASHES[key]}
            keys.append(Line2D([], [], color=INK, label=label, **look))
    keys.append(Line2D([], [], color=FAINT, alpha=0.6, linewidth=1.2, label="without intervention"))
    chart.legend(handles=keys, loc="lower center", ncols=len(keys), handlelength=2.6, borderaxespad=0.3)
    return chart


def _panel(chart: Chart, axes: Axes, table: pl.DataFrame, draws: pl.DataFrame, what: str, look: dict[str, Any]) -> None:
    colour, y = look["color"], f"{what}_accuracy"
    counted = "n_robust" if what == "robust" else "n_clean_correct"
    grouped = draws.group_by("directions", "n_directions", "draw", maintain_order=True)
    each = grouped.agg(pl.col("n_images", counted).sum())
    for place, directions in enumerate(_NAMES):
        line = table.filter(directions=directions)
        if line.is_empty():
            continue
        aside = 1 + 0.05 * (place - 1)  # bars of equal numbers stand beside each other; the axis is logarithmic
        x = reals(line, "n_directions") * aside
        if directions != "leading":
            single = each.filter(directions=directions)
            axes.scatter(
                reals(single, "n_directions") * aside,
                reals(single, counted) / reals(single, "n_images"),
                s=4,
                color=colour,
                alpha=0.35,
                linewidth=0,
            )
        axes.vlines(x, reals(line, f"{y}_low"), reals(line, f"{y}_high"), color=colour, linewidth=0.9, alpha=0.6)
        axes.plot(x, reals(line, y), color=colour, linestyle=_DASHES[directions], linewidth=1.5, zorder=3)
        points = axes.scatter(
            x,
            reals(line, y),
            s=26,
            marker=_MARKS[directions],
            facecolor=colour if directions == "leading" else "white",
            edgecolor=colour,
            linewidth=0.9,
            zorder=4,
        )
        chart.explain(
            points,
            [
                f"{plain(row['model'], 24)}, {_KEPT[row['keep']]}: {row['n_directions']} {_NAMES[directions]}, "
                f"{100 * (row[y] or 0):.1f}% {what}, PCA dimension {words.number(row['dimension'])}"
                for row in line.iter_rows(named=True)
            ],
        )


def _number_ticks(axes: Axes, numbers: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(numbers[0] / 1.25, numbers[-1] * 1.25)
    ticks = evenly(numbers, 6)
    axes.set_xticks(ticks, [words.number(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
