"""Which values describe the sample: near the most that that many points can show, or lower with half of them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from manifoldscope.evidence.measures import describes_sample, near_ceiling, of_classes


@dataclass(frozen=True)
class OfSample:
    """The values of one measure, of classes and clean images.

    Attributes:
        values: how many there are; `bounded` of them have a ceiling.
        near_ceiling: how many are within 10% of it; `falls_when_halved`: how many fall clearly with half of the points.
        of_sample: how many describe the sample, for either reason.
        fewest_points: of any class.
    """

    measure: str
    parameters: str | None
    values: int
    near_ceiling: int
    falls_when_halved: int
    of_sample: int
    fewest_points: int | None
    bounded: int


def ceilings(geometry: pl.DataFrame) -> list[OfSample]:
    """How many values of each measure describe the sample; nothing where there are no values."""
    counted = (
        of_classes(geometry)
        .filter(pl.col("value").is_not_null())
        .group_by("measure", "parameters", maintain_order=True)
        .agg(
            pl.len().alias("values"),
            near_ceiling().sum().alias("near_ceiling"),
            pl.col("falls_when_halved").fill_null(False).sum(),
            describes_sample().sum().alias("of_sample"),
            pl.col("n_points").min().alias("fewest_points"),
            pl.col("ceiling").count().alias("bounded"),
        )
    )
    return [OfSample(**row) for row in counted.iter_rows(named=True)]
