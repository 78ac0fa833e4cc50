"""What foreign datasets say: how accuracy shifts on other images of known classes, and whether others are noticed."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from manifoldscope.evidence.answer import Finding, listed
from manifoldscope.evidence.proportions import difference
from manifoldscope.tables import near_chance

SCORES = {
    "max_softmax": "the largest softmax probability",
    "nearest_centre": "distance to the nearest class centre",
    "mahalanobis": "Mahalanobis distance",
    "residual": "residual outside the nearest class",
}
"""The scores of foreign images, in words."""


def beside_clean(shifted: pl.DataFrame) -> pl.DataFrame:
    """The table `shifted` with the change of accuracy of each class in `change`, and its 95% interval.

    `change_low` and `change_high` are Newcombe's, for images of the two datasets that are independent.
    """
    counts = (
        shifted[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        for name in ("n_correct", "n_images", "n_clean_correct", "n_clean")
    )
    low, high = difference(*counts)
    return shifted.with_columns(
        (pl.col("accuracy") - pl.col("clean_accuracy")).alias("change"),
        pl.Series("change_low", np.asarray(low), dtype=pl.Float64),
        pl.Series("change_high", np.asarray(high), dtype=pl.Float64),
    )


def shifts(shifted: pl.DataFrame, models: pl.DataFrame) -> list[Finding]:
    """How accuracy differs on each other dataset of the same classes; networks that guess when clean say nothing."""
    return [
        _shift(str(dataset), rows, models)
        for (dataset,), rows in shifted.group_by(["dataset"], maintain_order=True)
        if rows.height
    ]


def _shift(dataset: str, rows: pl.DataFrame, models: pl.DataFrame) -> Finding:
    pooled = beside_clean(
        rows.group_by("model", maintain_order=True)
        .agg(pl.col("n_images", "n_correct", "n_clean", "n_clean_correct").sum())
        .with_columns(
            (pl.col("n_correct") / pl.col("n_images")).alias("accuracy"),
            (pl.col("n_clean_correct") / pl.col("n_clean")).alias("clean_accuracy"),
        )
    )
    known = dict(models.select("model", "n_classes").iter_rows())
    sentences, changes = [], []
    for row in pooled.iter_rows(named=True):
        classes = beside_clean(rows.filter(pl.col("model") == row["model"]))
        if near_chance(row["clean_accuracy"], known.get(row["model"]) or classes.height):
            sentences.append(f"{row['model']} hardly does better than guess on the study's own images.")
            continue
        changes.append(row["change"])
        clear = classes.filter((pl.col("change_low") > 0) | (pl.col("change_high") < 0)).height
        worst = classes.sort("change", "class_index").row(0, named=True)
        sentences.append(
            f"{row['model']}: {row['accuracy']:.1%} of {row['n_images']} images, against {row['clean_accuracy']:.1%} "
            f"of {row['n_clean']} of the study's own: a change of {_points(row)}. Of {classes.height} classes, {clear} "
            f"{'has' if clear == 1 else 'have'} an interval that leaves out 0, where chance alone would make about "
            f"{0.05 * classes.height:.2g}; lowest is {worst['class_name'] or worst['class_index']}, {_points(worst)}."
        )
    low, high = min(changes, default=0.0), max(changes, default=0.0)
    if not changes:
        title = f"No network knows enough for its accuracy on {dataset} to say anything"
    elif len(changes) == 1:
        title = f"On {dataset} accuracy is {abs(low) * 100:.1f} points {'lower' if low < 0 else 'higher'}"
    else:
        title = f"On {dataset} accuracy changes by {low * 100:+.1f} to {high * 100:+.1f} points"
    return Finding(
        kind="shifted",
        title=title.replace("-", "\u2212") if len(changes) > 1 else title,
        text=" ".join(sentences),
        doubts=(
            "The lowest class is the lowest of several: part of its change is chance.",
            "The intervals take the images of the two datasets as independent, and not as the same photographs.",
            "A change may come from the images or from how they were labelled, sized and stored.",
        ),
        numbers=tuple(pooled.to_dicts()),
        weight=45,
    )


def _points(row: dict[str, Any]) -> str:
    """`+3.1 points (95%: -1.0 to 7.2)`, with real minus signs."""
    change, low, high = (100 * row[name] for name in ("change", "change_low", "change_high"))
    return f"{change:+.1f} points (95%: {low:.1f} to {high:.1f})".replace("-", "\u2212")


def detections(detection: pl.DataFrame) -> list[Finding]:
    """How well each dataset of other classes is told from known images, by each score and layer."""
    return [
        _noticed(str(dataset), rows)
        for (dataset,), rows in detection.group_by(["dataset"], maintain_order=True)
        if rows.height
    ]


def _noticed(dataset: str, rows: pl.DataFrame) -> Finding:
    sentences = []
    for (model,), found in rows.group_by(["model"], maintain_order=True):
        by_output = found.filter(pl.col("score") == "max_softmax").to_dicts()
        by_layer = found.filter(pl.col("score") != "max_softmax").sort("auroc", "layer", "score").to_dicts()
        parts = [f"by {SCORES['max_softmax']} {_area(row)}" for row in by_output]
        if by_layer:
            worst, best = by_layer[0], by_layer[-1]
            parts.append(
                f"by {len(by_layer)} distances from {_area(worst)} ({_where(worst)}) to {_area(best)} ({_where(best)})"
            )
        sentences.append(f"{model}: {listed(parts)}.")
    areas = rows["auroc"].to_list()
    first = rows.row(0, named=True)
    return Finding(
        kind="detection",
        title=f"Images of {dataset} are told from known ones with AUROCs of {min(areas):.2f} to {max(areas):.2f}",
        text=f"{' '.join(sentences)} {first['n_foreign']} foreign images against {first['n_known']} known ones; 0.5 is "
        "guessing, and below it foreign images look more familiar than known ones.",
        doubts=(
            "The best score was picked by looking at these very images; on others it may not be the best.",
            "Images of one dataset stand for no other: what is noticed may be their size, colours or storage, and "
            "not that their classes are unknown.",
            "Foreign is what the study file says; only the names of classes were compared.",
        ),
        numbers=tuple(rows.to_dicts()),
        weight=44,
    )


def _area(row: dict[str, Any]) -> str:
    return f"{row['auroc']:.2f} (95%: {row['low']:.2f} to {row['high']:.2f})"


def _where(row: dict[str, Any]) -> str:
    return f"{SCORES.get(row['score'], row['score'])}, {row['layer']}"
