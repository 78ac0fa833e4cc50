"""Images that could not be read, and were left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Unreadable:
    """Of how many classes they are, and the images: image, class_name, reason."""

    n_classes: int
    images: tuple[Mapping[str, Any], ...]


def unreadable(skipped_images: pl.DataFrame) -> Unreadable | None:
    """The images of the table `skipped_images`; None where there are none."""
    if skipped_images.is_empty():
        return None
    return Unreadable(skipped_images["class_name"].n_unique(), tuple(skipped_images.to_dicts()))
