"""Relate two columns of any table, with intervals and p-values."""

from __future__ import annotations

import argparse

from manifoldscope.cli.printing import print_table


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("table", metavar="TABLE", help=".csv or .tsv (UTF-8, with a header), or .parquet")
    parser.add_argument("--x", required=True, metavar="COLUMN")
    parser.add_argument("--y", required=True, metavar="COLUMN")
    parser.add_argument("--control", action="append", default=[], metavar="COLUMN", help="held fixed")
    parser.add_argument("--by", metavar="COLUMN", help="one answer for each value of this column")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def execute(options: argparse.Namespace) -> int:
    """Print one table."""
    from manifoldscope.evidence import associate_frame
    from manifoldscope.frames import read_frame

    frame = read_frame(options.table, numeric=[options.x, options.y, *options.control])
    found = associate_frame(
        frame, options.x, options.y, controls=tuple(options.control), by=options.by, seed=options.seed
    )
    print_table(found, as_json=options.json)
    return 0
