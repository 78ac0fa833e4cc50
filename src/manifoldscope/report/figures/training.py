"""Training, epoch by epoch: the loss, and robust accuracy where the network is trained adversarially."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_MODELS, heading, in_order, look_of, percent_axis
from manifoldscope.report.rows import number_range, reals, with_interval

SECTION = Section("training", "How did training go?", place=160)


@FIGURES.register("training", section=SECTION, optional=True, missing="no network was trained in this study")
def training(contents: Contents) -> Iterator[Figure]:
    """Loss and robust accuracy, epoch by epoch."""
    table = training_table(contents.tables["training"])
    if table.is_empty():
        return
    evaluated = table.filter(pl.col("n_images") > 0)
    text = "The mean training loss of each epoch; dotted is ln(classes), the loss at chance level."
    if evaluated.height:
        text = (
            f"Left: {text[0].lower()}{text[1:]} Beside it, for networks that are trained adversarially: the share of "
            f"{number_range(evaluated['n_images'])} training images that is classified correctly under PGD of ten "
            "steps (solid, with its 95% Wilson interval as a band) and under FGSM, its single step (dashed), both at "
            "the full radius of training. Marks are the epochs that were evaluated. Where the dashed line rises "
            "while the solid one collapses, the network has overfitted to the single step (catastrophic "
            "overfitting). These are images that the network trains on: not shown is how others fare."
        )
    if evaluated["gradient_participation_ratio"].is_finite().any():
        text += (
            " Right: on which share of its pixels the gradient of the loss at a clean image rests (the participation "
            "ratio of its absolute values), as a mean over these images. A sudden fall is an early sign of "
            "catastrophic overfitting."
        )
    yield Figure(
        name="training",
        title="Training, epoch by epoch",
        caption=text,
        chart=training_history(table, models=contents.models),
        table=table,
    )


def training_table(training: pl.DataFrame) -> pl.DataFrame:
    """The table `training` with accuracies, and the 95% Wilson interval of that under PGD."""
    evaluated = pl.col("n_images") > 0
    table = training.with_columns(
        fgsm_accuracy=pl.when(evaluated).then(pl.col("n_robust_fgsm") / pl.col("n_images")),
        pgd_accuracy=pl.when(evaluated).then(pl.col("n_robust_pgd") / pl.col("n_images")),
    )
    return with_interval(table, successes="n_robust_pgd", name="pgd").sort("model", "epoch")


def training_history(table: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """The training loss by epoch; beside it accuracy under FGSM and PGD, and the participation ratio of the gradients.

    `table` is `training_table(...)`.
    """
    names = in_order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    evaluated = table.filter((pl.col("n_images") > 0) & pl.col("model").is_in(names))
    concentrated = evaluated.filter(pl.col("gradient_participation_ratio").is_finite())
    columns = 1 + (evaluated.height > 0) + (concentrated.height > 0)
    chart = Chart(columns=columns, width=(4.2, 4.2, 3.0)[columns - 1], height=2.3, top=0.3, bottom=0.95, across=0.85)
    axes = chart.flat[0]
    for name in names:
        line = table.filter(pl.col("model") == name).sort("epoch")
        axes.plot(reals(line, "epoch"), reals(line, "loss"), color=look_of(name, models or names)["color"])
    for n_classes in table["n_classes"].drop_nulls().unique().sort():
        at_chance = math.log(n_classes) if n_classes > 1 else 0.0
        axes.axhline(at_chance, color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("Mean training loss (nats)")
    heading(axes, "loss")
    if columns > 1:
        _accuracies(chart, chart.flat[1], evaluated, names, models or names)
    if columns > 2:
        _ratios(chart, chart.flat[2], concentrated, names, models or names)
    first, last = int(reals(table, "epoch").min()), int(reals(table, "epoch").max())
    margin = 0.05 * (last - first) or 0.5
    for panel in chart.flat:
        panel.set_xlim(first - margin, last + margin)
        panel.set_xlabel("Epoch")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    keys = [Line2D([], [], label=plain(name, 24), color=look_of(name, models or names)["color"]) for name in names]
    keys.append(Line2D([], [], color=FAINT, linewidth=1, linestyle=(0, (2, 2)), label="loss at chance level"))
    if columns > 1:
        keys.append(Line2D([], [], color=FAINT, label="PGD"))
        keys.append(Line2D([], [], color=FAINT, linestyle=(0, (4, 2)), linewidth=1.2, label="FGSM"))
    chart.legend(handles=keys, loc="lower center", ncols=min(len(keys), 5), handlelength=2.4, borderaxespad=0.3)
    return chart


def _ratios(chart: Chart, axes: Axes, table: pl.DataFrame, names: Sequence[str], models: Sequence[str]) -> None:
    for name in names:
        line = table.filter(pl.col("model") == name).sort("epoch")
        if line.is_empty():
            continue
        look, x, y = look_of(name, models), reals(line, "epoch"), reals(line, "gradient_participation_ratio")
        axes.plot(x, y, color=look["color"])
        points = axes.scatter(x, y, s=16, linewidth=0, zorder=5, **look)
        chart.explain(
            points, [f"{name}, epoch {epoch:.0f}: {words.number(ratio)}" for epoch, ratio in zip(x, y, strict=True)]
        )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("Participation ratio / pixels")
    heading(axes, "gradients of the loss")


def _accuracies(chart: Chart, axes: Axes, evaluated: pl.DataFrame, names: Sequence[str], models: Sequence[str]) -> None:
    for name in names:
        line = evaluated.filter(pl.col("model") == name).sort("epoch")
        if line.is_empty():
            continue
        look, x = look_of(name, models), reals(line, "epoch")
        axes.fill_between(
            x, reals(line, "pgd_low"), reals(line, "pgd_high"), color=look["color"], alpha=0.18, linewidth=0
        )
        for attack, dash in (("fgsm", (0, (4, 2))), ("pgd", "-")):
            y = reals(line, f"{attack}_accuracy")
            axes.plot(x, y, color=look["color"], linestyle=dash, linewidth=1.8 if attack == "pgd" else 1.2, zorder=4)
            points = axes.scatter(x, y, s=16, linewidth=0, zorder=5, **look)
            chart.explain(
                points,
                [
                    f"{name}, epoch {row['epoch']}: {row[f'n_robust_{attack}']} of {row['n_images']} under "
                    f"{attack.upper()}"
                    for row in line.iter_rows(named=True)
                ],
            )
    percent_axis(axes, label="Accuracy on training images (%)")
    heading(axes, "robust accuracy")
