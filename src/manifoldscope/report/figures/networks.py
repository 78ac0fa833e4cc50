"""Networks side by side: what is measured in each layer, and their accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from manifoldscope.evidence import at_chance, compared_networks, replicates, telling_strengths
from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, INK, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MEASURES,
    MOST_MODELS,
    MOST_TOOLTIPS,
    heading,
    in_order,
    look_of,
    percent_axis,
    room_above,
    shortened,
)
from manifoldscope.report.lettering import wide
from manifoldscope.report.rows import class_accuracy, clean_geometry, mean_accuracy, of_measure, reals

SECTION = Section("comparison", "How do the networks compare?", place=60)


@FIGURES.register("comparison", section=SECTION, missing="no class has a value in the table geometry")
def comparison(contents: Contents) -> Iterator[Figure]:
    """Each measure beside robust accuracy under the first attack, network by network."""
    attack = contents.attacks[0] if contents.attacks else "pgd"
    robustness, iterate = contents.tables["robustness"], contents.iterate(attack)
    means = mean_accuracy(robustness, attack=attack, iterate=iterate)
    for rank, (measure, parameters) in enumerate(contents.measures[:MOST_MEASURES]):
        label = words.measure(measure, parameters)
        values = of_measure(clean_geometry(contents.tables["geometry"]), measure, parameters)
        yield Figure(
            name=words.slug("comparison", measure, parameters),
            title=f"{label} and accuracy, network by network",
            caption=(
                "Left, a panel per layer: each point is a class, the bar and the number are the mean over classes of "
                f"its {words.noun(label)}; a dashed line is the ceiling, left out where it lies far above. Right: "
                f"accuracy on clean images (open) and under {words.attack(attack)} (filled) at the strength where the "
                "networks differ most, with 95% Wilson intervals; networks at chance level when clean are shown, and "
                "have no say in that choice while two others remain. The points differ between classes: that is not "
                "the uncertainty of the mean over retrained networks, which only several seeds can show."
            ),
            chart=network_comparison(
                values,
                means,
                label=label,
                attack=attack,
                strength=strength_of_networks(contents, values, attack=attack, iterate=iterate),
                models=contents.models,
                layers=contents.layers,
            ),
            table=comparison_table(values, means, attack=attack),
            more=rank > 0,
        )


def strength_of_networks(contents: Contents, values: pl.DataFrame, *, attack: str, iterate: str) -> float:
    """The strength of an attack at which the networks that were measured differ most; 0 where there is none."""
    accuracies = class_accuracy(contents.tables["robustness"], attack=attack, iterate=iterate)
    models = contents.tables["models"]
    compared = compared_networks(
        accuracies.join(values, on="model", how="semi"), replicates(models), left_out=at_chance(models)
    )
    found = telling_strengths(compared, within=["attack_name"])
    return float(found["strength"][0]) if found.height else 0.0


def comparison_table(values: pl.DataFrame, means: pl.DataFrame, *, attack: str) -> pl.DataFrame:
    """A row per network: mean and standard deviation over classes of the values in each layer; accuracies."""
    table = values.select("model").unique()
    for layer in sorted(values["layer"].unique()):
        summary = (
            values.filter(pl.col("layer") == layer)
            .group_by("model")
            .agg(
                pl.col("value").mean().alias(f"{layer}: mean"),
                pl.col("value").std().alias(f"{layer}: sd over classes"),
                pl.col("ceiling").max().alias(f"{layer}: ceiling"),
            )
        )
        table = table.join(summary, on="model", how="left")
    for value in sorted(means["strength"].unique()):
        column = means.filter(pl.col("strength") == value).select(
            "model", pl.col("robust_accuracy").alias(f"accuracy at {words.at_strength(attack, value)}")
        )
        table = table.join(column, on="model", how="left")
    return table.sort("model")


def network_comparison(
    values: pl.DataFrame,
    means: pl.DataFrame,
    *,
    label: str,
    attack: str,
    strength: float,
    models: Sequence[str] = (),
    layers: Sequence[str] = (),
) -> Chart:
    """A panel per layer, with a point per class and a bar at the mean, and one of accuracy, clean and at one strength.

    `values` are rows of `geometry`, `means` those of `mean_accuracy`.
    """
    names = in_order([*values["model"].unique(), *means["model"].unique()], models)[:MOST_MODELS]
    shown = in_order(values["layer"].unique().to_list(), layers)[: MOST_LAYERS - 1]
    columns = len(shown) + (not means.is_empty())
    chart = Chart(
        columns=columns,
        width=(5.2, 4.3, 3.0, 2.25)[columns - 1],
        height=2.8,
        top=0.42,
        bottom=0.95 if _tilted(names, columns) else 0.32,
        across=0.62,
    )
    for axes, layer in zip(chart.flat, shown, strict=False):
        of_layer = reals(values.filter(pl.col("layer") == layer), "value")
        highest = top = float(of_layer.max())
        for place, name in enumerate(names):
            panel = values.filter((pl.col("model") == name) & (pl.col("layer") == layer)).sort("class_index")
            if panel.is_empty():
                continue
            look, y = look_of(name, models or names), reals(panel, "value")
            offsets = np.linspace(-0.26, 0.26, y.size) if y.size > 1 else np.zeros(1)
            crowded = values.height > MOST_TOOLTIPS
            points = axes.scatter(place + offsets, y, s=11, alpha=0.6, linewidth=0, rasterized=crowded, **look)
            if not crowded:
                texts = [f"{row['class_name']}: {words.number(row['value'])}" for row in panel.iter_rows(named=True)]
                chart.explain(points, texts)
            axes.hlines(y.mean(), place - 0.36, place + 0.36, color=look["color"], linewidth=2.2, zorder=4)
            axes.annotate(
                words.number(float(y.mean())),
                (place, float(y.max())),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                fontweight="bold",
            )
            ceiling = float(np.nanmax(reals(panel, "ceiling"), initial=-np.inf))
            if np.isfinite(ceiling) and ceiling <= 1.6 * highest:
                axes.hlines(
                    ceiling, place - 0.42, place + 0.42, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="ceiling"
                )
                if top < ceiling:  # named once, where it is first drawn
                    note = f"ceiling {words.number(ceiling)}"
                    axes.annotate(
                        note, (place - 0.42, ceiling), (0, 3), textcoords="offset points", fontsize=7.5, color=FAINT
                    )
                top = max(top, ceiling)
        axes.set_ylim(min(0.0, 1.1 * float(of_layer.min())), 1.14 * top if top > 0 else 1.0)
        axes.set_ylabel(label)
        heading(axes, f"layer {layer}", "point: a class; bar and number: the mean", size=9)
        _network_ticks(axes, names, columns)
    if not means.is_empty():
        _robustness_panel(chart.flat[len(shown)], means, names, models or names, attack, strength)
        _network_ticks(chart.flat[len(shown)], names, columns)
    return chart


def _robustness_panel(
    axes: Axes, means: pl.DataFrame, names: Sequence[str], models: Sequence[str], attack: str, value: float
) -> None:
    for place, name in enumerate(names):
        look = look_of(name, models)
        for strength, open_marker in ((0.0, True), (value, False)):
            row = means.filter((pl.col("model") == name) & (pl.col("strength") == strength))
            if row.is_empty() or (open_marker and value == 0):
                continue
            y, low, high = (
                reals(row, key) for key in ("robust_accuracy", "robust_accuracy_low", "robust_accuracy_high")
            )
            x = place + (-0.13 if open_marker else 0.13)
            axes.vlines(x, low, high, color=look["color"], linewidth=1.1)
            axes.scatter(
                [x],
                y,
                s=38,
                marker=look["marker"],
                facecolor="white" if open_marker else look["color"],
                edgecolor=look["color"],
                linewidth=1.2,
                zorder=4,
            )
            if not open_marker:
                axes.annotate(
                    f"{y[0] * 100:.0f}%",
                    (x, y[0]),
                    (7, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8.5,
                    fontweight="bold",
                )
    percent_axis(axes, label="Accuracy (%)")
    clean = "open: clean; " if value else ""
    filled, at = f"{clean}filled: {words.attack(attack)}", f" {words.at_strength(attack, value)}"
    heading(axes, "accuracy", shortened(filled, room_above(axes), after=at, size=7.8, weight="normal"), size=9)


def _tilted(names: Sequence[str], columns: int) -> bool:
    longest = max((wide(plain(name, 18)) for name in names), default=0)
    return longest * len(names) > (110, 90, 42, 32)[columns - 1]


def _network_ticks(axes: Axes, names: Sequence[str], columns: int) -> None:
    tilted = _tilted(names, columns)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(
        range(len(names)),
        [plain(name, 18) for name in names],
        rotation=35 if tilted else 0,
        ha="right" if tilted else "center",
        rotation_mode="anchor",
    )
    axes.grid(axis="x", visible=False)
