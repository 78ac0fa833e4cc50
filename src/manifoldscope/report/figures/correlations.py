"""Correlations between the features of a layer, within a class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import polars as pl
from matplotlib.ticker import MaxNLocator

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.pictures import Picture
from manifoldscope.report import words
from manifoldscope.report.chart import Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import heading, in_order, leave_empty

SECTION = Section("correlations", "How correlated are the features within a class?", place=150)


@FIGURES.register("correlations", section=SECTION, missing="no correlations were saved")
def correlations(contents: Contents) -> Iterator[Figure]:
    """The correlations between features over the images of a class.

    A picture "correlation" has the names model, layer, class_index, class_name, mean_absolute (the mean of |r| off the
    diagonal, over all features that were measured) and baseline (what unrelated features give by chance with as many
    points), and the array matrix, (k, k) in [-1, 1], NaN where a feature is constant.
    """
    pictures = contents.pictures_of("correlation")
    for matrix in (picture.arrays["matrix"] for picture in pictures):
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ManifoldscopeError(f"correlations have a matrix of shape {matrix.shape}; expected a square one")
    if pictures:
        yield Figure(
            name="correlations",
            title="Correlations between features within a class",
            caption=(
                "The Pearson correlation of every two features over the images of one class: red where they rise "
                "together, blue where one falls as the other rises, grey where a feature never changes. Above each, "
                "the mean of |r| off the diagonal beside what unrelated features give by chance with as many images: "
                "only the excess over chance is correlation. Few dimensions and high correlation are two faces of "
                "the same thing."
            ),
            chart=feature_correlations(pictures, models=contents.models),
            table=correlations_table(pictures),
        )


def correlations_table(correlations: Sequence[Picture]) -> pl.DataFrame:
    """A row a correlation matrix: its mean absolute correlation beside the chance baseline."""
    return pl.DataFrame(
        [
            {
                **{name: picture.names[name] for name in ("model", "layer", "class_name")},
                "features_drawn": len(picture.arrays["matrix"]),
                "mean_absolute_correlation": picture.names["mean_absolute"],
                "by_chance": picture.names["baseline"],
            }
            for picture in correlations
        ]
    )


def feature_correlations(correlations: Sequence[Picture], *, models: Sequence[str] = (), most: int = 6) -> Chart:
    """Correlation matrices of the features within a class; at most `most` of them, spread over networks and layers."""
    shown = _spread(correlations, models, most)
    n_models = len({picture.names["model"] for picture in shown})
    columns = n_models if n_models in (2, 3) else min(3, max(1, len(shown)))
    chart = Chart(
        rows=max(1, math.ceil(len(shown) / columns)),
        columns=columns,
        width=2.7,
        height=2.7,
        left=0.5,
        right=1.0,
        top=0.42,
        down=0.95,
        across=0.65,
    )
    image = None
    for axes, picture in itertools.zip_longest(chart.flat, shown):
        axes.grid(visible=False)
        if picture is None:
            leave_empty(axes, "" if shown else "no correlations were saved")
            continue
        named, matrix = picture.names, picture.arrays["matrix"]
        size = len(matrix)
        axes.set_facecolor("#d5d8db")  # a constant feature correlates with nothing: grey
        image = axes.imshow(
            matrix,
            cmap="RdBu_r",
            vmin=-1,
            vmax=1,
            interpolation="none",
            extent=(0.5, size + 0.5, size + 0.5, 0.5),
        )
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.spines[["top", "right"]].set_visible(True)
        heading(
            axes,
            f"{plain(named['model'], 16)} · {plain(named['layer'], 14)} · {plain(named['class_name'], 12)}",
            f"mean |r| {words.coefficient(named['mean_absolute'])}; by chance {words.coefficient(named['baseline'])}",
            size=8.8,
        )
        axes.set_xlabel("Feature")
        axes.set_ylabel("Feature")
    if image is not None:
        place = chart.panels[0][-1].get_position()
        inch = 1 / chart.get_figwidth()
        scale = chart.add_axes((place.x1 + 0.2 * inch, place.y0, 0.13 * inch, place.height))
        bar = chart.colorbar(image, cax=scale, ticks=[-1, -0.5, 0, 0.5, 1])
        bar.set_label("Pearson r between two features")
        bar.outline.set_linewidth(0.5)
        chart.shared.append(scale)
    return chart


def _spread(correlations: Sequence[Picture], models: Sequence[str], most: int) -> list[Picture]:
    """One class of each network and layer, and further whole rounds while there are at most `most` in all."""
    groups: dict[tuple[str, str], list[Picture]] = {}
    for picture in correlations:
        if picture.arrays["matrix"].size:
            groups.setdefault((picture.names["model"], picture.names["layer"]), []).append(picture)
    chosen: list[Picture] = []
    for turn in itertools.zip_longest(*groups.values()):
        if chosen and len(chosen) + len(groups) > most:
            break
        chosen += [picture for picture in turn if picture is not None]
    chosen = chosen[:most]
    order = in_order([picture.names["model"] for picture in chosen], models)
    return sorted(
        chosen, key=lambda each: (each.names["layer"], each.names["class_index"], order.index(each.names["model"]))
    )
