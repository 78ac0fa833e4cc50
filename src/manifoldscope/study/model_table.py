"""Many networks in a few lines: a table of networks, or files that match a pattern, to entries of [[models]]."""

from __future__ import annotations

import csv
import glob
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from manifoldscope.errors import StudyError, shortened, unknown
from manifoldscope.files import read_bytes
from manifoldscope.frames import MISSING, SEPARATORS

COLUMNS = ("name", "source", "weights", "mean", "std")
"""Columns that are taken as they are, where the entry does not say otherwise."""

NUMBERS = ("mean", "std")

TEXTS = ("name", "source", "weights", "layers", *NUMBERS)
"""Keys in which a cell stays a text; elsewhere one that holds a number becomes it, where it is the whole value."""

MOST = 1000
"""Networks of one entry."""

LARGEST = 2**24
"""Bytes of a table, at most."""


def expanded(models: Any) -> Any:
    """Every entry that has a key `from` as one entry per row of that table, or per file; others as they are.

    A text may hold {COLUMN}, and {folder}, the folder of the table; for files {file}, {stem} and {folder}; so may texts
    in lists and tables. Columns called name, source, weights, mean and std are taken by themselves, as they are, and an
    empty cell is left out (in numbers also NA, nan and null), as is a table of nothing but empty cells. `only` names
    columns and the value, or the values, that rows must have.

    Raises:
        StudyError: a table that cannot be read, a column that is not there, no row, more than a thousand, one without
            a source, or two of one name.

    Example:
        >>> expanded([{"source": "small:cnn"}])
        [{'source': 'small:cnn'}]
    """
    return [entry for entry, _ in _with_origins(models)] if isinstance(models, list) else models


def origin_of(models: Any, place: int) -> str:
    """Where the network at a place of `expanded(models)` is from, in brackets; empty where it stands in the study file.

    Raises:
        StudyError: as `expanded`.
    """
    found = _with_origins(models) if isinstance(models, list) else []
    return f" ({found[place][1]})" if place < len(found) and found[place][1] else ""


def _with_origins(models: Sequence[Any]) -> list[tuple[Any, str]]:
    """Entries, and for people the row or file that each is from."""
    found: list[tuple[Any, str]] = []
    for entry in models:
        if not isinstance(entry, Mapping) or "from" not in entry:
            found.append((entry, ""))
            continue
        rows = list(_rows(entry))
        if not rows and not entry.get("only"):
            raise StudyError(
                f"models: from = {shortened(str(entry['from']))!r} gives 0 networks: no file matches it from the "
                "folder in which the command runs, or it is a table without a row; expected the path of a table "
                "(.csv, .tsv) or a pattern of files"
            )
        if not rows:
            raise StudyError(
                f"models: from = {shortened(str(entry['from']))!r} gives 0 networks: no row has all that only asks for"
            )
        if len(rows) > MOST:
            raise StudyError(
                f"models: from = {shortened(str(entry['from']))!r} gives {len(rows):,} networks; expected 1 to {MOST:,}"
            )
        networks = [_filled(entry, row, origin) for row, origin in rows]
        _refuse_equal_names(networks, [origin for _, origin in rows])
        found += [
            (network, origin if row.get("file") == origin else f"{origin}; its columns: {_listed(row)}")
            for network, (row, origin) in zip(networks, rows, strict=True)
        ]
    return found


def _refuse_equal_names(networks: Sequence[Mapping[str, Any]], origins: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for network, origin in zip(networks, origins, strict=True):
        name = str(network.get("name") or network["source"].rpartition(":")[2])
        if name in known:
            raise StudyError(
                f"models: two networks are called {name!r}: {known[name]} and {origin}; give each a name of its own in "
                'a column called name, or by name = "{COLUMN}" in the entry'
            )
        known[name] = origin


def _rows(entry: Mapping[str, Any]) -> Iterator[tuple[dict[str, str], str]]:
    where, only = entry["from"], entry.get("only", {})
    if not isinstance(where, str) or not isinstance(only, Mapping):
        raise StudyError("models: from is the path of a table or a pattern of files, and only names columns and values")
    path = Path(where).expanduser()
    if path.suffix.lower() in (".csv", ".tsv"):
        rows = _table(path)
    else:
        found = [str(path)] if path.is_file() else sorted(glob.glob(str(path), recursive=True))
        files = [file for file in map(Path, found) if file.is_file()]
        rows = [
            ({"file": str(file), "stem": file.stem, "folder": str(file.parent), "name": file.stem}, str(file))
            for file in files
        ]
    for column in only:
        for row, _ in rows:
            if column not in row:
                raise StudyError(f"models: only = {column!r}: {unknown('column', column, list(row))}")
    values = {column: list(map(str, each if isinstance(each, list) else [each])) for column, each in only.items()}
    for column, wanted in values.items() if rows else ():
        there = {row[column] for row, _ in rows}
        for value in wanted:
            if value not in there:
                raise StudyError(f"models: only = {column!r}: {unknown(column, value, there - {''})}")
    for row, origin in rows:
        if all(row[column] in wanted for column, wanted in values.items()):
            yield row, origin


def _table(path: Path) -> Sequence[tuple[dict[str, str], str]]:
    """Rows by column, spaces around cells left out, with the line of each."""
    try:
        text = read_bytes(path, at_most=LARGEST).decode("utf-8-sig")
    except OSError as error:
        raise StudyError(f"the table of networks {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise StudyError(f"the table of networks {path} is no UTF-8 text ({error.reason})") from None
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise StudyError(f"the table of networks {path} cannot be read: line {reader.line_num}: {error}") from None
    if not lines:
        raise StudyError(f"the table of networks {path} is empty; expected a line with the names of its columns")
    (_, columns), *rows = lines
    if len(columns) == 1 and (other := next((each for each in SEPARATORS if each in columns[0]), None)):
        raise StudyError(
            f"the table of networks {path} has its cells separated by {SEPARATORS[other]}; save it with "
            f"{SEPARATORS[delimiter]} between cells"
        )
    if twice := sorted({column for column in columns if column and columns.count(column) > 1}):
        raise StudyError(f"the table of networks {path} has two columns called {twice[0]!r}; rename one of them")
    found = []
    for line, cells in rows:
        if any(cells[len(columns) :]):
            raise StudyError(
                f"line {line} of the table of networks {path} has {len(cells)} cells, for {len(columns)} columns; put "
                f"a cell that holds {delimiter!r} in double quotes"
            )
        row = dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))
        row.pop("", None)
        found.append(({**row, "folder": str(path.parent)}, f"line {line} of {path}"))
    return found


def _listed(columns: Iterable[str]) -> str:
    return shortened(", ".join(column for column in columns if column != "folder"), 200)


def _filled(entry: Mapping[str, Any], row: Mapping[str, str], origin: str) -> dict[str, Any]:
    """The entry of one network."""
    own = {key: value for key, value in entry.items() if key not in ("from", "only")}
    taken = {column: row[column] for column in COLUMNS if row.get(column) and column not in own}
    told = taken | {key: _put_in(value, row, key) for key, value in own.items()}
    told = {key: _numbers(value) if key in NUMBERS else value for key, value in told.items()}
    told = {key: value for key, value in told.items() if value != ""}
    if not isinstance(told.get("source"), str):
        raise StudyError(
            f"models: a network has no source ({origin}; its columns: {_listed(row)}); give the entry "
            'source = "scheme:name", with columns in braces, or the table a column called source'
        )
    weights = told.get("weights")
    if isinstance(weights, str) and weights == row.get("weights") and not Path(weights).expanduser().is_file():
        beside = Path(row["folder"]) / weights
        if beside.is_file():
            raise StudyError(
                f"models: weights = {weights!r} is a file beside the table and not in the folder in which the command "
                f'runs ({origin}); give the entry weights = "{{folder}}/{{weights}}"'
            )
    return told


def _put_in(value: Any, row: Mapping[str, str], key: str) -> Any:
    """Names in braces replaced by the cells of the row, in texts and in lists and tables of them."""
    if isinstance(value, Mapping):
        told = {name: _put_in(each, row, f"{key}.{name}") for name, each in value.items()}
        left = {name: each for name, each in told.items() if each != ""}
        return left if left or not told else ""
    if isinstance(value, list):
        return [_put_in(each, row, key) for each in value]
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"([^{}]|\{[^{}]*\})*", value):
        raise StudyError(f"models: {key} = {shortened(value)!r} has braces that do not match; expected {{COLUMN}}")
    for name in re.findall(r"\{([^{}]*)\}", value):
        if name not in row:
            raise StudyError(f"models: {key} = {shortened(value)!r}: {unknown('column', name, list(row))}")
    filled = re.sub(r"\{([^{}]*)\}", lambda found: row[found[1]], value)
    alone = re.fullmatch(r"\{[^{}]*\}", value) and key.partition(".")[0] not in TEXTS
    return _number(filled) if alone else filled


def _number(cell: str) -> int | float | str:
    """The number in a cell, a whole one also where it is written as 10.0; as it is where it holds none.

    What says that there is none (NA, nan, null) is an empty cell.
    """
    if cell.lower() in MISSING:
        return ""
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        number = float(cell)
    except ValueError:
        return cell
    return int(number) if number.is_integer() else number


def _numbers(value: Any) -> Any:
    """Numbers in a cell, in brackets or not, between spaces, commas or semicolons; as it is where it holds none.

    What says that there is none is an empty cell, as in `_number`.
    """
    if not isinstance(value, str):
        return value
    if value.lower() in MISSING:
        return ""
    try:
        return [float(part) for part in re.split(r"[\s,;]+", value.strip(" []()"))]
    except ValueError:
        return value
