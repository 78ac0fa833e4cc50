"""Attacked images: before and after, and the perturbation magnified."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.pictures import Picture
from manifoldscope.report import words
from manifoldscope.report.chart import GRID, INK, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import heading, in_order, leave_empty
from manifoldscope.report.rows import Reals

SECTION = Section("examples", "What do the attacks look like?", place=170)

_SIDE, _GAP = 1.0, 0.16  # inches


@FIGURES.register("examples", section=SECTION, missing="no adversarial examples were saved")
def examples(contents: Contents) -> Iterator[Figure]:
    """A few images before and after an attack.

    A picture "example" has the names model, attack, strength, class_name, image, label, clean_prediction and
    last_prediction, and, where classes have names, clean_name and last_name; and the arrays original and adversarial,
    (h, w) or (h, w, channels), pixels in [0, 1].
    """
    pictures = contents.pictures_of("example")
    if pictures:
        yield Figure(
            name="examples",
            title="Original, perturbation, adversarial image",
            caption=(
                "Left the original, right the attacked image, between them what was added, magnified by the factor "
                "below it. In grey images red adds light and blue takes it away; in colour images mid-grey means no "
                "change. Under each image is what the network sees in it; bold where the attacked image is "
                "misclassified. These are a few images of the first classes, not a selection of the most striking."
            ),
            chart=attacked_examples(pictures, models=contents.models),
            table=examples_table(pictures),
        )


def examples_table(examples: Sequence[Picture]) -> pl.DataFrame:
    """One row per attacked image: what the network said before and after, and how far the farthest pixel moved."""
    rows = []
    for picture in examples:
        original, adversarial = pixels(picture)
        rows.append(
            {
                **{name: picture.names[name] for name in ("model", "image", "class_name", "attack", "strength")},
                "predicted_before": predicted(picture.names, "clean"),
                "predicted_after": predicted(picture.names, "last"),
                "largest_change": float(np.abs(adversarial - original).max(initial=0.0)),
            }
        )
    return pl.DataFrame(rows)


def attacked_examples(examples: Sequence[Picture], *, models: Sequence[str] = (), most: int = 12) -> Chart:
    """Triples of original, magnified perturbation (the factor stated) and adversarial image, with predictions."""
    order = in_order([picture.names["model"] for picture in examples], models)
    changed = [picture for picture in examples if not np.array_equal(*pixels(picture))]
    groups = [_by_class([picture for picture in changed if picture.names["model"] == name]) for name in order]
    mixed = [picture for turn in itertools.zip_longest(*groups) for picture in turn if picture is not None][:most]
    shown = sorted(mixed, key=lambda picture: order.index(picture.names["model"]))
    abreast = 1 if len(shown) <= 2 else (2 if len(shown) <= 4 else 3)
    rows = max(1, math.ceil(len(shown) / abreast))
    chart = Chart(
        rows=rows,
        columns=3 * abreast,
        width=_SIDE,
        height=_SIDE,
        left=0.15,
        top=0.42,
        bottom=0.28,
        across=_GAP,
        down=0.78,
    )
    for axes in chart.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
    if not shown:
        leave_empty(chart.flat[0], "no image was changed")
    for place, picture in enumerate(shown):
        row, column = place % rows, 3 * (place // rows)
        _triple(chart.panels[row][column : column + 3], picture)
    for axes in chart.flat:
        if not axes.images:
            axes.set_axis_off()
    return chart


def _triple(panels: Sequence[Axes], picture: Picture) -> None:
    before, between, after = panels
    original, adversarial = pixels(picture)
    named, change = picture.names, adversarial - original
    largest = float(np.abs(change).max(initial=0.0))
    _image(before, original)
    _image(after, adversarial)
    if original.ndim == 2:
        reach = largest or 1.0
        between.imshow(change, cmap="RdBu_r", vmin=-1.5 * reach, vmax=1.5 * reach, interpolation="none")
    else:
        _image(between, 0.5 + change * (0.5 / largest if largest else 0.0))
    fooled = named["last_prediction"] != named["label"]
    before.set_xlabel(f"sees {plain(predicted(named, 'clean'), 14)}", fontsize=7.5)
    between.set_xlabel(f"× {words.number(0.5 / largest, 2)}" if largest else "no change", fontsize=7.5)
    after.set_xlabel(
        f"sees {plain(predicted(named, 'last'), 14)}",
        fontsize=7.5,
        fontweight="bold" if fooled else "normal",
        color="#B24A00" if fooled else INK,
    )
    heading(
        before,
        f"{plain(named['model'], 20)} · {words.attack(named['attack'])}",
        f"true class: {plain(named['class_name'], 30)}",
        after=f" {words.at_strength(named['attack'], named['strength'])}",
        width=3 * _SIDE + 2 * _GAP,
        size=8.8,
    )
    for axes in panels:
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color(GRID)


def pixels(picture: Picture) -> tuple[Reals, Reals]:
    """The original and the adversarial image, without an axis for one channel."""
    original, adversarial = (picture.arrays[name] for name in ("original", "adversarial"))
    if original.shape != adversarial.shape or original.ndim not in (2, 3) or original.shape[2:] not in ((), (1,), (3,)):
        raise ManifoldscopeError(
            f"the example {picture.names['image']!r} has images of shapes {original.shape} and {adversarial.shape}; "
            "expected (h, w), (h, w, 1) or (h, w, 3), the same for both"
        )
    shape = original.shape if original.shape[2:] == (3,) else original.shape[:2]
    return original.reshape(shape), adversarial.reshape(shape)


def predicted(named: Mapping[str, Any], when: str) -> str:
    """The class that the network saw, `when` "clean" or "last": by its name, or else its index."""
    name = named.get(f"{when}_name")
    return plain(str(name)) if name else f"class {named[f'{when}_prediction']}"


def _by_class(examples: Sequence[Picture]) -> list[Picture]:
    """Class by class, and within a class by attack and rising strength."""
    names = [picture.names for picture in examples]
    classes = list(dict.fromkeys(named["class_name"] for named in names))
    return sorted(
        examples,
        key=lambda each: (
            classes.index(each.names["class_name"]),
            each.names["attack"],
            each.names["strength"],
        ),
    )


def _image(axes: Axes, image: Reals) -> None:
    inside = np.clip(np.nan_to_num(image), 0, 1)
    axes.imshow(inside, cmap="gray" if inside.ndim == 2 else None, vmin=0, vmax=1, interpolation="none")
