"""How well out-of-distribution images are detected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.lines import Line2D

from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, INK, Chart, plain
from manifoldscope.report.contents import Contents
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import MOST_LAYERS, MOST_MODELS, in_order, leave_empty, look_of
from manifoldscope.report.rows import number_range, reals

SECTION = Section(
    "ood",
    "Are out-of-distribution images detected?",
    place=100,
    terms={
        "AUROC": "Area under the receiver operating characteristic: the chance that an OOD image has a higher score "
        "than an in-distribution one. 0.5 is chance level, 1 separates them perfectly."
    },
)


@FIGURES.register(
    "ood",
    section=SECTION,
    optional=True,
    missing="no other dataset was tested as out-of-distribution ([[ood]])",
)
def ood(contents: Contents) -> Iterator[Figure]:
    """How well each score tells the images of each OOD dataset from in-distribution ones."""
    every = contents.tables["ood"]
    for rank, dataset in enumerate(every["dataset"].unique(maintain_order=True)):
        table = every.filter(pl.col("dataset") == dataset)
        yield Figure(
            name=words.slug("ood", dataset),
            title=f"Images of {dataset} detected as out-of-distribution",
            caption=(
                f"AUROC: the chance that one of {number_range(table['n_ood'])} images of {dataset} has a higher OOD "
                f"score than one of {number_range(table['n_in_distribution'])} in-distribution images, ties counting "
                f"half. {_SHORT if rank else _READING}"
            ),
            chart=ood_by_score(table, models=contents.models, layers=contents.layers),
            table=table.drop("dataset"),
            more=rank > 2,
        )


_READING = (
    "In-distribution images count whether or not they are classified correctly. First by the output: how small the "
    "largest softmax probability is. Then by distances in a layer: to the nearest class centroid; the Mahalanobis "
    "distance to it, under one covariance for all classes; and what lies outside the principal subspace of the class "
    "with the nearest centroid. Centroids, covariance and subspaces come from the images that geometry is measured "
    "on, which are not among the in-distribution ones here, and nothing is fitted to OOD images. Left of the dashed "
    "line, OOD images score as more in-distribution than in-distribution images do. Lines are 95% intervals over "
    "images (DeLong): they say nothing of other OOD datasets. Not shown: what is detected. Images may be told apart "
    "by their colours, sharpness or compression, and not because their classes are new."
)
_SHORT = (
    "Left of the dashed line, OOD images score as more in-distribution than in-distribution images do. Lines are 95% "
    "intervals over images (DeLong)."
)


def ood_by_score(table: pl.DataFrame, *, models: Sequence[str] = (), layers: Sequence[str] = ()) -> Chart:
    """How well each score tells OOD from in-distribution images: a line per score, a mark per network, 95% intervals.

    `table` holds the rows of `ood` for one dataset; dashed is where a score tells nothing.
    """
    scored = table.filter(pl.col("auroc").is_finite())
    names = in_order(scored["model"].unique().to_list(), models)[:MOST_MODELS]
    present = [layer for layer in scored["layer"].unique().to_list() if layer]
    shown = in_order(present, [layer for layer in layers if layer])[:MOST_LAYERS]
    lines = [("", "max_softmax")] if scored.filter(pl.col("layer") == "").height else []
    lines += [(layer, score) for layer in shown for score in ("nearest_centroid", "mahalanobis", "residual")]
    texts = [f"{words.score(score)}{f' ({plain(layer, 26)})' if layer else ''}" for layer, score in lines]
    chart = Chart(
        width=5.4,
        height=max(1.0, len(lines) * (0.2 + 0.11 * len(names))),
        left=0.3 + 0.068 * max(map(len, texts), default=10),
        top=0.2,
        bottom=0.85,
    )
    axes = chart.flat[0]
    if not names:
        leave_empty(axes, "no score has been computed")
        return chart
    for turn, name in enumerate(names):
        rows = scored.filter((pl.col("model") == name) & (pl.col("layer").is_in([*shown, ""])))
        look = look_of(name, models or names)
        offset = 0.6 * ((turn + 0.5) / len(names) - 0.5)
        keys = [key for key in rows.select("layer", "score").rows() if key in lines]
        rows = pl.concat(
            [rows.filter((pl.col("layer") == layer) & (pl.col("score") == score)) for layer, score in keys]
        )
        y = np.array([lines.index(key) + offset for key in keys])
        axes.hlines(y, reals(rows, "low"), reals(rows, "high"), color=look["color"], linewidth=1.1, alpha=0.7)
        points = axes.scatter(reals(rows, "auroc"), y, s=26, linewidth=0, zorder=3, **look)
        chart.explain(
            points,
            [
                f"{name}, {texts[lines.index(key)]}: {words.coefficient(row['auroc'])} "
                f"({words.coefficient(row['low'])} to {words.coefficient(row['high'])}), {row['n_ood']} OOD "
                f"images against {row['n_in_distribution']}"
                for key, row in zip(keys, rows.to_dicts(), strict=True)
            ],
        )
    lowest = float(np.nanmin(reals(scored, "low"), initial=0.5))
    axes.axvline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_xlim(max(-0.02, lowest - 0.05), 1.02)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks(range(len(lines)), texts)
    axes.tick_params(axis="y", length=0)
    for border in range(1, len(lines), 3):
        axes.axhline(border - 0.5, color=FAINT, linewidth=0.5)
    axes.set_xlabel("AUROC (0.5: chance level; 1: perfect separation)")
    marks = [
        Line2D([], [], label=plain(name, 24), linestyle="none", **look_of(name, models or names)) for name in names
    ]
    chart.legend(handles=marks, loc="lower center", ncols=min(len(marks), 5), borderaxespad=0.3)
    return chart
