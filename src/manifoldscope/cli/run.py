"""Run what is missing of a study, and write its report."""

from __future__ import annotations

import argparse
import sys

from manifoldscope.cli.printing import by_reason, say, told


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("study", metavar="STUDY", help="a built-in study by name, or a TOML file")
    parser.add_argument("--out", metavar="DIR", help="folder of the results (runs/<name of the study>)")
    parser.add_argument(
        "--set",
        dest="changes",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change any key of the study file, by its dotted name: data.geometry.images_per_class=50",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="how much memory the process may take, as 4GiB or 500MB (most of what is available)",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def execute(options: argparse.Namespace) -> int:
    """Run it; 1 where some units failed."""
    from manifoldscope.api import run
    from manifoldscope.study.progress import Progress

    result = run(
        options.study,
        out=options.out,
        changes=options.changes,
        device=options.device,
        memory=options.memory,
        progress=Progress(quiet=options.quiet),
    )
    say()
    for line in told(result.story):
        say(line)
    say(f"\nreport: {result.report}")
    if result.failed:
        say(f"\nfailed ({len(result.failed)}):", file=sys.stderr)
        for line in by_reason(result.failed):
            say(f"  {line}", file=sys.stderr)
        return 1
    return 0
