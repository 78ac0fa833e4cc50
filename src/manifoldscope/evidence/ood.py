"""OOD detection, as facts: how well each score tells out-of-distribution images from in-distribution ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Score:
    """How well one score tells OOD images from in-distribution ones: the area under the ROC curve and its 95% interval.

    Attributes:
        layer: empty for the score of the output.
    """

    score: str
    layer: str
    auroc: float
    low: float
    high: float


@dataclass(frozen=True)
class Detected:
    """Every score of every network for one dataset of other classes.

    Attributes:
        networks: by name, the scores of the output and those of layers, each from the smallest area to the largest.
        rows: of the table `ood`.
    """

    dataset: str
    n_in_distribution: int
    n_ood: int
    networks: Mapping[str, tuple[Score, ...]]
    rows: tuple[Mapping[str, Any], ...]


def detections(detection: pl.DataFrame) -> list[Detected]:
    """How well each dataset of other classes is told from in-distribution images, by each score and layer."""
    found = []
    for (dataset,), rows in detection.group_by(["dataset"], maintain_order=True):
        first = rows.row(0, named=True)
        networks = {
            str(model): tuple(
                Score(*row)
                for row in mine.sort("auroc", "layer", "score")
                .select("score", pl.col("layer").fill_null(""), "auroc", "low", "high")
                .iter_rows()
            )
            for (model,), mine in rows.group_by(["model"], maintain_order=True)
        }
        found.append(
            Detected(str(dataset), first["n_in_distribution"], first["n_ood"], networks, tuple(rows.to_dicts()))
        )
    return found
