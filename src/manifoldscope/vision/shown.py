"""How things are shown to people: counts in words, and small tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

MOST_ROWS = 20
"""Rows of a table in a notebook; how many more there are is said."""


def counted(n: int, one: str, many: str = "") -> str:
    """A number of things: "1 image", "1,797 images".

    Example:
        >>> counted(1, "image"), counted(1797, "image"), counted(0, "class", "classes")
        ('1 image', '1,797 images', '0 classes')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def html_table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as HTML, every text escaped; without headings where none are given."""
    listed = list(rows)
    head = "".join(f"<th>{escape(str(heading))}</th>" for heading in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in listed[:MOST_ROWS]
    )
    more = f"<p>and {len(listed) - MOST_ROWS:,} more</p>" if len(listed) > MOST_ROWS else ""
    return (
        f"<table><caption>{escape(caption)}</caption>"
        + (f"<thead><tr>{head}</tr></thead>" if headings else "")
        + f"<tbody>{body}</tbody></table>{more}"
    )
