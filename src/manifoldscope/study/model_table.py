"""Many networks in a few lines: a table of networks, or files that match a pattern, to entries of [[models]]."""

from __future__ import annotations

import csv
import glob
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from manifoldscope.errors import StudyError, shortened, unknown
from manifoldscope.files import read_bytes

COLUMNS = ("name", "source", "weights", "mean", "std")
"""Columns that are taken as they are, where the entry does not say otherwise."""

NUMBERS = ("mean", "std")

MOST = 1000
"""Networks of one entry."""

LARGEST = 2**24
"""Bytes of a table, at most."""


def expanded(models: Any) -> Any:
    """Every entry that has a key `from` as one entry per row of that table, or per file; others as they are.

    A text may hold {COLUMN}, and {folder}, the folder of the table; for files {file}, {stem} and {folder}. Columns
    called name, source, weights, mean and std are taken by themselves, and an empty cell is left out. `only` names
    columns and the value, or the values, that rows must have.

    Raises:
        StudyError: a table that cannot be read, a column that is not there, no row, or more than a thousand.

    Example:
        >>> expanded([{"source": "small:cnn"}])
        [{'source': 'small:cnn'}]
    """
    if not isinstance(models, list):
        return models
    found: list[Any] = []
    for entry in models:
        if not isinstance(entry, Mapping) or "from" not in entry:
            found.append(entry)
            continue
        rows = list(_rows(entry))
        if not rows or len(rows) > MOST:
            raise StudyError(
                f"models: from = {shortened(str(entry['from']))!r} gives {len(rows):,} networks; expected 1 to {MOST:,}"
            )
        found += [_filled(entry, row) for row in rows]
    return found


def _rows(entry: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    where, only = entry["from"], entry.get("only", {})
    if not isinstance(where, str) or not isinstance(only, Mapping):
        raise StudyError("models: from is the path of a table or a pattern of files, and only names columns and values")
    path = Path(where).expanduser()
    if path.suffix.lower() in (".csv", ".tsv"):
        rows = _table(path)
    else:
        files = map(Path, sorted(glob.glob(str(path), recursive=True)))
        rows = [{"file": str(file), "stem": file.stem, "folder": str(file.parent), "name": file.stem} for file in files]
    for row in rows:
        for column in only:
            if column not in row:
                raise StudyError(f"models: only = {column!r}: {unknown('column', column, list(row))}")
        values = {column: wanted if isinstance(wanted, list) else [wanted] for column, wanted in only.items()}
        if all(row[column] in map(str, wanted) for column, wanted in values.items()):
            yield row


def _table(path: Path) -> Sequence[dict[str, str]]:
    try:
        text = read_bytes(path, at_most=LARGEST).decode("utf-8-sig")
    except OSError as error:
        raise StudyError(f"the table of networks {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise StudyError(f"the table of networks {path} is no UTF-8 text ({error.reason})") from None
    reader = csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    folder = {"folder": str(path.parent)}
    return [{**{key: value or "" for key, value in row.items() if key}, **folder} for row in reader]


def _filled(entry: Mapping[str, Any], row: Mapping[str, str]) -> dict[str, Any]:
    """The entry of one network."""
    own = {key: value for key, value in entry.items() if key not in ("from", "only")}
    taken = {column: row[column] for column in COLUMNS if row.get(column) and column not in own}
    told = {key: _put_in(value, row, key) for key, value in {**taken, **own}.items()}
    return {key: _numbers(value) if key in NUMBERS else value for key, value in told.items() if value != ""}


def _put_in(value: Any, row: Mapping[str, str], key: str) -> Any:
    """Names in braces replaced by the cells of the row, in texts and in lists of them."""
    if isinstance(value, list):
        return [_put_in(each, row, key) for each in value]
    if not isinstance(value, str):
        return value
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(value) if name is not None]
    except ValueError as error:
        raise StudyError(f"models: {key} = {shortened(value)!r} has braces that do not match ({error})") from None
    for name in names:
        if name not in row:
            raise StudyError(f"models: {key} = {shortened(value)!r}: {unknown('column', name, list(row))}")
    return re.sub(r"\{([^{}]*)\}", lambda found: row[found[1]], value)


def _numbers(value: Any) -> Any:
    """Numbers in a cell, between spaces, commas or semicolons; as it is where it holds none."""
    if not isinstance(value, str):
        return value
    try:
        return [float(part) for part in re.split(r"[\s,;]+", value.strip())]
    except ValueError:
        return value
