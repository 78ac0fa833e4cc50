"""What every page is made with: its template, its mark, its security policy, and cells of tables."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import jinja2
import polars as pl

from manifoldscope.report import words
from manifoldscope.report.chart import plain


def template(name: str) -> jinja2.Template:
    """A template of `report/templates`, in which all text is escaped and nothing may be left out."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("manifoldscope.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def mark(kind: str) -> str:
    """What stands at the beginning of a page of one kind: by it a file is known as one that may be replaced.

    Example:
        >>> mark("a small page")
        '<meta name="generator" content="manifoldscope: a small page">'
    """
    return f'<meta name="generator" content="manifoldscope: {kind}">'


def policy(style: str, script: str = "") -> str:
    """The content security policy of a page: this style and this script, pictures that are in it, and nothing else."""
    parts = ["default-src 'none'", f"style-src '{digest(style)}'"]
    if script:
        return "; ".join([*parts, f"script-src '{digest(script)}'", "img-src data: blob:"])  # blob: what a script saves
    return "; ".join([*parts, "img-src data:"])


def digest(text: str) -> str:
    """How a policy names a style or a script: by its SHA-256."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}"


def cell(value: Any) -> str:
    """A value of a table in one line: four digits of a number, a dash where there is none."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return words.number(value, 4)
    return plain(str(value))


def csv_link(table: pl.DataFrame, most: int) -> str:
    """The table as an address for downloading it as CSV; empty without rows, or where it has more bytes than `most`."""
    if not table.height or table.estimated_size() >= 4 * most:
        return ""
    data = table.select(pl.exclude(pl.List, pl.Struct, pl.Object)).write_csv().encode("utf-8")
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(data).decode() if len(data) <= most else ""
