"""Attacked images: before and after, and the perturbation magnified."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from manifoldscope.report import words
from manifoldscope.report.behind import Reals, predicted
from manifoldscope.report.chart import GRID, INK, Chart, plain, styled
from manifoldscope.report.figures.panel import heading, in_order, leave_empty
from manifoldscope.report.pictures import ExamplePicture


@styled
def attacked_examples(examples: Sequence[ExamplePicture], *, models: Sequence[str] = (), most: int = 12) -> Chart:
    """Triples of original, magnified perturbation (the factor stated) and adversarial image, with predictions."""
    order = in_order([picture.model for picture in examples], models)
    changed = [picture for picture in examples if not np.array_equal(picture.original, picture.adversarial)]
    groups = [_by_class([picture for picture in changed if picture.model == name]) for name in order]
    mixed = [picture for turn in itertools.zip_longest(*groups) for picture in turn if picture is not None][:most]
    shown = sorted(mixed, key=lambda picture: order.index(picture.model))
    abreast = 1 if len(shown) <= 2 else (2 if len(shown) <= 4 else 3)
    rows = max(1, math.ceil(len(shown) / abreast))
    chart = Chart(
        rows=rows, columns=3 * abreast, width=1.0, height=1.0, left=0.15, top=0.42, bottom=0.28, across=0.16, down=0.78
    )
    for axes in chart.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
    if not shown:
        leave_empty(chart.flat[0], "no images were kept")
    for place, picture in enumerate(shown):
        row, column = place % rows, 3 * (place // rows)
        before, between, after = chart.panels[row][column : column + 3]
        change = picture.adversarial - picture.original
        largest = float(np.abs(change).max(initial=0.0))
        _image(before, picture.original)
        _image(after, picture.adversarial)
        if picture.original.ndim == 2:
            reach = largest or 1.0
            between.imshow(change, cmap="RdBu_r", vmin=-1.5 * reach, vmax=1.5 * reach, interpolation="none")
        else:
            _image(between, 0.5 + change * (0.5 / largest if largest else 0.0))
        fooled, threat = picture.last_prediction != picture.label, words.threat(picture.threat)
        before.set_xlabel(f"sees {plain(predicted(picture.clean_name, picture.clean_prediction), 14)}", fontsize=7.5)
        between.set_xlabel(f"× {words.number(0.5 / largest, 2)}" if largest else "no change", fontsize=7.5)
        after.set_xlabel(
            f"sees {plain(predicted(picture.last_name, picture.last_prediction), 14)}",
            fontsize=7.5,
            fontweight="bold" if fooled else "normal",
            color="#B24A00" if fooled else INK,
        )
        heading(
            before,
            f"{plain(picture.model, 20)} · {threat} {words.at_strength(picture.threat, picture.strength)}",
            f"true class: {plain(picture.class_name, 30)}",
            size=8.8,
        )
        for axes in (before, between, after):
            axes.spines[:].set_visible(True)
            axes.spines[:].set_color(GRID)
    for axes in chart.flat:
        if not axes.images:
            axes.set_axis_off()
    return chart


def _by_class(examples: Sequence[ExamplePicture]) -> list[ExamplePicture]:
    """Class by class, and within a class by threat and rising strength."""
    classes = list(dict.fromkeys(picture.class_name for picture in examples))
    return sorted(examples, key=lambda one: (classes.index(one.class_name), one.threat, one.strength))


def _image(axes: Axes, pixels: Reals) -> None:
    inside = np.clip(np.nan_to_num(pixels), 0, 1)
    axes.imshow(inside, cmap="gray" if inside.ndim == 2 else None, vmin=0, vmax=1, interpolation="none")
