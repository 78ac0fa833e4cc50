"""Put finished studies side by side, with the same classes linked, on one page."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manifoldscope.cli.printing import say
from manifoldscope.errors import StoreError
from manifoldscope.files import open_regular, why

if TYPE_CHECKING:
    from manifoldscope.report.compare import Studied

_BEGINNING = 2_000  # bytes within which a page says what it is


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="the results of a study; two or more")
    parser.add_argument("--out", default="compare.html", metavar="FILE", help="the page; compare.html if omitted")


def execute(options: argparse.Namespace) -> int:
    """Write the page, and print the comparison in short."""
    from manifoldscope.report.compare import compare
    from manifoldscope.report.compared_page import page, summary

    _require_writable(Path(options.out))
    comparison = compare(_studied(options.folders))
    try:
        Path(options.out).write_text(page(comparison), encoding="utf-8", errors="replace")
    except OSError as error:
        raise StoreError(f"cannot write {options.out}: {why(error)}; give another --out") from None
    for line in summary(comparison):
        say(line)
    say(f"the page is in {options.out}")
    return 0


def _studied(folders: Sequence[str]) -> list[Studied]:
    """The studies under the names of their files, or of their folders where two have one name."""
    from manifoldscope.api import open_results
    from manifoldscope.report.compare import Studied
    from manifoldscope.study.store import Store
    from manifoldscope.tables import TABLES

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


def _require_writable(path: Path) -> None:
    """Raise StoreError where the page would replace a file that is no such page."""
    from manifoldscope.report.compared_page import MARK

    if not (path.exists() or path.is_symlink()):
        if not path.parent.is_dir():
            raise StoreError(f"cannot write {path}: there is no folder {str(path.parent)!r}; make it, or change --out")
        return
    try:
        with open_regular(path) as opened:
            ours = MARK.encode() in opened.read(_BEGINNING)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {why(error)}; give another --out") from None
    if not ours:
        raise StoreError(f"{path} is in the way: it is no comparison, and is not replaced; give another --out")
