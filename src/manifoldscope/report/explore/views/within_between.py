"""A measure and robustness within networks, across their classes, beside between networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from manifoldscope.evidence import at_chance
from manifoldscope.evidence.networks_by_classes import levels_of
from manifoldscope.evidence.replicates import replicates
from manifoldscope.evidence.within_between import FEWEST_FOR_OTHERS
from manifoldscope.report import words
from manifoldscope.report.explore.cells import OUTCOMES
from manifoldscope.report.explore.numbers import short
from manifoldscope.report.explore.view import VIEWS, Explored, placed
from manifoldscope.report.findings.phrases import not_counted
from manifoldscope.report.findings.within_between import of_layer

MOST_SETTINGS = 1_500
"""Layers x measures x attacks x strengths x iterates x outcomes in the page."""

_SETTING = ["m", "a", "s", "i", "o"]
_REVERSAL = (
    "Simpson's reversal: the signs are opposite, and neither is small. What holds of networks must not be carried over "
    "to classes, nor the other way round."
)


@VIEWS.register(
    "within_between",
    title="Within and between networks",
    caption=(
        "Faint points are the classes of a network, with the least-squares line within it; large points are the means "
        "of networks over their classes, and the dashed line is the fit through these. Within r is the mean over "
        "networks by Fisher's z; its p is of these networks, with the classes permuted in all of them together, and is "
        "adjusted for the layers of the same setting. r between is not tested. How hard classes are when clean is not "
        "held fixed. Choose a network to see its classes."
    ),
    place=50,
    script="within_between.js",
    missing="fewer than two networks above chance level have an association across their classes",
)
def within_between(page: Explored) -> dict[str, Any] | None:
    """What the table says of each layer, measure, attack, strength, iterate and outcome ("l.m.a.s.i.o").

    `groups` has of each network the position of the first one that counts as the same between networks.
    """
    rows = _rows(page)
    if rows.is_empty():
        return None
    names = replicates(page.contents.tables["models"])
    counted = [names.get(name, name) for name in page.networks]
    excluded = at_chance(page.contents.tables["models"])
    return {
        "settings": dict(_settings(rows.head(MOST_SETTINGS))),
        "groups": [counted.index(name) for name in counted],
        "group_names": counted,
        "said": " ".join(
            filter(
                None,
                [_of_others(rows), not_counted({name: excluded[name] for name in page.networks if name in excluded})],
            )
        ),
        "left_out": ""
        if rows.height <= MOST_SETTINGS
        else f"This page holds {words.number(MOST_SETTINGS)} of {words.number(rows.height)} settings; the table "
        "within_between has all.",
    }


def _rows(page: Explored) -> pl.DataFrame:
    """The rows with nothing held fixed, with columns l, m, a, s, i and o; those of the first outcome first."""
    table = page.contents.tables["within_between"]
    table = table.filter((pl.col("controls").fill_null("") == "") & pl.col("within").is_finite())
    table = table.with_columns(
        n_layers=pl.len().over("measure", "parameters", "attack", "strength", "iterate", "outcome")
    )
    table = table.with_columns(
        measure_text=pl.concat_str("measure", pl.col("parameters").fill_null(""), separator="\n")
    )
    table = placed(placed(table, "layer", page.layers, "l"), "outcome", list(OUTCOMES), "o")
    table = placed(table, "measure_text", ["\n".join(each) for each in page.measures], "m")
    return page.under_attacks(table).sort("o", "i", "m", "a", "s", "l")


def _settings(rows: pl.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in rows.iter_rows(named=True):
        text = of_layer(levels_of(row, row["n_layers"]))
        yield (
            ".".join(str(row[name]) for name in ("l", *_SETTING)),
            {
                "within": short(row["within"]),
                "between": short(row["between"]),
                "reversal": bool(row["reversal"]),
                "text": f"{text} {_REVERSAL}" if row["reversal"] else text,
            },
        )


def _of_others(rows: pl.DataFrame) -> str:
    if rows["within_low"].is_not_null().any():
        return ""
    return f"Nothing is said of other networks: that takes at least {FEWEST_FOR_OTHERS}."
