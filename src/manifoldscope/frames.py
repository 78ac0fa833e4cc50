"""Tables in files of other people (csv, tsv, Parquet): a cell that is no number is named by row, column and content."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from manifoldscope.errors import DataError, printable, shortened
from manifoldscope.files import EXPANDS, LARGE, read_bytes, require_memory
from manifoldscope.footers import FooterError, parquet_size

MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "-nan", "null", "none"})
"""What a cell without a number holds, in small letters."""

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}

_EXACT = 2**53
"""Whole numbers up to this are float64; beyond, neighbouring ones become equal."""

_LONGEST_CELL = 1 << 17

_CELL = 80
"""Bytes that a cell of text takes while it is read, beside those in the file."""

_WHOLE = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?\d*\.?\d*")


def read_frame(path: str | Path, *, numeric: Iterable[str] = ()) -> pl.DataFrame:
    """A table from a .csv, .tsv or .parquet file.

    A csv file is UTF-8 with a header, and its cells are separated by commas (by tabs in a .tsv file). Columns in which
    every cell is a number or missing (empty, NA, N/A, nan, null) hold numbers, whole ones of any size; empty cells of
    the others are null. Spaces around a cell are no part of it.

    Args:
        path: the file itself; nothing in it is a pattern.
        numeric: columns that must hold numbers, where they are there.

    Raises:
        DataError: no such file, no regular one, or no such table; a cell of `numeric` that holds something else.
    """
    file = Path(path)
    try:
        content = read_bytes(file)
        if file.suffix.lower() == ".parquet" or content.startswith(b"PAR1"):
            return _parquet(content)
        return _csv(content, frozenset(numeric), separator=_separator(file))
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{file} cannot be read as a table: {reason[:1].lower()}{reason[1:]}") from None
    except MemoryError:
        raise DataError(f"{file} cannot be read as a table: it takes more memory than is available") from None
    except _BrokenError as error:
        raise DataError(f"{file} cannot be read as a table: {printable(str(error))}") from None


def row_in_file(path: str | Path, place: int) -> int:
    """Which row of the file a row of `read_frame` is, counted from 1; of text that is the line it ends in."""
    file = Path(path)
    content = read_bytes(file)
    if file.suffix.lower() == ".parquet" or content.startswith(b"PAR1"):
        return place + 1
    number: int = _rows(_text(content), _separator(file))[place + 1][0]  # the first is the header
    return number


def _separator(file: Path) -> str:
    return "\t" if file.suffix.lower() in (".tsv", ".tab") else ","


class _BrokenError(ValueError):
    """What is wrong with a table, as its message."""


def _parquet(content: bytes) -> pl.DataFrame:
    try:
        size = parquet_size(content)
    except FooterError:
        raise _BrokenError("it is no Parquet file, or a damaged one") from None
    if size.n_bytes > max(LARGE, EXPANDS * len(content)) or size.n_cells > max(LARGE, EXPANDS * len(content)):
        raise _BrokenError(
            f"{size.n_cells:,} cells of {size.n_bytes / 2**20:,.0f} MiB are compressed to "
            f"{len(content) / 2**20:,.1f} MiB; save it uncompressed"
        )
    require_memory(size.n_bytes + 16 * size.n_cells)
    try:
        return pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, TypeError, OverflowError):
        raise _BrokenError("it is no Parquet file, or a damaged one") from None


def _csv(content: bytes, numeric: frozenset[str], *, separator: str) -> pl.DataFrame:
    require_memory(4 * len(content) + _CELL * (content.count(separator.encode()) + content.count(b"\n")))
    rows = _rows(_text(content), separator)
    if not rows:
        raise _BrokenError("it is empty; expected a header and a row for each case")
    (_, cells), *body = rows
    header = [name.strip() for name in cells]
    _require_separator(header, separator)
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise _BrokenError(f"its header names the column {shortened(twice[0])!r} twice; give each its own name")
    if not body:
        raise _BrokenError("it has a header and no rows; expected a row for each case")
    for number, row in body:
        if len(row) != len(header):
            raise _BrokenError(f"row {number} has {len(row)} cells, and the header names {len(header)} columns")
    numbers = [number for number, _ in body]
    columns = zip(*(row for _, row in body), strict=True)
    return pl.DataFrame(  # by name: of a list, columns without one would be given one
        {name: _column(name, column, numbers, name in numeric) for name, column in zip(header, columns, strict=True)}
    )


def _text(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _BrokenError("its text is UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise _BrokenError(f"row {row} is not UTF-8 (perhaps Latin-1 or Windows-1252); save it as UTF-8") from None


def _rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, each with its number in the file, which is that of its last line."""
    before = csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        return [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        quoted = "quote" in str(error) or "delimiter" in str(error) or "unexpected end" in str(error)
        reason = "a quotation mark is not closed, or stands within a cell" if quoted else str(error)
        raise _BrokenError(f"row {reader.line_num}: {reason}") from None
    finally:
        csv.field_size_limit(before)


def _require_separator(header: list[str], separator: str) -> None:
    if len(header) == 1:
        for other, name in SEPARATORS.items():
            if other != separator and other in header[0]:
                raise _BrokenError(
                    f"its cells are separated by {name}; save it with {SEPARATORS[separator]} between cells and points "
                    "in numbers"
                )


def _column(name: str, cells: tuple[str, ...], numbers: list[int], required: bool) -> pl.Series:
    """Numbers where all cells are, and text otherwise."""
    given = pl.Series(name, cells, pl.String)
    found = given.cast(pl.Float64, strict=False)
    if found.null_count() or found.is_nan().any():  # otherwise no cell is missing, and looking at each takes longer
        given = pl.Series(
            name, [None if cell.strip().lower() in MISSING else cell.strip() for cell in cells], pl.String
        )
        found = given.cast(pl.Float64, strict=False)
    wrong = found.is_null() & given.is_not_null()
    if wrong.any():
        if required:
            place = int(wrong.arg_true()[0])
            raise _BrokenError(
                f"row {numbers[place]}, column {shortened(name)!r} holds {shortened(cells[place])!r}; expected a "
                "number, or nothing, NA or nan where there is none"
            )
        return pl.Series(name, [cell.strip() or None for cell in cells], pl.String)
    if given.null_count() == len(given):
        return found
    known = given.drop_nulls()
    if all(map(_WHOLE.fullmatch, known)):
        return _narrowest(given, (pl.Int64, pl.Int128), found)
    if bool((found.abs() > _EXACT).any()) and all(map(_DECIMAL.fullmatch, known)):
        digits = max(len(cell.partition(".")[2]) for cell in known)
        return _narrowest(given, (pl.Decimal(38, min(digits, 38)),), found)
    return found


def _narrowest(given: pl.Series, types: Iterable[pl.DataType | type[pl.DataType]], otherwise: pl.Series) -> pl.Series:
    """The first of these types that holds every number of a column."""
    for dtype in types:
        cast = given.str.strip_prefix("+").cast(dtype, strict=False)
        if cast.null_count() == given.null_count():
            return cast
    return otherwise
