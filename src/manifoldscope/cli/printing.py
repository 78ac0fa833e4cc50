"""What commands print: lines in which no name may speak to the terminal, tables, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from textwrap import fill
from typing import Any, TextIO

from manifoldscope.errors import printable


def say(text: str = "", *, file: TextIO | None = None) -> None:
    """Print a line, in which no name may speak to the terminal."""
    print(printable(text), file=file)


def wrapped(text: str) -> str:
    paragraphs = text.split("\n\n")
    return "\n".join(fill(part, width=100, initial_indent="  ", subsequent_indent="    ") for part in paragraphs)


def print_table(table: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(table.to_dicts())
        return
    columns = [name for name in table.columns if any(value not in (None, "") for value in table[name])]
    lines = [columns, *([_cell(value) for value in row] for row in table.select(columns).rows())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    """JSON as its standard has it: what is not a finite number is null."""

    def valid(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, Mapping):
            return {name: valid(item) for name, item in value.items()}
        return [valid(item) for item in value] if isinstance(value, list | tuple) else value

    print(json.dumps(valid(value), indent=1, allow_nan=False, default=str))  # dates and the like


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
