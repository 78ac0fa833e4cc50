"""Training, epoch by epoch: loss, accuracies and the manifolds as they form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from manifoldscope.report import words
from manifoldscope.report.explore.numbers import short, shorts
from manifoldscope.report.explore.view import VIEWS, Explored, placed
from manifoldscope.report.figures.training import training_table
from manifoldscope.report.figures.training_probes import accuracy_table
from manifoldscope.report.rows import reals
from manifoldscope.tables import WHOLE

MOST_EPOCHS = 100
"""Of one curve in the page."""

MOST_POINTS = 9_000
"""Epochs of all curves of one kind in the page together."""

MOST_VALUES = 30_000
"""Of single classes in the page."""


@VIEWS.register(
    "training",
    title="Training",
    caption=(
        "All plots share the epochs. The loss is the mean over training images of an epoch; dotted is ln(classes), the "
        "cross-entropy at chance level. Accuracies on training images are those that were judged while an adversarial "
        "training went on; others are on images that the network does not train on, where epoch 0 is the network "
        "before training. A measure is the mean over classes, with a band from the lowest to the highest class of the "
        "chosen network; chosen classes have lines of their own. Move the slider, or point at a plot, to read an epoch."
    ),
    place=70,
    script="training.js",
    missing="no network was trained here",
)
def training(page: Explored) -> dict[str, Any] | None:
    """Curves of each network by its position, and of each network, layer and measure ("n.l.m")."""
    tables = page.contents.tables
    epochs = training_table(placed(tables["training"], "model", page.networks, "n"))
    probed = placed(tables["training_accuracy"], "model", page.networks, "n")
    if epochs.is_empty() and probed.is_empty():
        return None
    accuracy = accuracy_table(probed)
    places = {name: place for place, name in enumerate(page.networks)}
    networks: dict[str, dict[str, Any]] = {}
    for name in [name for name in page.networks if name in {*epochs["model"], *accuracy["model"]}]:
        history, held_out = epochs.filter(model=name), accuracy.filter(model=name)
        networks[str(places[name])] = {
            "text": _sentence(name, history, held_out),
            **_history(history),
            "accuracy": _columns(
                _evenly(held_out),
                {
                    "clean": "clean_accuracy",
                    "robust": "robust_accuracy",
                    "low": "robust_accuracy_low",
                    "high": "robust_accuracy_high",
                },
            ),
        }
    probes = page.of_layers(tables["training_probes"]).filter(pl.col("value").is_finite())
    measures = _measures(probes)
    classes, complete = _classes(page, probed, probes, measures)
    return {
        "networks": networks,
        "measures": measures,
        "classes": classes,
        "left_out": _left_out(tables, probes, measures, epochs, complete=complete),
    }


def _history(rows: pl.DataFrame) -> dict[str, Any]:
    """What is known of the training images."""
    n_classes = rows["n_classes"].drop_nulls()
    judged = rows.filter(pl.col("n_images") > 0)
    gradients = rows.filter(pl.col("gradient_participation_ratio").is_finite())
    return {
        "loss": _columns(_evenly(rows), {"value": "loss"}),
        "chance": None if n_classes.is_empty() or n_classes[0] < 2 else short(math.log(n_classes[0])),
        "trained": _columns(
            _evenly(judged), {"pgd": "pgd_accuracy", "low": "pgd_low", "high": "pgd_high", "fgsm": "fgsm_accuracy"}
        ),
        "gradients": _columns(_evenly(gradients), {"value": "gradient_participation_ratio"}),
    }


def _columns(rows: pl.DataFrame, columns: Mapping[str, str]) -> dict[str, Any] | None:
    """Epochs and columns as numbers; None without rows, and a column without numbers is left out."""
    if rows.is_empty():
        return None
    values = {name: reals(rows, column) for name, column in columns.items()}
    found = {name: shorts(each, 4) for name, each in values.items() if np.isfinite(each).any()}
    return {"epoch": rows["epoch"].to_list(), **found} if found else None


def _evenly(rows: pl.DataFrame, most: int = MOST_EPOCHS) -> pl.DataFrame:
    """The rows of at most that many epochs, with the first and the last."""
    kept = _kept(rows["epoch"].unique().sort().to_list(), most)
    return rows.filter(pl.col("epoch").is_in(kept)).sort("epoch")


def _kept(epochs: Sequence[int], most: int) -> list[int]:
    if len(epochs) <= most:
        return list(epochs)
    return [epochs[round(step * (len(epochs) - 1) / (most - 1))] for step in range(most)]


def _measures(probes: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The mean, lowest and highest class by epoch; of a measure without classes, the value of the whole layer."""
    keys = ["n", "l", "m"]
    value = pl.col("value")
    spread = (value.mean().alias("mean"), value.min().alias("lowest"), value.max().alias("highest"))
    by_class = probes.filter(pl.col("class_index") != WHOLE).group_by([*keys, "epoch"]).agg(*spread)
    whole = probes.filter(pl.col("class_index") == WHOLE).join(by_class, on=[*keys, "epoch"], how="anti")
    every = pl.concat([by_class, whole.group_by([*keys, "epoch"]).agg(*spread)])
    parts = every.sort(*keys, "epoch").partition_by(keys, as_dict=True, maintain_order=True)
    most = max(3, min(MOST_EPOCHS, MOST_POINTS // max(1, len(parts))))
    columns = {name: name for name in ("mean", "lowest", "highest")}
    return {".".join(map(str, key)): _columns(_evenly(rows, most), columns) or {} for key, rows in parts.items()}


def _classes(
    page: Explored, probed: pl.DataFrame, probes: pl.DataFrame, measures: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """The values of single classes by epoch, as many as fit, and whether these are all.

    Keys are "n.clean" and "n.robust" for accuracies, and "n.l.m"; each has its epochs, and of every class a list.
    """
    found: dict[str, Any] = {}
    room, complete = MOST_VALUES, True
    shares = probed.with_columns(
        clean=pl.col("n_clean_correct") / pl.col("n_images"), robust=pl.col("n_robust") / pl.col("n_images")
    ).rename({"n": "_n"})
    curves = [
        (f"{key[0]}.{name}", _evenly(rows), name)
        for key, rows in shares.partition_by("_n", as_dict=True, maintain_order=True).items()
        for name in ("clean", "robust")
        if rows[name].is_not_null().any()
    ]
    parts = probes.filter(pl.col("class_index") != WHOLE).partition_by("n", "l", "m", as_dict=True)
    by_measure = sorted(parts.items(), key=lambda item: (item[0][2], item[0][1], item[0][0]))
    for key, rows in by_measure:
        name = ".".join(map(str, key))
        curves.append((name, rows.filter(pl.col("epoch").is_in(measures[name]["epoch"])), "value"))
    for name, rows, column in curves:
        epochs = rows["epoch"].unique().sort().to_list()
        size = len(epochs) * len(page.classes)
        if size > room:
            complete = False
            continue
        room -= size
        grid = np.full((len(page.classes), len(epochs)), np.nan)
        at = {epoch: place for place, epoch in enumerate(epochs)}
        for index, epoch, value in rows.select("class_index", "epoch", column).iter_rows():
            if index in page.class_position and value is not None:
                grid[page.class_position[index], at[epoch]] = value
        found[name] = {"epoch": epochs, "of": [shorts(values, 4) for values in grid]}
    return found, complete


def _sentence(name: str, history: pl.DataFrame, held_out: pl.DataFrame) -> str:
    """Where the training of a network ended."""
    parts = []
    if history.height:
        last = history.row(-1, named=True)
        parts.append(f"the training loss is {words.number(last['loss'])}")
        if last["pgd_accuracy"] is not None:
            parts.append(
                f"of {words.number(last['n_images'])} training images {_percent(last['pgd_accuracy'])} are classified "
                f"correctly under PGD and {_percent(last['fgsm_accuracy'])} under FGSM"
            )
    if held_out.height:
        last = held_out.row(-1, named=True)
        text = f"of {words.number(last['n_images'])} others {_percent(last['clean_accuracy'])} are classified correctly"
        if last["robust_accuracy"] is not None:
            text += f" when clean and {_percent(last['robust_accuracy'])} under PGD"
        parts.append(text)
    ends = {rows.row(-1, named=True)["epoch"] for rows in (history, held_out) if rows.height}
    return f"{name}, after {words.count(max(ends), 'epoch')}: {'; '.join(parts)}." if parts else ""


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{words.number(round(100 * share, 1))}%"


def _left_out(
    tables: Mapping[str, pl.DataFrame],
    probes: pl.DataFrame,
    measures: Mapping[str, Mapping[str, Any]],
    epochs: pl.DataFrame,
    *,
    complete: bool,
) -> str:
    parts = []
    if (
        tables["training_probes"].height
        and probes.height < tables["training_probes"].filter(pl.col("value").is_finite()).height
    ):
        parts.append("measures of layers that this page does not hold, or of whole layers")
    n_probed = probes["epoch"].n_unique()
    fewest = min((len(each["epoch"]) for each in measures.values()), default=n_probed)
    if epochs["epoch"].n_unique() > MOST_EPOCHS or fewest < n_probed:
        parts.append("some of the epochs")
    if not complete:
        parts.append("single classes of some measures")
    return f"Not in this page: {words.listing(parts)}; the tables of the training have them." if parts else ""
