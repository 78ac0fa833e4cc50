"""Relate two columns of any table, with intervals and p-values."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manifoldscope.cli import pages
from manifoldscope.cli.printing import print_table, say

_DEPENDENT = "rows are not independent"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("table", metavar="TABLE", help=".csv or .tsv (UTF-8, with a header), or .parquet")
    several: dict[str, Any] = {"action": "append", "metavar": "COLUMN"}
    parser.add_argument("--x", required=True, help="may be given again: each x goes with each y", **several)
    parser.add_argument("--y", required=True, help="may be given again; p is adjusted for all pairs", **several)
    parser.add_argument(
        "--control", default=[], help="held fixed, as if measured without noise; may be given again", **several
    )
    parser.add_argument(
        "--second-draw",
        default=[],
        help="the controls in the same order, measured on the images of y where --control is measured on those of x",
        **several,
    )
    parser.add_argument(
        "--by", metavar="COLUMN", help="one answer for each value of this column; of text, also over all of them"
    )
    parser.add_argument(
        "--cells", metavar="COLUMN", help="in a long table: values of this column are outcomes that share their pairs"
    )
    parser.add_argument("--key", metavar="COLUMN", help="with --cells: what a pair is about, such as a class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    pages.add_report(parser)


def execute(options: argparse.Namespace) -> int:
    """Print one table, and with --report make a page of it."""
    import polars as pl

    from manifoldscope.errors import StudyError
    from manifoldscope.evidence import associate_frame, in_cells
    from manifoldscope.frames import read_frame
    from manifoldscope.report.associated import dependence

    if (options.cells is None) != (options.key is None):
        raise StudyError("--cells and --key go together: the outcomes of a long table, and what its pairs are about")
    if options.report:
        pages.require_report(options.report)
    x, y, held = options.x, options.y, [*options.control, *options.second_draw]
    frame = read_frame(options.table, numeric=[*x, *y, *held])
    if options.cells is not None:
        frame, y = in_cells(frame, y, cells=options.cells, key=options.key, kept=[*x, *held], by=options.by)
    pooled = options.by in frame.columns and frame[options.by].dtype in (pl.String, pl.Categorical, pl.Enum)
    found = associate_frame(
        frame,
        x,
        y,
        controls=tuple(options.control),
        second_draw=tuple(options.second_draw),
        by=options.by,
        pooled=pooled,
        seed=options.seed,
    )
    dependent = "" if options.cells is not None else dependence(frame, x=x, y=y, by=options.by, held=held)
    marked = pl.lit(True)
    if pooled and not dependent:
        dependent = _across_groups(frame, options.by, [*x, *y, *held])
        marked = pl.col("over") != "group"
    if dependent:
        say(f"warning: {dependent}", file=sys.stderr)
    if options.report:
        pages.write_report(options.report, _page(options, frame, x, y, found, dependent))
    if dependent:
        said = pl.concat_str(pl.col("note").replace("", None), pl.lit(_DEPENDENT), separator="; ", ignore_nulls=True)
        found = found.with_columns(note=pl.when(marked).then(said).otherwise("note"))
    print_table(found, as_json=options.json)
    return 0


def _across_groups(frame: Any, by: str, related: Sequence[str]) -> str:
    """Why rows of different groups are not independent; empty where nothing shows that.

    They are where a column, such as of classes, has each value once in a group and repeats them over groups.
    """
    import polars as pl

    for name in frame.columns:
        named = frame.filter(pl.col(name).is_not_null())
        if name in {*related, by} or frame.schema[name].is_float() or named.select(by, name).is_duplicated().any():
            continue
        n = named[name].n_unique()
        if 4 <= n <= named.height / 1.5:
            return (
                f"{frame.height} rows of all groups are of {n} different values of {name!r}: rows of the same one "
                "are not independent, and over all groups (pooled, within) intervals are usually too narrow and p too "
                f"small. Read each {by} by itself."
            )
    return ""


def _page(
    options: argparse.Namespace, frame: Any, x: Sequence[str], y: Sequence[str], found: Any, dependent: str
) -> str:
    from manifoldscope.report.associated import associated_parts, cautions
    from manifoldscope.report.small import small_page
    from manifoldscope.report.words import listing, number

    about = [
        ("Table", options.table),
        ("Rows", number(frame.height)),
        ("Related", f"{listing(list(y))} to {listing(list(x))}"),
        ("Held fixed", listing(options.control) if options.control else ""),
        ("Second draw", listing(options.second_draw) if options.second_draw else ""),
        ("Apart by", options.by or ""),
        ("Outcomes", f"{listing(options.y)} at each {options.cells}, of each {options.key}" if options.cells else ""),
        ("Seed", str(options.seed)),
    ]
    return small_page(
        kind="manifoldscope associate",
        title=Path(options.table).name,
        about=about,
        cautions=[*filter(None, [dependent]), *cautions(found.to_dicts())],
        parts=associated_parts(frame, found, x=x, y=y, by=options.by, key=options.key),
        table=found,
        row="one coefficient of two columns",
        command=pages.command_line(),
        versions=pages.versions("numpy", "scipy", "polars"),
    )
