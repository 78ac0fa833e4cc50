"""Distribution shift: accuracy per class on another dataset of the same classes."""

from __future__ import annotations

import polars as pl
from torch import nn

from manifoldscope.vision.images import ImageSet, as_image_set
from manifoldscope.vision.network import Network, logits, predicted


def accuracy_by_class(network: Network | nn.Module, images: ImageSet, *, batch_size: int = 128) -> pl.DataFrame:
    """Accuracy per class, as on another dataset of the same classes (distribution shift).

    Returns:
        One row per class: class_index, class_name, n_images, n_correct, accuracy.

    Raises:
        DataError: an image cannot be read.
    """
    images = as_image_set(images)
    predictions = predicted(logits(network, images, batch_size=batch_size))
    counted = pl.DataFrame(
        {"class_index": images.labels.tolist(), "correct": (predictions == images.labels).tolist()},
        schema={"class_index": pl.Int64, "correct": pl.Boolean},
    ).group_by("class_index")
    return (
        counted.agg(n_images=pl.len().cast(pl.Int64), n_correct=pl.col("correct").sum().cast(pl.Int64))
        .with_columns(
            class_name=pl.col("class_index").replace_strict(dict(images.class_names), return_dtype=pl.String),
            accuracy=pl.col("n_correct") / pl.col("n_images"),
        )
        .select("class_index", "class_name", "n_images", "n_correct", "accuracy")
        .sort("class_index")
    )
