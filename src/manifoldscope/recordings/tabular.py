"""Tables of points, csv, tsv and Parquet: one row a point, a column of labels, every other column a feature."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from manifoldscope.errors import DataError, shortened, unknown
from manifoldscope.files import require_memory, why
from manifoldscope.frames import read_frame, row_in_file
from manifoldscope.recordings.named import LABEL_NAMES, Found

EXACT = 2**53
"""Whole numbers up to this are float64; beyond, neighbouring ones become equal."""

_INDEX = ("", "__index_level_0__", "Unnamed: 0")
"""What pandas calls the numbers of the rows, where it writes them."""


_NUMBERED = re.compile(
    r"(.*[_. ])?(id|idx|index|row|number|nr|trial|block|run|session|subject|subj|participant|animal|mouse|monkey"
    r"|stimulus|stim|condition)([_. ](id|idx|index|number|nr|no))?",
    re.IGNORECASE,
)
"""What columns are called that number trials, subjects or conditions."""


def read_table(path: Path, points: str | None, labels: str | None, without: Sequence[str] = ()) -> Found:
    """The numeric columns of a table as points, and the column of labels where there is one.

    Args:
        path: .csv, .tsv or .parquet; see `read_frame`.
        points: not used by a table, all of whose other columns are features.
        labels: the column of labels; if omitted, the one called label, labels, class or class_name, if there is one.
        without: columns that are no features, such as the number of a trial.

    Warns:
        UserWarning: a feature looks as if it numbered rows, trials or subjects.

    Raises:
        DataError: no such file, no regular one, or no such table; a column that is not there; a feature that holds
            something else than finite numbers, or a label that is missing, with its column and row.
    """
    if points is not None:
        raise DataError(f"{path.name} is a table, whose numeric columns are the points; leave out --points {points}")
    frame = read_frame(path)
    for column in without:
        if column not in frame.columns:
            raise DataError(f"{path.name}: {unknown('column', column, frame.columns)}")
        if column == labels:
            raise DataError(f"{path.name}: column {column!r} is to be left out and to hold the labels; say one of both")
    frame = frame.drop(without)
    name = label_column(path, frame, labels)
    features = [column for column in frame.columns if column != name]
    if not features:
        beside = ", ".join(map(repr, [*without, *([] if name is None else [name])]))
        raise DataError(f"{path.name} has no column beside {beside}; expected one column per feature")
    try:
        require_memory(8 * len(features) * len(frame))
    except OSError as error:
        raise DataError(f"{path.name} cannot be read as a table: {why(error)}") from None
    found = np.empty((len(frame), len(features)), _dtype(frame, features))
    for place, column in enumerate(features):
        found[:, place] = _feature(path, frame[column])
    _require_finite(path, found, features)
    if doubtful := [column for column in features if _numbers_rows(frame[column])]:
        listed = ", ".join(map(repr, doubtful[:6])) + ", ..." * (len(doubtful) > 6)
        options = " ".join(f"--without {shlex.quote(column)}" for column in doubtful[:6])
        one = len(doubtful) == 1
        warnings.warn(
            f"{path.name}: {'column' if one else 'columns'} {listed} {'looks' if one else 'look'} like numbers of "
            f"rows, trials or subjects, and {'counts as a feature' if one else 'count as features'}; to leave "
            f"{'it' if one else 'them'} out: {options}",
            stacklevel=4,
        )
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


def _require_finite(path: Path, found: npt.NDArray[Any], features: Sequence[str]) -> None:
    """Raise DataError for NaN or infinity, with its column and the row of the file."""
    bad = ~np.isfinite(found)
    if not bad.any():
        return
    rows = bad.any(axis=1)
    row = int(rows.argmax())
    column = features[int(bad[row].argmax())]
    raise DataError(
        f"{path.name}: {int(rows.sum())} of {len(found)} points hold NaN, infinity or nothing (the first is row "
        f"{row_in_file(path, row)} of the file, in column {shortened(repr(column))}); leave such rows out, or such "
        "columns by --without COLUMN"
    )


def _numbers_rows(column: pl.Series) -> bool:
    """Whether a column holds whole numbers, and counts the rows or is called as one that numbers trials or subjects."""
    values = column.cast(pl.Float64)
    if len(values) < 3 or not bool((values == values.round()).all()):
        return False
    return bool((values.diff().drop_nulls() == 1).all()) or _NUMBERED.fullmatch(column.name.strip()) is not None


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
