"""Robust accuracy class by class, sorted, beside clean accuracy and what binomial noise alone would spread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from manifoldscope.evidence import at_chance, spread, telling_classes
from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, INK, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_MODELS, heading, in_order, look_of, percent_axis
from manifoldscope.report.lettering import wide
from manifoldscope.report.rows import number_range, reals, with_interval

SECTION = Section(
    "classes",
    "Which classes are fragile, and by more than noise?",
    place=25,
    terms={
        "Gini coefficient": "How unequal the accuracies of the classes are: 0 where all are alike, and nearly 1 where "
        "a single class has all of it.",
        "Attack sink": "A class as which more attacked images of other classes are misclassified than if each class "
        "took an equal share.",
    },
)

MOST_EACH_END = 20
"""Of more than twice as many classes, that many of the lowest and of the highest accuracy are drawn."""

_WIDEST = 9.0  # inches of panels beside each other


@FIGURES.register("classes", section=SECTION, missing="no network above chance level was attacked")
def classes(contents: Contents) -> Iterator[Figure]:
    """The classes of each network by their robust accuracy, under the attack where they differ most."""
    left_out = at_chance(contents.tables["models"])
    table = accuracy_by_rank(contents.tables["robustness"], left_out=left_out)
    if table.is_empty():
        return
    named = [name for name in left_out if name in contents.models]
    yield Figure(
        name="classes",
        title="Robust accuracy class by class",
        caption=_caption(table, named),
        chart=sorted_classes(table, models=contents.models),
        table=table,
    )


def _caption(table: pl.DataFrame, left_out: Sequence[str]) -> str:
    text = (
        "Robust accuracy of each class with its 95% Wilson interval, the lowest first, each network under the attack "
        f"and at the strength where its classes differ most ({number_range(table['n_images'])} images per class). "
        "Hollow marks are clean accuracy on the same images. The dashed line is the accuracy over the images of all "
        "classes; the band is where 95% of the classes of that rank would lie if every class had that accuracy and "
        "binomial noise alone set them apart. Sorted accuracies rise by noise too: a slope inside the band says "
        "nothing, and outside it classes differ by more than noise would make them in 19 of 20 studies. Each interval "
        "is that of a single class, and takes no account of how many there are."
    )
    many = table.group_by("model").len()["len"].max()
    if isinstance(many, int) and many > 2 * MOST_EACH_END:
        text += (
            f" Of the classes of a network, the {MOST_EACH_END} of the lowest and the {MOST_EACH_END} of the highest "
            "accuracy are drawn; the table has all of them."
        )
    if left_out:
        text += f" Not drawn, as their clean accuracy is at chance level: {words.listing(left_out)}."
    return text


def accuracy_by_rank(robustness: pl.DataFrame, *, left_out: Mapping[str, float] | Sequence[str] = ()) -> pl.DataFrame:
    """A row per network and class: its rank by robust accuracy, and what noise alone would give at that rank.

    `rank` is 1 for the lowest accuracy. `noise_low` and `noise_high` hold the middle 95%, and `mean` is the accuracy
    over all images of the network.
    """
    rows = telling_classes(robustness)
    counted = rows.filter(~pl.col("model").is_in(list(left_out))).sort("model", "robust_accuracy", "class_index")
    found = []
    for each in counted.partition_by("model", maintain_order=True):
        apart = spread(each["n_robust"].to_numpy(), each["n_images"].to_numpy())
        found.append(
            each.with_columns(
                pl.lit(apart.accuracy).alias("mean"),
                pl.Series("noise_low", apart.noise.by_rank_low),
                pl.Series("noise_high", apart.noise.by_rank_high),
                rank=pl.int_range(1, pl.len() + 1),
                clean_accuracy=pl.col("n_clean_correct") / pl.col("n_images"),
            )
        )
    columns = ("model", "attack", "strength", "iterate", "rank", "class_index", "class_name", "n_images", "n_robust")
    shares = ("robust_accuracy", "robust_accuracy_low", "robust_accuracy_high", "clean_accuracy")
    if not found:
        return pl.DataFrame(schema=["model"])
    return with_interval(pl.concat(found)).select(*columns, *shares, "mean", "noise_low", "noise_high")


def sorted_classes(table: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """A panel per network: its classes by rank, with intervals, clean accuracy and the band of noise.

    `table` is `accuracy_by_rank(...)`. Of more than 40 classes the 20 lowest and the 20 highest are drawn.
    """
    names = in_order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    ends = {name: _ends(table.filter(model=name)) for name in names}
    places = max(int(each["place"].max()) for each in ends.values())  # type: ignore[arg-type]  # whole numbers
    longest = max(wide(plain(name, 14)) for each in ends.values() for name in each["class_name"])
    width = max(3.0, 0.24 * min(places, 12) + 0.19 * max(places - 12, 0))
    columns = max(1, min(len(names), int(_WIDEST // width)))
    room = 0.35 + 0.062 * longest * (longest > 2)
    rows = math.ceil(len(names) / columns)
    chart = Chart(
        rows=rows,
        columns=columns,
        width=width,
        height=2.2,
        top=0.45,
        bottom=0.5 + room,
        across=0.35,
        down=0.5 + room,
    )
    for place, axes in enumerate(chart.flat):
        if place >= len(names):
            axes.set_axis_off()
            continue
        name = names[place]
        _panel(chart, axes, ends[name], name, models or names, upright=longest > 2, n_places=places)
        axes.set_xlabel("Class, the lowest robust accuracy first")
        if place % columns == 0:
            axes.set_ylabel("Accuracy (%)")
        else:
            axes.tick_params(labelleft=False)
    keys = [
        Line2D([], [], color=INK, marker="o", markersize=5, linewidth=1, label="robust accuracy, 95% interval"),
        Line2D([], [], color=FAINT, marker="o", markerfacecolor="none", markersize=5, linestyle="none", label="clean"),
        Line2D([], [], color=INK, linewidth=1, linestyle=(0, (4, 2)), label="all images"),
        Patch(facecolor=FAINT, alpha=0.25, linewidth=0, label="noise alone (95%)"),
    ]
    fitting = 4 if chart.get_figwidth() > 6.5 else 2
    chart.legend(handles=keys, loc="lower center", ncols=fitting, borderaxespad=0.3, handlelength=2)
    return chart


def _ends(rows: pl.DataFrame) -> pl.DataFrame:
    """The classes to be drawn, with the place of each; between the two ends of many, a place is empty."""
    ordered = rows.sort("rank")
    if ordered.height <= 2 * MOST_EACH_END:
        return ordered.with_columns(place=pl.col("rank"))
    n = ordered.height
    high = pl.col("rank") > n - MOST_EACH_END
    return ordered.filter((pl.col("rank") <= MOST_EACH_END) | high).with_columns(
        place=pl.when(high).then(pl.col("rank") - n + 2 * MOST_EACH_END + 1).otherwise("rank")
    )


def _panel(
    chart: Chart, axes: Axes, rows: pl.DataFrame, name: str, models: Sequence[str], *, upright: bool, n_places: int
) -> None:
    look = look_of(name, models)
    n_classes = int(rows["rank"].max())  # type: ignore[arg-type]  # a whole number
    parted = n_classes > rows.height
    x, y, low, high = (
        reals(rows, key) for key in ("place", "robust_accuracy", "robust_accuracy_low", "robust_accuracy_high")
    )
    for end in (x <= MOST_EACH_END, x > MOST_EACH_END) if parted else (x > 0,):
        edges = np.concatenate([x[end] - 0.5, x[end][-1:] + 0.5])
        below, above = (reals(rows, key)[end] for key in ("noise_low", "noise_high"))
        axes.fill_between(
            edges, [*below, below[-1]], [*above, above[-1]], step="post", color=FAINT, alpha=0.25, linewidth=0
        )
    axes.axhline(float(rows["mean"][0]), color=INK, linewidth=1, linestyle=(0, (4, 2)))
    clean = reals(rows, "clean_accuracy")
    axes.scatter(x, clean, s=20, facecolor="none", edgecolor=FAINT, linewidth=0.9, zorder=3)
    axes.vlines(x, low, high, color=look["color"], linewidth=1.3, zorder=4)
    points = axes.scatter(x, y, s=26, linewidth=0, zorder=5, **look)
    chart.explain(
        points,
        [
            f"{row['class_name']}: {row['n_robust']} of {row['n_images']} images are robust "
            f"({row['robust_accuracy_low']:.0%} to {row['robust_accuracy_high']:.0%}), rank {row['rank']}"
            for row in rows.iter_rows(named=True)
        ],
    )
    if parted:
        axes.axvline(MOST_EACH_END + 1, color=FAINT, linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate(
            f"{words.number(n_classes - rows.height)} classes between",
            (MOST_EACH_END + 1, 0.5),
            xycoords=("data", "axes fraction"),
            rotation=90,
            ha="center",
            va="center",
            fontsize=7.5,
            color=FAINT,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    percent_axis(axes)
    axes.set_xlim(0.2, n_places + 0.8)
    axes.grid(visible=False, axis="x")
    axes.set_xticks(
        x,
        [plain(text, 14) for text in rows["class_name"]],
        rotation=90 if upright else 0,
        fontsize=8 if n_classes <= 20 else 7,
    )
    axes.tick_params(axis="x", length=0)
    attack, strength = rows["attack"][0], float(rows["strength"][0])
    heading(
        axes, name, f"{words.attack(attack)}, {words.at_strength(attack, strength)}; {words.number(n_classes)} classes"
    )
