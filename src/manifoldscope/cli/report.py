"""Rebuild tables, figures and report from the store alone."""

from __future__ import annotations

import argparse

from manifoldscope.cli.printing import say


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("folder", metavar="DIR")


def execute(options: argparse.Namespace) -> int:
    """Write it anew, and print where it is."""
    from manifoldscope.api import conclude
    from manifoldscope.study.store import Store

    say(str(conclude(Store(options.folder), anew=True)))
    return 0
