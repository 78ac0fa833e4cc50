"""Training, epoch by epoch: the loss, and accuracy under attack where the network is trained on attacked images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from manifoldscope.report.behind import reals
from manifoldscope.report.chart import FAINT, Chart, plain, styled
from manifoldscope.report.figures.panel import MOST_MODELS, heading, in_order, leave_empty, look_of, percent_axis


@styled
def training_history(table: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """The training loss by epoch, and beside it accuracy under FGSM and PGD; `table` is `training_table(...)`."""
    names = in_order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    judged = table.filter((pl.col("n_images") > 0) & pl.col("model").is_in(names))
    columns = 1 if judged.is_empty() else 2
    chart = Chart(columns=columns, width=4.2, height=2.3, top=0.3, bottom=0.95, across=0.85)
    if not names:
        leave_empty(chart.flat[0], "no network was trained")
        return chart
    axes = chart.flat[0]
    for name in names:
        line = table.filter(pl.col("model") == name).sort("epoch")
        axes.plot(reals(line, "epoch"), reals(line, "loss"), color=look_of(name, models or names)["color"])
    for n_classes in table["n_classes"].drop_nulls().unique().sort():
        guessing = math.log(n_classes) if n_classes > 1 else 0.0
        axes.axhline(guessing, color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("Mean training loss (nats)")
    heading(axes, "loss")
    if columns > 1:
        _accuracies(chart, chart.flat[1], judged, names, models or names)
        chart.flat[1].set_xlim(axes.get_xlim())
    for panel in chart.flat:
        panel.set_xlabel("Epoch")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    keys = [Line2D([], [], label=plain(name, 24), color=look_of(name, models or names)["color"]) for name in names]
    keys.append(Line2D([], [], color=FAINT, linewidth=1, linestyle=(0, (2, 2)), label="loss of guessing"))
    if columns > 1:
        keys.append(Line2D([], [], color=FAINT, label="PGD"))
        keys.append(Line2D([], [], color=FAINT, linestyle=(0, (4, 2)), linewidth=1.2, label="FGSM"))
    chart.legend(handles=keys, loc="lower center", ncols=min(len(keys), 5), handlelength=2.4, borderaxespad=0.3)
    return chart


def _accuracies(chart: Chart, axes: Axes, judged: pl.DataFrame, names: Sequence[str], models: Sequence[str]) -> None:
    for name in names:
        line = judged.filter(pl.col("model") == name).sort("epoch")
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
                    f"{name}, epoch {row['epoch']}: {row[f'n_survived_{attack}']} of {row['n_images']} under "
                    f"{attack.upper()}"
                    for row in line.iter_rows(named=True)
                ],
            )
    percent_axis(axes, label="Accuracy on training images (%)")
    heading(axes, "accuracy under attack")
