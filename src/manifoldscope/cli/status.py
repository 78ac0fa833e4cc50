"""Say what is done, running, failed and missing."""

from __future__ import annotations

import argparse

from manifoldscope.cli.printing import by_reason, print_json, say


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print JSON instead")


def execute(options: argparse.Namespace) -> int:
    """Print how far a study is; 1 where some units failed."""
    from manifoldscope.api import status

    found = status(options.folder)
    if options.json:
        print_json({**vars(found), "skipped_images": found.skipped_images.to_dicts()})
        return 1 if found.failed else 0
    counts = [("done", found.done), ("running", found.running), ("failed", found.failed), ("missing", found.missing)]
    say(", ".join(f"{len(labels)} {state}" for state, labels in counts))
    for label in found.running:
        say(f"running: {label}")
    for line in by_reason(found.failed):
        say(f"failed: {line}")
    for label in found.missing[:20]:
        say(f"missing: {label}")
    if len(found.missing) > 20:
        say(f"missing: ... and {len(found.missing) - 20} more")
    for row in found.skipped_images.iter_rows(named=True):
        say(f"skipped: {row['image']}: {row['reason']}")
    return 1 if found.failed else 0
