"""Whether two samples of the images agree on the classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.lines import Line2D

from manifoldscope.evidence.across_classes import RELIABLE
from manifoldscope.report import words
from manifoldscope.report.chart import INK, Chart, plain
from manifoldscope.report.contents import Contents, Measure
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_LAYERS, MOST_MODELS, heading, in_order, leave_empty, look_of
from manifoldscope.report.rows import number_range, reals

SECTION = Section(
    "reliability",
    "Would other images say the same of the classes?",
    place=130,
    terms={
        "Reliability": "The correlation across classes between the values of two samples of their images: 1 if other "
        "images would say the same, 0 if noise is all that makes classes differ. It bounds any correlation with the "
        "measure by its root."
    },
)


@FIGURES.register(
    "reliability",
    section=SECTION,
    optional=True,
    missing="no reliabilities were estimated (sampling.reliability)",
)
def reliability(contents: Contents) -> Iterator[Figure]:
    """How well two halves of the images agree on the classes, measure by measure."""
    table = contents.tables["reliability"]
    if table.is_empty():
        return
    yield Figure(
        name="reliability",
        title="Reliability of the measures across classes",
        caption=(
            f"How well the values of {number_range(table['n_classes'])} classes would correlate with those from other "
            "images of the same classes, as many as were measured here: two halves of the images are compared, and the "
            "correlation is corrected for their size (Spearman and Brown). Lines are 95% intervals over classes; a "
            f"mark that is missing has its reason in the table. Left of the dashed line, at {RELIABLE:g}, noise hides "
            "much of what differs between classes, and an association with the measure is attenuated: on average it is "
            "what it would be without that noise, times the root of the reliability. Not shown: whether the values are "
            "right. A measure that is wrong by as much for every class is as reliable as a true one."
        ),
        chart=reliability_by_measure(
            table,
            measures=contents.measures_in(table, "reliability"),
            models=contents.models,
            layers=contents.layers,
        ),
        table=table,
    )


def reliability_by_measure(
    reliability: pl.DataFrame,
    *,
    measures: Sequence[Measure],
    models: Sequence[str] = (),
    layers: Sequence[str] = (),
) -> Chart:
    """How well two samples of the images agree on the classes: a panel per layer, a line per measure, a mark per
    network.

    The line through a mark is its 95% interval; dashed is where an association begins to be called attenuated.
    """
    known = reliability.filter(pl.col("reliability").is_finite())
    names = in_order(known["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = in_order(known["layer"].unique().to_list(), layers)[:MOST_LAYERS]
    texts = [plain(words.measure(*each), 36) for each in measures]
    chart = Chart(
        columns=max(1, len(shown)),
        width=(5.0, 3.6, 2.5, 2.0)[max(1, len(shown)) - 1],
        height=max(1.0, len(measures) * (0.2 + 0.11 * len(names))),
        left=0.3 + 0.068 * max(map(len, texts), default=10),
        top=0.35,
        bottom=0.85,
        across=0.3,
    )
    if not names:
        leave_empty(chart.flat[0], "no reliability has been estimated")
        return chart
    lowest = float(np.nanmin(reals(known, "low"), initial=0.0))
    for column, (axes, layer) in enumerate(zip(chart.flat, shown, strict=True)):
        for turn, name in enumerate(names):
            rows = known.filter((pl.col("model") == name) & (pl.col("layer") == layer))
            if rows.is_empty():
                continue
            look = look_of(name, models or names)
            offset = 0.6 * ((turn + 0.5) / len(names) - 0.5)
            keys = rows.select("measure", pl.col("parameters").fill_null("")).rows()
            y = np.array([measures.index(key) + offset for key in keys])
            axes.hlines(y, reals(rows, "low"), reals(rows, "high"), color=look["color"], linewidth=1.1, alpha=0.7)
            points = axes.scatter(reals(rows, "reliability"), y, s=26, linewidth=0, zorder=3, **look)
            chart.explain(
                points,
                [
                    f"{name}, {texts[measures.index(key)]}: {words.coefficient(row['reliability'])} "
                    f"({words.coefficient(row['low'])} to {words.coefficient(row['high'])}), {row['n_classes']} classes"
                    for key, row in zip(keys, rows.to_dicts(), strict=True)
                ],
            )
        axes.axvline(RELIABLE, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        axes.set_xlim(max(-1.05, min(-0.05, lowest - 0.05)), 1.05)
        axes.set_ylim(len(measures) - 0.5, -0.5)
        axes.set_yticks(range(len(measures)), texts if column == 0 else [])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Reliability across classes")
        heading(axes, f"layer {layer}")
    marks = [
        Line2D([], [], label=plain(name, 24), linestyle="none", **look_of(name, models or names)) for name in names
    ]
    chart.legend(handles=marks, loc="lower center", ncols=min(len(marks), 5), borderaxespad=0.3)
    return chart
