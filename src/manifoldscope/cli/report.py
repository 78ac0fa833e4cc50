"""Rebuild tables, figures and report from the store alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from manifoldscope.cli.pages import require_writable, write
from manifoldscope.cli.printing import say


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--open", action="store_true", help="show it in a browser")
    parser.add_argument(
        "--select",
        metavar="PART=NAME,NAME",
        action="append",
        default=[],
        help="write another page, with these networks, layers, measures, attacks or classes to choose from; "
        "once for each name that has a comma in it",
    )
    parser.add_argument("--out", metavar="FILE", help="of --select (report-selected.html beside the report)")


def execute(options: argparse.Namespace) -> int:
    """Write it anew, and print where it is."""
    import webbrowser  # not above: `--help` would wait for it

    from manifoldscope.api import conclude, selected
    from manifoldscope.errors import StoreError, StudyError
    from manifoldscope.report.document import mark
    from manifoldscope.report.explore.selection import parsed
    from manifoldscope.report.page import SELECTION
    from manifoldscope.study.store import Store

    if options.out and not options.select:
        raise StudyError("--out names the page of --select; the report itself stands in its folder")
    if options.select:
        wanted = parsed(options.select)
        path = Path(options.out or Path(options.folder) / "report-selected.html")
        require_writable(str(path), mark(SELECTION), "--out")
        try:
            conclude(Store(options.folder))  # the files that the page names are there, and of the same results
        except StoreError as error:  # others' results can be read alone
            say(f"the files that the page names may be older than it: {error}", file=sys.stderr)
        write(str(path), selected(options.folder, wanted), "--out")
    else:
        path = conclude(Store(options.folder), anew=True)
    say(str(path))
    if options.open and not webbrowser.open(path.resolve().as_uri()):
        say("no browser could be started; open that file in one")
    return 0
