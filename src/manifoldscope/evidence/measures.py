"""Which measure an answer is about, and its values class by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from manifoldscope.tables import parameters_text

MAIN_MEASURE = "pca_dimension"
"""What the study's question is about, where it was measured."""

_MAIN_PARAMETERS = tuple(
    parameters_text({"fraction": 0.95, "scaling": scaling}) for scaling in (None, "standardise")
)  # the published one first
_NEAR_CEILING = 0.9


def of_measure(rows: pl.DataFrame, like: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of one measure with its parameters."""
    return rows.filter(
        (pl.col("measure") == like["measure"]) & pl.col("parameters").eq_missing(pl.lit(like["parameters"]))
    )


def main_measure(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of one measure: the PCA dimension at 95% where there is one, else the first by name."""

    def rank(known: tuple[str, str | None]) -> tuple[bool, int]:
        measure, parameters = known
        place = _MAIN_PARAMETERS.index(parameters) if parameters in _MAIN_PARAMETERS else len(_MAIN_PARAMETERS)
        return measure != MAIN_MEASURE, place

    known = rows.select("measure", "parameters").unique().sort("measure", "parameters").rows()
    measure, parameters = min(known, key=rank)
    return of_measure(rows, {"measure": measure, "parameters": parameters})


def of_classes(geometry: pl.DataFrame) -> pl.DataFrame:
    """The rows of `geometry` that are of one class, of clean images."""
    return geometry.filter((pl.col("class_index") >= 0) & (pl.col("attack").fill_null("") == ""))


def near_ceiling() -> pl.Expr:
    """Whether a value of the table "geometry" is within 10% of the most that that many points could show."""
    near = (pl.col("value") >= _NEAR_CEILING * pl.col("ceiling")) & (pl.col("ceiling") > 0)
    return near.fill_null(False)


def describes_sample() -> pl.Expr:
    """Whether a value of the table "geometry" describes the sample, or the width of the layer, and not the manifold."""
    return pl.col("describes_sample").fill_null(False)
