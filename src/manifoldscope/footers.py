"""What a Parquet file says of its size in its footer, read before anything is unpacked.

The footer is `FileMetaData` in Thrift's compact protocol: https://parquet.apache.org/docs/file-format/metadata/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MAGIC = b"PAR1"
_DEEPEST = 20

# of FileMetaData, and of each RowGroup and SchemaElement in it
_SCHEMA, _N_ROWS, _ROW_GROUPS = 2, 3, 4
_N_BYTES = 2
_N_CHILDREN = 5


@dataclass(frozen=True)
class ParquetSize:
    """Rows, columns, and the bytes of all columns before compression."""

    n_rows: int
    n_columns: int
    n_bytes: int

    @property
    def n_cells(self) -> int:
        """Rows times columns."""
        return self.n_rows * self.n_columns


class FooterError(ValueError):
    """It is no Parquet file, or its footer is damaged."""


def parquet_size(content: bytes) -> ParquetSize:
    """The size of the table in a Parquet file.

    Raises:
        FooterError: it is no such file, or its footer is damaged.

    Example:
        >>> import io, polars as pl
        >>> pl.DataFrame({"x": [1.0, 2.0, 4.0], "y": [1, 2, 3]}).write_parquet(file := io.BytesIO())
        >>> size = parquet_size(file.getvalue())
        >>> size.n_rows, size.n_columns, size.n_bytes > 40
        (3, 2, True)
    """
    length = int.from_bytes(content[-8:-4], "little")
    if len(content) < 12 + length or not content.startswith(_MAGIC) or not content.endswith(_MAGIC):
        raise FooterError("it is no Parquet file")
    try:
        file = _Reader(content[-8 - length : -8]).fields()
        rows = int(file[_N_ROWS])
        n_bytes = sum(int(group[_N_BYTES]) for group in file[_ROW_GROUPS])
        n_columns = sum(1 for element in file[_SCHEMA] if not element.get(_N_CHILDREN))
        if rows < 0 or n_bytes < 0:
            raise FooterError("its footer holds a negative size")
    except FooterError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise FooterError("its footer is damaged") from error
    return ParquetSize(rows, n_columns, n_bytes)


class _Reader:
    """Structures of Thrift's compact protocol, as dictionaries by the number of their fields."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def fields(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise FooterError("its footer is nested too deeply")
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            found[number] = self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2:
                return kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                return self._bytes(8)
            case 8:
                return self._bytes(self._unsigned())
            case 9 | 10:
                head = self._byte()
                size = head >> 4 if head >> 4 < 15 else self._unsigned()
                if size > len(self._content) - self._at:
                    raise FooterError("its footer is damaged")
                of_bools = head & 15 in (1, 2)  # a whole byte each in a list
                return [self._byte() == 1 if of_bools else self._value(head & 15, depth + 1) for _ in range(size)]
            case 11:
                return self._map(depth)
            case 12:
                return self.fields(depth + 1)
        raise FooterError("its footer is damaged")

    def _map(self, depth: int) -> list[Any]:
        if not (size := self._unsigned()):
            return []
        kinds = self._byte()
        if size > len(self._content) - self._at:
            raise FooterError("its footer is damaged")
        return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(size)]

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

    def _unsigned(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise FooterError("its footer is damaged")

    def _byte(self) -> int:
        if self._at >= len(self._content):
            raise FooterError("its footer is cut short")
        self._at += 1
        return self._content[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        if size > len(self._content) - self._at:
            raise FooterError("its footer is cut short")
        self._at += size
        return self._content[self._at - size : self._at]
