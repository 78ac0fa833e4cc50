"""Check everything in a folder of results against what was written."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from manifoldscope.cli.printing import print_json, say


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print JSON instead")


def execute(options: argparse.Namespace) -> int:
    """Print what is damaged, half-written or not ours; 1 where something is damaged."""
    from manifoldscope.study.verify import verify

    found = verify(options.folder)
    if options.json:
        print_json(asdict(found))
        return 1 if found.problems else 0
    for problem in found.problems:
        say(f"damaged: {problem.path}{f' ({problem.label})' if problem.label else ''}: {problem.reason}")
        for label in problem.dependents:
            say(f"    {label} rests on it")
    for path in found.leftovers:
        say(f"half-written: {path}")
    for path in found.strangers:
        say(f"not ours: {path}")
    if found.unfinished:
        say("tables, figures and the report are being written, or were when a run was stopped: the next run does so")
    say(f"{found.n_whole} units whole, {len(found.problems)} damaged, {found.n_missing} missing; nothing was changed")
    if found.problems:
        say("`manifoldscope run` computes damaged units anew, and keeps what was there in damaged/")
    return 1 if found.problems else 0
