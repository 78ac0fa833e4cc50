"""Accuracy against epsilon from the smallest perturbations that a search found, class by class."""

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

SECTION = Section("smallest", "How small a perturbation fells the images of a class?", place=30)


@FIGURES.register("smallest", section=SECTION)
def smallest(contents: Contents) -> Iterator[Figure]:
    """Accuracy against epsilon, class by class, from searches for the smallest perturbation: a figure a search."""
    found, verdicts = contents.tables["smallest"], contents.tables["verdicts"]
    for place, threat in enumerate(sorted(found["threat"].unique())):
        table = not_found(found, threat=threat)
        norm = table["norm"][0].replace("linf", "L∞").replace("l2", "L2")
        yield Figure(
            name=words.slug("accuracy-by-smallest", threat),
            title=f"Accuracy against ε by the search {words.threat(threat)}",
            caption=(
                f"Each line is a class: the share of its {number_range(table['n_images'])} images for which no "
                f"perturbation of at most ε ({norm}) was found that fells them; it starts at the clean accuracy. The "
                "mark is where half of the class has fallen, the median smallest ε. All are upper bounds: a search "
                "finds a perturbation or does not, it does not certify that there is no smaller one. The share not "
                "found up to the largest ε searched stands above each panel, and class by class in the table, where a "
                "median or quartile that was not reached is a dash."
            ),
            chart=accuracy_by_smallest(table, survival_steps(verdicts, threat=threat), models=contents.models),
            table=table,
            more=place > 0,
        )


def not_found(smallest: pl.DataFrame, *, threat: str) -> pl.DataFrame:
    """The rows of `smallest` of one search, with the share of each class that stood up to the largest epsilon."""
    stood = (pl.col("n_clean_correct") - pl.col("n_found")) / pl.col("n_images")
    rows = smallest.filter(pl.col("threat") == threat).with_columns(stood.alias("share_not_found"))
    return rows.drop("threat").sort("model", "class_index")


def survival_steps(verdicts: pl.DataFrame, *, threat: str) -> pl.DataFrame:
    """The share of each class that stands beyond each epsilon of one search: corners of a curve that falls in steps.

    A row a model, class and corner: model, class_index, epsilon, accuracy; from epsilon 0 to the largest searched.
    """
    rows = []
    found = verdicts.filter((pl.col("threat") == threat) & pl.col("smallest_strength").is_not_null())
    for (model, label), group in found.group_by("model", "label", maintain_order=True):
        epsilons = np.sort(reals(group, "smallest_strength"))
        standing = 1 - np.arange(len(epsilons) + 1) / len(epsilons)
        fell = int(np.isfinite(epsilons).sum())
        across = [0.0, *np.repeat(epsilons[:fell], 2), float(reals(group, "strength").max())]
        up = np.repeat(standing[: fell + 1], 2)
        rows.append(
            pl.DataFrame({"epsilon": across, "accuracy": up}).with_columns(model=pl.lit(model), class_index=label)
        )
    empty = {"model": pl.String, "class_index": pl.Int64, "epsilon": pl.Float64, "accuracy": pl.Float64}
    return pl.concat(rows).select(*empty) if rows else pl.DataFrame(schema=empty)


def accuracy_by_smallest(classes: pl.DataFrame, steps: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """Accuracy against epsilon: a panel a network, a falling line a class, a mark at its median smallest epsilon.

    `classes` is that of `not_found`, `steps` of `survival_steps`.
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
            np.column_stack([reals(part, "epsilon"), reals(part, "accuracy")])
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
        axes.set_xlabel("Smallest ε found\n(pixels run from 0 to 1)")
        if place % columns == 0:
            axes.set_ylabel("Images that still stand (%)")
        else:
            axes.tick_params(labelleft=False)
    keys = [
        Line2D([], [], color=FAINT, linewidth=0.9, label="a class"),
        Line2D([], [], color=FAINT, linestyle="none", marker="o", markersize=4.5, label="its median smallest ε"),
    ]
    chart.legend(handles=keys, loc="lower center", ncols=2, borderaxespad=0.3)
    return chart
