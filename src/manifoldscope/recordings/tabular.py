"""Tables of points, csv, tsv and Parquet: one row a point, a column of labels, every other column a feature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from manifoldscope.errors import DataError, shortened, unknown
from manifoldscope.files import require_memory, why
from manifoldscope.frames import read_frame
from manifoldscope.recordings.named import LABEL_NAMES, Found

EXACT = 2**53
"""Whole numbers up to this are float64; beyond, neighbouring ones become equal."""

_INDEX = ("", "__index_level_0__", "Unnamed: 0")
"""What pandas calls the numbers of the rows, where it writes them."""


def read_table(path: Path, points: str | None, labels: str | None) -> Found:
    """The numeric columns of a table as points, and the column of labels where there is one.

    Args:
        path: .csv, .tsv or .parquet; see `read_frame`.
        points: not used by a table, all of whose other columns are features.
        labels: the column of labels; if omitted, the one called label, labels, class or class_name, if there is one.

    Raises:
        DataError: no such file, no regular one, or no such table; a column that is not there; a feature that holds
            something else than numbers, or a label that is missing, with its column and row.
    """
    if points is not None:
        raise DataError(f"{path.name} is a table, whose numeric columns are the points; leave out --points {points}")
    frame = read_frame(path)
    name = label_column(path, frame, labels)
    features = [column for column in frame.columns if column != name]
    if not features:
        raise DataError(f"{path.name} has no column beside {name!r}; expected one column per feature")
    try:
        require_memory(8 * len(features) * len(frame))
    except OSError as error:
        raise DataError(f"{path.name} cannot be read as a table: {why(error)}") from None
    found = np.empty((len(frame), len(features)), _dtype(frame, features))
    for place, column in enumerate(features):
        found[:, place] = _feature(path, frame[column])
    return Found(found, None if name is None else label_values(path, frame[name]))


def read_label_table(path: Path) -> npt.NDArray[Any]:
    """The labels in a table of their own: its only column, or the one with a usual name.

    Raises:
        DataError: as for `read_table`; or several columns, none of which is called label.
    """
    frame = read_frame(path)
    name = frame.columns[0] if frame.width == 1 else label_column(path, frame, None)
    if name is None:
        raise DataError(f"{path.name} has {frame.width} columns; expected one of them, called label, or no other")
    return label_values(path, frame[name])


def label_column(path: Path, frame: pl.DataFrame, name: str | None) -> str | None:
    """The column that holds the labels: the one that is named, or the one with a usual name; None where there is none.

    Raises:
        DataError: no such column, or several with a usual name.
    """
    if name is not None:
        if name not in frame.columns:
            raise DataError(f"{path.name}: {unknown('column', name, frame.columns)}")
        return name
    names = [column for column in frame.columns if column.strip().lower() in LABEL_NAMES]
    if len(names) > 1:
        raise DataError(
            f"{path.name} has the columns {' and '.join(map(repr, names))}; say which names the classes, as by --labels"
        )
    return names[0] if names else None


def label_values(path: Path, column: pl.Series) -> npt.NDArray[Any]:
    """Labels as (n,) whole numbers or text.

    Raises:
        DataError: a label that is missing, by its row.
    """
    if column.null_count():
        row = int(column.is_null().arg_true()[0])
        raise DataError(
            f"{path.name}: column {column.name!r} has no label for {column.null_count()} of {len(column)} points (the "
            f"first is point {row + 1}); leave such rows out"
        )
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    return column.to_numpy().astype(str) if column.dtype == pl.String else column.to_numpy()


def _dtype(frame: pl.DataFrame, features: list[str]) -> type[np.floating[Any]]:
    return np.float32 if all(frame[column].dtype == pl.Float32 for column in features) else np.float64


def _feature(path: Path, column: pl.Series) -> npt.NDArray[Any]:
    """Numbers; NaN where there is none."""
    name = shortened(repr(column.name))
    if column.name in _INDEX:
        raise DataError(f"{path.name}: column {name} numbers the rows, as pandas writes it; leave it out (index=False)")
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        text = column.dtype == pl.String
        first = f" ({shortened(repr(column.drop_nulls()[0]))})" if text and column.null_count() < len(column) else ""
        raise DataError(
            f"{path.name}: column {name} holds {'text' if text else column.dtype}{first}; expected numbers: leave it "
            "out, or name it as the labels"
        )
    found = column.cast(pl.Float64)
    if not column.dtype.is_float() and (largest := found.abs().max()) is not None and float(str(largest)) > EXACT:
        raise DataError(
            f"{path.name}: column {name} holds numbers up to {float(str(largest)):.3g}, of which float64 loses the "
            "last digits; subtract a constant from it first"
        )
    return found.fill_null(np.nan).to_numpy()
