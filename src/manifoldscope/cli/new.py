"""Print a built-in study, to edit."""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What follows the name of the command."""
    parser.add_argument("name", metavar="NAME", help="see: manifoldscope list studies")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of study files instead")


def execute(options: argparse.Namespace) -> int:
    """Print it as it stands."""
    from manifoldscope.study.loading import json_schema, preset_text

    print(json.dumps(json_schema(), indent=1) if options.schema else preset_text(options.name), end="")
    return 0
