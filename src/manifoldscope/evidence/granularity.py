"""How finely accuracy is known: by steps of one image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Granularity:
    """The number of images of the class that has the fewest."""

    n_images: int

    @property
    def step(self) -> float:
        """By how much one image moves the accuracy of its class."""
        return 1 / self.n_images

    @property
    def half_width(self) -> float:
        """Of the 95% interval at an accuracy of one half, where it is widest (normal approximation)."""
        return 1.96 * math.sqrt(0.25 / self.n_images)


def granularity(robustness: pl.DataFrame) -> Granularity | None:
    """That of the smallest class of the table `robustness`; None where no class has an image."""
    fewest = robustness["n_images"].drop_nulls().min()
    return Granularity(fewest) if isinstance(fewest, int) and fewest >= 1 else None
