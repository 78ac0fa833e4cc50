"""A small page about one table: what was measured or related, its pictures, and how to do it again. One file."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from manifoldscope.report import words
from manifoldscope.report.chart import Chart, inline, plain
from manifoldscope.report.document import cell, csv_link, mark, policy, template

MARK = mark("a small page")

ROWS_SHOWN = 200
CSV_BYTES = 500_000
"""A larger table is not carried in the page for downloading."""


@dataclass(frozen=True)
class Drawing:
    """A chart with its words.

    Attributes:
        title: what it shows.
        caption: how it is read, and what is known besides.
        chart: the drawing.
    """

    title: str
    caption: str
    chart: Chart


@dataclass(frozen=True)
class Part:
    """Drawings that belong together.

    Attributes:
        title: of the part.
        text: what is said of all of them.
        drawings: in their order.
    """

    title: str
    text: str
    drawings: Sequence[Drawing]


def small_page(
    *,
    kind: str,
    title: str,
    about: Sequence[tuple[str, str]],
    cautions: Sequence[str],
    parts: Sequence[Part],
    table: pl.DataFrame,
    row: str,
    command: str,
    versions: Mapping[str, str],
) -> str:
    """The page. It loads nothing and runs no script; the same arguments give the same text.

    Args:
        kind: what was done, above the title.
        title: the file that it was done with.
        about: name and value of what describes the data and the settings.
        cautions: reasons to read the numbers with care.
        parts: the drawings.
        table: what the command printed; columns without any value are left out.
        row: what a row of it is.
        command: what makes this page again.
        versions: of this software and what it stands on.
    """
    style = (importlib.resources.files("manifoldscope.report.templates") / "small.css").read_text("utf-8")
    kept = table.select(name for name in table.columns if any(value not in (None, "") for value in table[name]))
    numbered = iter(range(1, 10_000))
    text: str = template("small.html").render(
        mark=MARK,
        style=style,
        policy=policy(style),
        kind=kind,
        title=plain(title),
        about=[(name, plain(value)) for name, value in about if value],
        cautions=[plain(caution) for caution in cautions],
        parts=[
            {
                "title": part.title,
                "text": part.text,
                "drawings": [_view(each, next(numbered)) for each in part.drawings],
            }
            for part in parts
        ],
        row=row,
        columns=kept.columns,
        numeric=[dtype.is_numeric() for dtype in kept.dtypes],
        cells=[[cell(value) for value in line] for line in kept.head(ROWS_SHOWN).rows()],
        n_rows=words.number(table.height),
        csv=csv_link(table, CSV_BYTES),
        command=plain(command),
        versions=dict(versions),
    )
    return text


def _view(drawing: Drawing, number: int) -> dict[str, Any]:
    return {
        "title": plain(drawing.title),
        "caption": plain(drawing.caption),
        "svg": inline(drawing.chart.tree(), prefix=f"f{number}", description=drawing.title),
    }
