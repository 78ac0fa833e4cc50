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


def unreadable(set_aside: pl.DataFrame) -> Unreadable | None:
    """The images of the table `set_aside`; None where there are none."""
    if set_aside.is_empty():
        return None
    return Unreadable(set_aside["class_name"].n_unique(), tuple(set_aside.to_dicts()))
