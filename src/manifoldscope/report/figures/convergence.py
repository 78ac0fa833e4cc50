"""Robust accuracy by the step of an attack: whether more steps would find more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import polars as pl
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, INK, Chart
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_MODELS, heading, in_order, look_of, percent_axis
from manifoldscope.report.rows import number_range, reals, with_interval

SECTION = Section("convergence", "Would more steps of the attack find more?", place=50)


@FIGURES.register(
    "convergence",
    section=SECTION,
    optional=True,
    missing='no attack was checked step by step (checks = "full")',
)
def convergence(contents: Contents) -> Iterator[Figure]:
    """Accuracy against the step of the attack that was checked."""
    table = convergence_table(contents.tables["convergence"])
    if table.is_empty():
        return
    attack = words.attack(str(table["attack"][0]))
    at = words.at_strength(str(table["attack"][0]), float(table["strength"][0]))
    yield Figure(
        name="convergence",
        title=f"Robust accuracy by the step of {attack} at {at}",
        caption=(
            f"The share of a sample of {number_range(table['n_images'])} images that is classified correctly when "
            "clean and at every iterate so far, with its 95% Wilson interval as a band; at step 0 the random start "
            "alone. Solid: the attack as the study runs it, which ends at the vertical line. Dashed: the same "
            "with twice as many steps, which are shorter where their size follows from their number. An attack has "
            "converged where the dashed line ends no lower than the solid one; one that still decreases there would "
            "find more with more steps. Both are attacks of one kind: a flat line may also be stuck. Bands are those "
            "of the sample, and both lines share its images: what doubling adds is counted image by image in the "
            "checks."
        ),
        chart=accuracy_by_step(table, models=contents.models),
        table=table,
    )


def convergence_table(convergence: pl.DataFrame) -> pl.DataFrame:
    """The table `convergence` with accuracies and their 95% Wilson intervals; `doubled` is twice as many steps."""
    table = convergence.with_columns(
        doubled=pl.col("n_steps") > pl.col("n_steps").min().over("model"),
        robust_accuracy=pl.col("n_robust") / pl.col("n_images"),
    )
    return with_interval(table).sort("model", "doubled", "step")


def accuracy_by_step(table: pl.DataFrame, *, models: Sequence[str] = ()) -> Chart:
    """Accuracy after each step of an attack, and of the same attack with twice as many: a panel per network.

    `table` is `convergence_table(...)`.
    """
    names = in_order(table["model"].unique().to_list(), models)[:MOST_MODELS]
    columns = min(4, len(names))
    chart = Chart(
        rows=math.ceil(len(names) / columns),
        columns=columns,
        width=(5.6, 4.4, 3.1, 2.35)[columns - 1],
        height=2.2,
        top=0.3,
        bottom=0.85,
        across=0.28,
        down=0.85,
    )
    for place, axes in enumerate(chart.flat):
        if place >= len(names):
            axes.set_axis_off()
            continue
        look = look_of(names[place], models or names)
        for doubled in (True, False):
            line = table.filter((pl.col("model") == names[place]) & (pl.col("doubled") == doubled)).sort("step")
            if line.is_empty():
                continue
            x, y, low, high = (
                reals(line, key) for key in ("step", "robust_accuracy", "robust_accuracy_low", "robust_accuracy_high")
            )
            axes.fill_between(x, low, high, color=look["color"], alpha=0.1 if doubled else 0.2, linewidth=0)
            axes.plot(
                x,
                y,
                color=look["color"],
                linestyle=(0, (4, 2)) if doubled else "-",
                linewidth=1.2 if doubled else 1.8,
                zorder=3 if doubled else 4,
            )
            points = axes.scatter(x[-1:], y[-1:], s=34, linewidth=0, zorder=5, **look)
            n_robust, n_images = line["n_robust"][-1], line["n_images"][-1]
            chart.explain(points, [f"after {line['step'][-1]} steps {n_robust} of {n_images} are robust"])
            if not doubled:
                axes.axvline(x[-1], color=INK, linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
        percent_axis(axes)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("Steps")
        heading(axes, names[place])
        if place % columns == 0:
            axes.set_ylabel("Robust accuracy, any iterate (%)")
        else:
            axes.tick_params(labelleft=False)
    keys = [
        Line2D([], [], color=FAINT, label="the attack"),
        Line2D([], [], color=FAINT, linestyle=(0, (4, 2)), linewidth=1.2, label="twice as many steps"),
        Line2D([], [], color=INK, linestyle=(0, (2, 2)), linewidth=0.9, label="its number of steps"),
    ]
    chart.legend(handles=keys, loc="lower center", ncols=3, handlelength=2.4, borderaxespad=0.3)
    return chart
