"""What commands print: lines in which no name may speak to the terminal, tables, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any, TextIO

from manifoldscope.errors import printable

if TYPE_CHECKING:
    from manifoldscope.report.story import Story

WIDTH = 110
"""Characters of a line."""


def say(text: str = "", *, file: TextIO | None = None) -> None:
    """Print a line, in which no name may speak to the terminal."""
    print(printable(text), file=file)


def wrapped(text: str) -> str:
    """Paragraphs that an empty line keeps apart, indented."""
    paragraphs = text.split("\n\n")
    return "\n".join(fill(part, width=100, initial_indent="  ", subsequent_indent="    ") for part in paragraphs)


def by_reason(failed: Mapping[str, str]) -> list[str]:
    """A line for each reason of a failure: the first unit that failed for it, and how many more did."""
    labels: dict[str, list[str]] = {}
    for label, reason in failed.items():
        labels.setdefault(reason, []).append(label)
    return [
        f"{first}, and {len(more)} more: {reason}" if more else f"{first}: {reason}"
        for reason, (first, *more) in labels.items()
    ]


def told(story: Story) -> list[str]:
    """The story of a study in at most fifteen lines: the question, the answer, how sure, and what would change it."""
    also = [line for text in story.also for line in _block(f"{text}.", 1)]
    lines = [*_block(story.question, 2), *_block(story.answer, 2), *also]
    sure = [text for text in (story.incomplete, *story.sure) if text]
    for heading, parts, most in (("How sure", sure, (2, 2, 1)), ("What would change it", story.change, (1, 1))):
        lines += [f"{heading}:"] * bool(parts)
        lines += [line for part, n in zip(parts, most, strict=False) for line in _block(part, n, "  ")]
    return lines


def _block(text: str, most: int, indent: str = "") -> list[str]:
    """The text in so many lines; where it is longer, to the end of a clause that fits, with an ellipsis."""

    def lines_of(part: str) -> list[str]:
        return wrap(part, width=WIDTH, initial_indent=indent, subsequent_indent=indent)

    lines = lines_of(text)
    if len(lines) <= most:
        return lines
    head = " ".join(line.strip() for line in lines[:most])[:-2]
    end = max(head.rfind(mark) for mark in ("; ", ". ", ", ", " ("))
    if head.rfind("(") > head.rfind(")"):  # none is left open
        end = head.rfind(" (")
    return lines_of(f"{head[: end if end > len(head) // 2 else len(head)].rstrip(' ;,.')} …")


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
