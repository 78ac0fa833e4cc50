"""Rebuild tables, figures and report from the store alone."""

from __future__ import annotations

import argparse
import webbrowser

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
    from manifoldscope.api import conclude, selected
    from manifoldscope.report.explore.selection import parsed
    from manifoldscope.study.store import Store

    if options.select:
        path = selected(options.folder, parsed(options.select), options.out)
    else:
        path = conclude(Store(options.folder), anew=True)
    say(str(path))
    if options.open and not webbrowser.open(path.resolve().as_uri()):
        say("no browser could be started; open that file in one")
    return 0
