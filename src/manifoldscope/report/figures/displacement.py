"""Where attacked images move, class by class, beside where images move that were not attacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, INK, Chart, plain
from manifoldscope.report.contents import Contents, as_listed
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_ATTACKS,
    MOST_LAYERS,
    MOST_MODELS,
    MOST_TOOLTIPS,
    NAMED_CLASSES,
    class_lines,
    heading,
    in_order,
    look_of,
    strength_ticks,
)
from manifoldscope.report.lettering import wide
from manifoldscope.report.rows import number_range, reals, strengths_of_classes

SECTION = Section(
    "displacement",
    "Where do attacked images move?",
    place=80,
    terms={"Displacement": "The activation of an attacked image less that of the clean one."},
)

SHARES = ("own", "toward", "outside")
"""The parts of a displacement, as the table `geometry` names them."""

_PARTS = {
    "own": "within the own class",
    "toward": "toward the nearest class",
    "outside": "outside both",
}
_CONTROLS: dict[str, dict[str, Any]] = {
    "held_out": {"marker": "o", "facecolor": "white", "edgecolor": INK, "linewidth": 0.9},
    "layer": {"marker": "x", "color": FAINT, "linewidth": 1.1},
    "random": {"marker": "_", "color": INK, "linewidth": 1.4},
}
_CONTROL_NAMES = {
    "held_out": "clean images, held out",
    "layer": "random, with the layer's covariance",
    "random": "random direction",
}


@FIGURES.register(
    "displacement",
    section=SECTION,
    optional=True,
    missing="no attack follows where its images move (displacement = true in [[attacks]])",
)
def displacement(contents: Contents) -> Iterator[Figure]:
    """Where the images that an attack made lie in each layer: a figure per attack and layer."""
    geometry, robustness = contents.tables["geometry"], contents.tables["robustness"]
    rows = displaced(geometry)
    captioned = False
    for attack in as_listed(rows["attack"], contents.attacks)[:MOST_ATTACKS]:
        strengths = strengths_of_classes(robustness, attack=attack, iterate=contents.iterate(attack))
        for layer in contents.layers_in(rows)[:MOST_LAYERS]:
            every = displacement_table(geometry, layer=layer, attack=attack)
            if every.is_empty():
                continue
            chosen = at_strengths(every, strengths)
            yield Figure(
                name=words.slug("displacement", layer, attack),
                title=f"Displacement under {words.attack(attack)}, layer {layer}",
                caption=(
                    "Each filled mark is a class: the displacements in layer "
                    f"{layer} of its {number_range(chosen['n_images'])} images that were classified correctly when "
                    f"clean and attacked by {words.attack(attack)}, with standard errors. "
                    f"{_SHORT if captioned else _CAPTION}"
                ),
                chart=displacement_by_class(chosen, every, attack=attack, models=contents.models),
                table=every,
                more=captioned,
            )
            captioned = True


_CAPTION = (
    "The squared length of a displacement is split in three parts that add up to 100%: along the principal axes of the "
    "class's own clean images; along what the direction to the nearest class centroid adds to these; and the rest. A "
    "share says nothing alone, so beside it is shown that of the deviations of clean held-out images from their "
    "centroid (open), and that of a direction at random (dash) and, where it was asked for, at random with the "
    "covariance of the layer (cross): an attack that leaves the manifold lies further outside than the open marks. "
    "Classes are in the order of the first panel, the strength is that at which their accuracies differ most. In the "
    "last panel lengths are in units of the class's radius, thin lines are classes, and the thick line is their "
    "mean. Not shown: what the displacement does to the output, and single images."
)
_SHORT = (
    "Beside it are the deviations of clean held-out images from their centroid (open) and a direction at random (dash; "
    "cross: with the covariance of the layer). The strength is that at which the accuracies of the classes differ most."
)


def displaced(geometry: pl.DataFrame) -> pl.DataFrame:
    """The rows of `geometry` that say where attacked images of a class moved."""
    return geometry.filter(
        (pl.col("attack").fill_null("") != "")
        & (pl.col("class_index") >= 0)
        & pl.col("measure").str.starts_with("displacement")
    )


def displacement_table(geometry: pl.DataFrame, *, layer: str, attack: str) -> pl.DataFrame:
    """A row per model, strength and class: how far its attacked images moved, and what shares of it lie where.

    The columns are the measures without `displacement_`, with `_stderr` for the standard errors of the shares;
    `n_images` moved. Classes of which none moved are left out.
    """
    rows = displaced(geometry).filter((pl.col("layer") == layer) & (pl.col("attack") == attack))
    columns = ["size", "relative", "cosine", *SHARES]
    columns += [f"{share}_{control}" for share in SHARES for control in ("held_out", "random", "layer")]
    of = {name: pl.col("measure") == ("displacement" if name == "size" else f"displacement_{name}") for name in columns}
    value, stderr = (pl.col(name).fill_nan(None) for name in ("value", "stderr"))
    table = rows.group_by("model", "strength", "class_index").agg(
        pl.col("class_name").first(),
        pl.col("n_points").filter(of["size"]).first().alias("n_images"),
        *(value.filter(which).first().alias(name) for name, which in of.items()),
        *(stderr.filter(of[name]).first().alias(f"{name}_stderr") for name in SHARES),
    )
    return table.filter(pl.col("own").is_not_null()).sort("model", "strength", "class_index")


def at_strengths(table: pl.DataFrame, strengths: pl.DataFrame) -> pl.DataFrame:
    """Each network's rows at its strength in `strengths`, or else at the largest there is."""
    wanted = strengths.select("model", wanted="strength")
    return (
        table.join(wanted, on="model", how="left")
        .filter(
            pl.when((pl.col("strength") == pl.col("wanted")).any().over("model"))
            .then(pl.col("strength") == pl.col("wanted"))
            .otherwise(pl.col("strength") == pl.col("strength").max().over("model"))
        )
        .drop("wanted")
        .sort("model", "class_index")
    )


def displacement_by_class(
    chosen: pl.DataFrame, every: pl.DataFrame, *, attack: str, models: Sequence[str] = ()
) -> Chart:
    """Where attacked images move: a row per network; a panel per share, class by class, and the size against the
    strength.

    `every` is `displacement_table(...)` and `chosen` its rows at one strength a network, as of `at_strengths`.
    The last panel is left out where there is one strength.
    """
    names = in_order(chosen["model"].unique().to_list(), models)[:MOST_MODELS]
    strengths = sorted(every["strength"].unique().to_list())
    longest = max(wide(plain(name, 12)) for name in chosen["class_name"].unique())
    named = chosen["class_index"].n_unique() <= NAMED_CLASSES
    margin = 0.45 + (0.07 * longest if named and longest > 2 else 0.1)
    chart = Chart(
        rows=len(names),
        columns=3 + (len(strengths) > 1),
        width=2.35 if len(strengths) > 1 else 2.8,
        height=1.9,
        left=0.7,
        top=0.45,
        bottom=margin + 0.5,
        across=0.55,
        down=margin + 0.65,
    )
    for row, name in zip(chart.panels, names, strict=True):
        panel, look = chosen.filter(pl.col("model") == name), look_of(name, models or names)
        # By the share within the own class, so that the lines of a hundred classes can be followed.
        panel = panel.sort("own", "class_index", descending=[True, False])
        for axes, part in zip(row, SHARES, strict=False):
            _share_panel(chart, axes, panel, part, look, named=named)
        row[0].set_ylabel("Share of squared length (%)")
        at = words.at_strength(attack, float(panel["strength"][0]))
        heading(row[0], name, _PARTS["own"], after=f" · {at}")
        if len(row) > 3:
            _size_panel(row[3], every.filter(pl.col("model") == name), look, strengths, attack)
    present = [key for key in _CONTROLS if any(chosen[f"{part}_{key}"].is_not_null().any() for part in SHARES)]
    keys: list[Any] = [
        Line2D([], [], label=f"attacked ({plain(name, 18)})", linestyle="none", **look_of(name, models or names))
        for name in names
    ]
    keys += [chart.flat[0].scatter([], [], s=22, label=_CONTROL_NAMES[key], **_CONTROLS[key]) for key in present]
    chart.legend(handles=keys, loc="lower center", ncols=min(len(keys), 5), borderaxespad=0.3)
    return chart


def _share_panel(
    chart: Chart, axes: Axes, panel: pl.DataFrame, part: str, look: dict[str, Any], *, named: bool
) -> None:
    places, y, error = np.arange(panel.height), reals(panel, part), reals(panel, f"{part}_stderr")
    size = 30 if panel.height <= 30 else 9
    top = float(np.nanmax(y + np.nan_to_num(error)))
    for control, mark in _CONTROLS.items():
        beside = reals(panel, f"{part}_{control}")
        if np.isfinite(beside).any():
            axes.scatter(places, beside, s=size, zorder=2, rasterized=panel.height > 300, **mark)
            top = max(top, float(np.nanmax(beside)))
    many = panel.height > 30
    axes.vlines(places, y - error, y + error, color=look["color"], linewidth=1, alpha=0.3 if many else 0.7)
    points = axes.scatter(places, y, s=size, edgecolor="white", linewidth=0 if many else 0.4, zorder=4, **look)
    if panel.height <= MOST_TOOLTIPS // (3 * MOST_MODELS):
        chart.explain(
            points,
            [
                f"{row['class_name']}: {row[part]:.1%} of {row['n_images']} images' displacements; "
                f"held out {words.number(100 * (row[f'{part}_held_out'] or 0))}%, "
                f"random {words.number(100 * (row[f'{part}_random'] or 0))}%"
                for row in panel.iter_rows(named=True)
            ],
        )
    axes.set_ylim(-0.05 * top, 1.1 * top or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}"))
    axes.set_xlim(-0.8, panel.height - 0.2)
    axes.grid(axis="x", visible=False)
    texts = [plain(name, 12) for name in panel["class_name"]]
    if named:
        axes.set_xticks(places, texts, rotation=90 if max(map(wide, texts)) > 2 else 0)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{panel.height} classes, by the share within")
    if part != SHARES[0]:
        heading(axes, "", _PARTS[part])


def _size_panel(axes: Axes, panel: pl.DataFrame, look: dict[str, Any], strengths: Sequence[float], attack: str) -> None:
    class_lines(axes, panel, look["color"], up="relative")
    mean = panel.group_by("strength").agg(pl.col("relative").mean()).sort("strength")
    axes.plot(reals(mean, "strength"), reals(mean, "relative"), linewidth=1.8, markersize=5, markeredgewidth=0, **look)
    strength_ticks(axes, strengths)
    axes.set_ylim(0, 1.1 * float(panel["relative"].max() or 1.0))  # type: ignore[arg-type]  # a column of numbers
    axes.set_xlabel(words.strength_axis(attack).replace(" (", "\n("))
    heading(axes, "", "length, in radii of the class")
