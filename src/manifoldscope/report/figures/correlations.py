"""Correlations between the features of a layer, within a class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.chart import Chart, plain, styled
from manifoldscope.report.figures.panel import heading, in_order, leave_empty
from manifoldscope.report.pictures import CorrelationPicture


@styled
def feature_correlations(
    correlations: Sequence[CorrelationPicture], *, models: Sequence[str] = (), most: int = 6
) -> Chart:
    """Correlation matrices of the features within a class; at most `most` of them, spread over networks and layers."""
    shown = _spread(correlations, models, most)
    n_models = len({picture.model for picture in shown})
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
            leave_empty(axes, "" if shown else "no correlations were kept")
            continue
        size = picture.matrix.shape[0]
        axes.set_facecolor("#d5d8db")  # a constant feature correlates with nothing: grey
        image = axes.imshow(
            picture.matrix,
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
            f"{plain(picture.model, 16)} · {plain(picture.layer, 14)} · {plain(picture.class_name, 12)}",
            f"mean |r| {words.coefficient(picture.mean_absolute)}; by chance {words.coefficient(picture.baseline)}",
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
    return chart


def _spread(correlations: Sequence[CorrelationPicture], models: Sequence[str], most: int) -> list[CorrelationPicture]:
    """One class of each network and layer, and further whole rounds while there are at most `most` in all."""
    groups: dict[tuple[str, str], list[CorrelationPicture]] = {}
    for picture in correlations:
        if picture.matrix.size:
            groups.setdefault((picture.model, picture.layer), []).append(picture)
    chosen: list[CorrelationPicture] = []
    for turn in itertools.zip_longest(*groups.values()):
        if chosen and len(chosen) + len(groups) > most:
            break
        chosen += [picture for picture in turn if picture is not None]
    chosen = chosen[:most]
    order = in_order([picture.model for picture in chosen], models)
    return sorted(chosen, key=lambda picture: (picture.layer, picture.class_index, order.index(picture.model)))
