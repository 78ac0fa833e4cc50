"""Tables: the contract between computing and concluding.

A schema stands with the rows that it is of: with the kind of unit that fills it, or with the code that makes its rows.
Names and types are stable. `conform` is the one door through which rows become a table.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import polars as pl

from manifoldscope.errors import ManifoldscopeError, unknown

WHOLE = -1
"""The class index of a row that is of a whole layer."""

TEXT, INTEGER, REAL, BOOLEAN = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()
"""The types of columns."""


@dataclass(frozen=True)
class Schema:
    """One table.

    Attributes:
        name: under which it is stored and read.
        row: what a row is.
        columns: their types, in order.
        identity: the columns that identify a row, and by which rows are sorted.
        optional: it is filled where a study asks for it; without rows, it is missed by nobody.
    """

    name: str
    row: str
    columns: Mapping[str, pl.DataType]
    identity: tuple[str, ...]
    optional: bool = False


class _Tables(Mapping[str, Schema]):
    """Those of every kind of unit, in the order of kinds, and then what evidence makes of them."""

    def known(self) -> dict[str, Schema]:
        """All of them, looked up once."""
        # by name: these rooms import this file
        schemas: dict[str, Schema] = {}
        for kind in import_module("manifoldscope.study.unit").kinds():
            for schema in kind.tables:
                if schema.name in schemas:
                    raise ManifoldscopeError(
                        f"the kind of unit {kind.kind!r} brings a table {schema.name!r}, which is there already; give "
                        "it another name"
                    )
                schemas[schema.name] = schema
        concluded: tuple[Schema, ...] = import_module("manifoldscope.evidence.concluded").TABLES
        return {**schemas, **{schema.name: schema for schema in concluded}}

    def __getitem__(self, name: str) -> Schema:
        return self.known()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.known())

    def __len__(self) -> int:
        return len(self.known())


TABLES = _Tables()
"""Every table, by name: those of plug-ins too, once they are loaded."""


def conform(table: str | Schema, rows: pl.DataFrame | Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The rows as a table: columns in their order and types, sorted by identity; an omitted column is null.

    Args:
        table: its schema, or its name.
        rows: what it holds.

    Raises:
        ManifoldscopeError: a table or a column that is not known, or a row that stands twice.
    """
    if isinstance(table, Schema):
        schema = table
    else:
        known = TABLES.known()
        if table not in known:
            raise ManifoldscopeError(unknown("table", table, known))
        schema = known[table]
    if isinstance(rows, pl.DataFrame):
        frame = rows
        strangers = set(frame.columns) - set(schema.columns)
    else:
        strangers = {column for row in rows for column in row} - set(schema.columns)
        frame = pl.DataFrame(
            {column: [row.get(column) for row in rows] for column in schema.columns}, schema=dict(schema.columns)
        )
    if strangers:
        raise ManifoldscopeError(f"table {schema.name}: {unknown('column', min(strangers), schema.columns)}")
    found = frame.select(
        (pl.col(column) if column in frame.columns else pl.lit(None)).cast(dtype).alias(column)
        for column, dtype in schema.columns.items()
    ).sort(schema.identity)
    each_once(found, schema)
    return found


def each_once(rows: pl.DataFrame, schema: Schema) -> None:
    """Refuse a table in which a row stands twice, by those of its identifying columns that are there.

    Raises:
        ManifoldscopeError: there are two.
    """
    told = [column for column in schema.identity if column in rows.columns]
    if told and rows.height > 1 and (twice := rows.select(told).is_duplicated()).any():
        first = rows.filter(twice).select(told).row(0, named=True)
        shown = ", ".join(f"{column} {value!r}" for column, value in first.items() if value is not None)
        raise ManifoldscopeError(
            f"table {schema.name}: {int(twice.sum())} rows are told twice or more, such as that of {shown}; give each "
            "once"
        )


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """The canonical short text of what defines a measure, attack or corruption: `key=value` in order, None omitted."""
    return " ".join(f"{key}={_text(value)}" for key, value in parameters.items() if value is not None)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def parquet(table: pl.DataFrame) -> bytes:
    """The table as a Parquet file."""
    content = io.BytesIO()
    table.write_parquet(content)
    return content.getvalue()
