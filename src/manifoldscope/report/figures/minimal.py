"""Robust accuracy against epsilon from the minimal perturbations that a search found, per class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, Chart
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_MODELS,
    MOST_TOOLTIPS,
    heading,
    in_order,
    look_of,
    percent_axis,
)
from manifoldscope.report.rows import number_range, reals

SECTION = Section("minimal", "How small a perturbation misclassifies the images of a class?", place=30)


@FIGURES.register(
    "minimal",
    section=SECTION,
    optional=True,
    missing="no minimal perturbations were searched for ([[minimal]])",
)
def minimal(contents: Contents) -> Iterator[Figure]:
    """Robust accuracy against epsilon, per class, from searches for the minimal perturbation: a figure per search."""
    found, outcomes = contents.tables["minimal"], contents.tables["outcomes"]
    for place, attack in enumerate(sorted(found["attack"].unique())):
        table = not_found(found, attack=attack)
        norm = table["norm"][0].replace("linf", "L∞").replace("l2", "L2")
        yield Figure(
            name=words.slug("minimal", attack),
            title=f"Robust accuracy against ε by the search {words.attack(attack)}",
            caption=(
                f"Each line is a class: the share of its {number_range(table['n_images'])} images that are "
                f"classified correctly and for which no adversarial perturbation of at most ε ({norm}) was found; it "
                "starts at the clean accuracy. The mark is the median minimal ε, where half of the class is "
                "misclassified. All are upper bounds: a search finds a perturbation or does not; it does not certify "
                "that there is no smaller one. The share not found up to the largest ε searched is given above each "
                "panel, and per class in the table, where a median or quartile that was not reached is a dash."
            ),
            chart=accuracy_by_minimal_epsilon(
                table, robust_accuracy_steps(outcomes, attack=attack), models=contents.models
            ),
            table=table,
            more=place > 0,
        )


def not_found(smallest: pl.DataFrame, *, attack: str) -> pl.DataFrame:
    """The rows of `minimal` of one search, with the share of each class that is robust up to the largest epsilon."""
    robust = (pl.col("n_clean_correct") - pl.col("n_found")) / pl.col("n_images")
    rows = smallest.filter(pl.col("attack") == attack).with_columns(robust.alias("share_not_found"))
    return rows.drop("attack").sort("model", "class_index")


def robust_accuracy_steps(outcomes: pl.DataFrame, *, attack: str) -> pl.DataFrame:
    """The share of each class that is robust beyond each epsilon of one search: corners of a decreasing step curve.

    A row per model, class and corner: model, class_index, epsilon, accuracy; from epsilon 0 to the largest searched.
    """
    rows = []
    found = outcomes.filter((pl.col("attack") == attack) & pl.col("minimal_epsilon").is_not_null())
    for (model, label), group in found.group_by("model", "label", maintain_order=True):
        epsilons = np.sort(reals(group, "minimal_epsilon"))
        standing = 1 - np.arange(len(epsilons) + 1) / len(epsilons)
        misclassified = int(np.isfinite(epsilons).sum())
        across = [0.0, *np.repeat(epsilons[:misclassified], 2), float(reals(group, "strength").max())]
        up = np.repeat(standing[: misclassified + 1], 2)
        rows.append(
            pl.DataFrame({"epsilon": across, "robust_accuracy": up}).with_columns(
                model=pl.lit(model), class_index=label
            )
        )
    empty = {"model": pl.String, "class_index": pl.Int64, "epsilon": pl.Float64, "robust_accuracy": pl.Float64}
    return pl.concat(rows).select(*empty) if rows else pl.DataFrame(schema=empty)


def accuracy_by_minimal_epsilon(classes: pl.DataFrame, steps: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """Robust accuracy against epsilon: a panel per network, a line per class, a mark at its median minimal epsilon.

    `classes` is that of `not_found`, `steps` of `robust_accuracy_steps`.
    """
    names = in_order(classes["model"].unique().to_list(), models)[:MOST_MODELS]
    columns = min(4, len(names))
    chart = Chart(
        rows=math.ceil(len(names) / columns),
        columns=columns,
        width=(5.6, 4.4, 3.1, 2.35)[columns - 1],
        height=2.5,
        top=0.5,
        bottom=0.95,
        across=0.28,
        down=1.0,
    )
    farthest = classes.filter(pl.col("upper_quartile").is_finite())["upper_quartile"].max()
    largest = float(reals(classes, "largest").max())
    right = min(largest, 1.6 * float(farthest)) if isinstance(farthest, float) and farthest > 0 else largest
    for place, axes in enumerate(chart.flat):
        if place >= len(names):
            axes.set_axis_off()
            continue
        name = names[place]
        look = look_of(name, models or names)
        mine = classes.filter(pl.col("model") == name)
        lines = [
            np.column_stack([reals(part, "epsilon"), reals(part, "robust_accuracy")])
            for part in steps.filter(pl.col("model") == name).partition_by("class_index", maintain_order=True)
        ]
        alpha = 0.5 if len(lines) <= 20 else max(0.06, 9 / len(lines))
        axes.add_collection(
            LineCollection(lines, colors=look["color"], alpha=alpha, linewidths=0.9, rasterized=len(lines) > 100)
        )
        known = mine.filter(pl.col("median").is_finite())
        marks = axes.scatter(
            reals(known, "median"), np.full(known.height, 0.5), s=24, linewidth=0, alpha=0.8, zorder=4, **look
        )
        if 0 < classes.height <= MOST_TOOLTIPS and known.height:
            chart.explain(
                marks,
                [
                    f"{row['class_name']}: median {words.number(row['median'])}, quartiles "
                    f"{words.number(row['lower_quartile'])} and {words.number(row['upper_quartile'])}; "
                    f"{row['share_not_found']:.0%} not found up to {words.number(row['largest'])}"
                    for row in known.iter_rows(named=True)
                ],
            )
        n_images = int(mine["n_images"].sum())
        share = int((mine["n_clean_correct"] - mine["n_found"]).sum()) / n_images
        heading(axes, name, f"{share:.0%} not found up to {words.number(largest)}")
        percent_axis(axes)
        axes.set_xlim(-0.02 * right, right)
        axes.set_xlabel("Minimal ε found\n(pixels run from 0 to 1)")
        if place % columns == 0:
            axes.set_ylabel("Robust accuracy (%)")
        else:
            axes.tick_params(labelleft=False)
    keys = [
        Line2D([], [], color=FAINT, linewidth=0.9, label="a class"),
        Line2D([], [], color=FAINT, linestyle="none", marker="o", markersize=4.5, label="its median minimal ε"),
    ]
    chart.legend(handles=keys, loc="lower center", ncols=2, borderaxespad=0.3)
    return chart
