"""Put finished studies side by side, with the same classes linked, on one page."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manifoldscope.cli.pages import require_writable, write
from manifoldscope.cli.printing import say

if TYPE_CHECKING:
    from manifoldscope.report.compare import Studied


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="the results of a study; two or more")
    parser.add_argument("--out", default="compare.html", metavar="FILE", help="the page; compare.html if omitted")


def execute(options: argparse.Namespace) -> int:
    """Write the page, and print the comparison in short."""
    from manifoldscope.report.compare import compare
    from manifoldscope.report.compared_page import MARK, page, summary

    require_writable(options.out, MARK, "--out")
    comparison = compare(_studied(options.folders))
    write(options.out, page(comparison), "--out")
    for line in summary(comparison):
        say(line)
    say(f"the page is in {options.out}")
    return 0


def _studied(folders: Sequence[str]) -> list[Studied]:
    """The studies under the names of their files, or of their folders where two have one name."""
    from manifoldscope.api import open_results
    from manifoldscope.errors import StudyError
    from manifoldscope.report.compare import Studied
    from manifoldscope.study.store import Store
    from manifoldscope.tables import TABLES

    places = [Path(folder).absolute() for folder in folders]
    if twice := next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None):
        raise StudyError(f"{twice} is given twice; give each folder of results once")
    results = [open_results(folder) for folder in folders]
    studies = [tomllib.loads(Store(folder).plan()[1]["study"]) for folder in folders]
    names = [str(study.get("name") or result.folder.name) for study, result in zip(studies, results, strict=True)]
    if len(set(names)) < len(names):
        names = [result.folder.resolve().name for result in results]
    if len(set(names)) < len(names):
        names = [str(result.folder) for result in results]
    return [
        Studied(name, study, {table: result.table(table) for table in TABLES}, result.findings)
        for name, study, result in zip(names, studies, results, strict=True)
    ]
