"""Manifolds as they form: accuracy and the measures of the study, epoch by epoch of a training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from manifoldscope.report import words
from manifoldscope.report.chart import FAINT, Chart, plain
from manifoldscope.report.contents import Contents, Measure
from manifoldscope.report.figure import FIGURES, Figure, Section
from manifoldscope.report.figures.panel import (
    MOST_LAYERS,
    MOST_MEASURES,
    MOST_MODELS,
    heading,
    in_order,
    look_of,
    percent_axis,
)
from manifoldscope.report.rows import number_range, of_measure, reals, with_interval
from manifoldscope.tables import WHOLE

SECTION = Section("training-probes", "How do the manifolds form during training?", place=165)


@FIGURES.register(
    "training_probes",
    section=SECTION,
    missing="no training was probed on its way (probe_every in the training of a network)",
)
def training_probes(contents: Contents) -> Iterator[Figure]:
    """Accuracy and the measures of each layer, epoch by epoch."""
    accuracy = accuracy_table(contents.tables["training_accuracy"])
    probes = contents.tables["training_probes"].filter(pl.col("value").is_finite())
    measures = contents.measures_in(probes)[:MOST_MEASURES]
    layers: list[str | None] = list(contents.layers_in(probes)[:MOST_LAYERS]) or [None]
    if accuracy.is_empty():
        return
    for layer in reversed(layers):  # the last layer first, where classes come apart
        table = measure_table(probes.filter(layer=layer)) if layer is not None else probes.head(0)
        yield Figure(
            name=words.slug("training_probes", layer or ""),
            title="Accuracy, epoch by epoch" if layer is None else f"Layer {layer} and accuracy, epoch by epoch",
            caption=_caption(accuracy, layer),
            chart=probes_by_epoch(accuracy, table, measures=measures, models=contents.models),
            table=accuracy if layer is None else table,
            more=layer != layers[-1],
        )


def _caption(accuracy: pl.DataFrame, layer: str | None) -> str:
    text = (
        f"The share of {number_range(accuracy['n_images'])} images, which the network does not train on, that is "
        "classified correctly after each probed epoch: clean (dashed)"
    )
    if accuracy["n_robust"].is_not_null().any():
        text += ", and at every iterate of PGD with ten steps (solid, with its 95% Wilson interval as a band)"
    text += ". Epoch 0 is the network before training."
    if layer is not None:
        text += (
            " The other panels: each measure of the class manifolds, as a mean over the classes; the band reaches from "
            "the lowest to the highest class. A measure that has no value for single classes is that of the layer. Not "
            "shown: how sure a value is and whether it would grow with more images, which the study says of the "
            "trained network."
        )
    return text


def accuracy_table(accuracy: pl.DataFrame) -> pl.DataFrame:
    """A row per network and epoch: images of all classes that are classified correctly, with 95% Wilson intervals."""
    table = accuracy.group_by("model", "epoch").agg(
        pl.col("n_images", "n_clean_correct").sum(),
        pl.when(pl.col("n_robust").null_count() == 0).then(pl.col("n_robust").sum()).alias("n_robust"),
        pl.col("epsilon").first(),
    )
    table = table.with_columns(
        clean_accuracy=pl.col("n_clean_correct") / pl.col("n_images"),
        robust_accuracy=pl.col("n_robust") / pl.col("n_images"),
    )
    return with_interval(table).sort("model", "epoch")


def measure_table(probes: pl.DataFrame) -> pl.DataFrame:
    """A row per network, measure and epoch of one layer: the mean, lowest and highest class; else the whole layer."""
    keys = ["model", "measure", "parameters", "epoch"]
    classes = probes.filter(pl.col("class_index") != WHOLE).group_by(keys).agg(*_spread(), pl.len().alias("n_classes"))
    whole = probes.filter(pl.col("class_index") == WHOLE).join(classes, on=keys, how="anti")
    alone = whole.group_by(keys).agg(*_spread(), pl.lit(None, dtype=classes.schema["n_classes"]).alias("n_classes"))
    return pl.concat([classes, alone]).sort(keys)


def _spread() -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    value = pl.col("value")
    return value.mean().alias("mean"), value.min().alias("lowest"), value.max().alias("highest")


def probes_by_epoch(
    accuracy: pl.DataFrame, table: pl.DataFrame, *, measures: Sequence[Measure], models: Sequence[str] = ()
) -> Chart:
    """Accuracy by epoch, and each measure of one layer; a colour per network.

    `accuracy` is `accuracy_table(...)` and `table` `measure_table(...)`.
    """
    names = in_order(accuracy["model"].unique().to_list(), models)[:MOST_MODELS]
    shown = [each for each in measures if of_measure(table, *each).height]
    columns = 2 if len(shown) == 3 else min(3, 1 + len(shown))
    chart = Chart(
        rows=math.ceil((1 + len(shown)) / columns),
        columns=columns,
        width=(4.6, 4.2, 3.0)[columns - 1],
        height=2.2,
        top=0.3,
        bottom=0.95,
        across=0.8,
        down=0.85,
    )
    _accuracies(chart, chart.flat[0], accuracy, names, models or names)
    for axes, each in zip(chart.flat[1:], shown, strict=False):
        _measures(chart, axes, of_measure(table, *each), words.measure(*each), names, models or names)
    first, last = int(reals(accuracy, "epoch").min()), int(reals(accuracy, "epoch").max())
    margin = 0.05 * (last - first) or 0.5
    for place, axes in enumerate(chart.flat):
        if place > len(shown):
            axes.set_axis_off()
            continue
        axes.set_xlim(first - margin, last + margin)
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    keys = [Line2D([], [], label=plain(name, 24), color=look_of(name, models or names)["color"]) for name in names]
    keys.append(Line2D([], [], color=FAINT, linestyle=(0, (4, 2)), linewidth=1.2, label="clean"))
    if accuracy["n_robust"].is_not_null().any():
        keys.append(Line2D([], [], color=FAINT, label="PGD"))
    chart.legend(handles=keys, loc="lower center", ncols=min(len(keys), 5), handlelength=2.4, borderaxespad=0.3)
    return chart


def _accuracies(chart: Chart, axes: Axes, accuracy: pl.DataFrame, names: Sequence[str], models: Sequence[str]) -> None:
    for name in names:
        line, look = accuracy.filter(pl.col("model") == name).sort("epoch"), look_of(name, models)
        low, high = reals(line, "robust_accuracy_low"), reals(line, "robust_accuracy_high")
        axes.fill_between(reals(line, "epoch"), low, high, color=look["color"], alpha=0.18, linewidth=0)
        for what, dash, count in (
            ("clean", (0, (4, 2)), "n_clean_correct"),
            ("robust", "-", "n_robust"),
        ):
            known = line.filter(pl.col(count).is_not_null())
            x, y = reals(known, "epoch"), reals(known, f"{what}_accuracy")
            axes.plot(x, y, color=look["color"], linestyle=dash, linewidth=1.8 if what == "robust" else 1.2, zorder=4)
            if known.height:
                points = axes.scatter(x, y, s=16, linewidth=0, zorder=5, **look)
                texts = [
                    f"{name}, epoch {row['epoch']}: {row[count]} of {row['n_images']} {_UNDER[what]}"
                    for row in known.iter_rows(named=True)
                ]
                chart.explain(points, texts)
    percent_axis(axes, label="Accuracy (%)")
    heading(axes, "accuracy")


_UNDER = {"clean": "clean", "robust": "under PGD"}


def _measures(
    chart: Chart, axes: Axes, table: pl.DataFrame, label: str, names: Sequence[str], models: Sequence[str]
) -> None:
    for name in names:
        line, look = table.filter(pl.col("model") == name).sort("epoch"), look_of(name, models)
        if line.is_empty():
            continue
        x, y, low, high = (reals(line, column) for column in ("epoch", "mean", "lowest", "highest"))
        axes.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
        axes.plot(x, y, color=look["color"], linewidth=1.8, zorder=4)
        points = axes.scatter(x, y, s=16, linewidth=0, zorder=5, **look)
        chart.explain(
            points, [f"{name}, epoch {epoch:.0f}: {words.number(value)}" for epoch, value in zip(x, y, strict=True)]
        )
    heading(axes, label)
