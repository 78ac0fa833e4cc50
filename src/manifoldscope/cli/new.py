"""Print a built-in study, to edit."""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="see: manifoldscope list studies")
    parser.add_argument(
        "--schema",
        action="store_true",
        help="print the JSON schema of study files instead: every key, and what it is for",
    )


def execute(options: argparse.Namespace) -> int:
    """Print it as it stands."""
    from manifoldscope.errors import StudyError
    from manifoldscope.study.loading import json_schema, preset_names, preset_text

    if options.name is None and not options.schema:
        raise StudyError(f"new needs the name of a built-in study; there are: {', '.join(preset_names())}")
    print(json.dumps(json_schema(), indent=1) if options.schema else preset_text(options.name), end="")
    return 0
