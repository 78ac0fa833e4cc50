"""Files of MATLAB 5 to 7: numbers and text alone, nothing beyond what the file holds, and no other library.

The format: MathWorks, "MAT-File Format" (2024), chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import numpy as np
import numpy.typing as npt

from manifoldscope.files import EXPANDS, LARGE, require_memory
from manifoldscope.recordings.matlab_variables import (
    DTYPES,
    LONGEST,
    cell_refusal,
    complex_refusal,
    held_as,
    label_vector,
    refusal,
)
from manifoldscope.recordings.named import Found, chosen

_MATRIX, _COMPRESSED = 14, 15

_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of stored numbers, which may be narrower than those of the array."""

_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}

_CLASSES = (
    *("", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16", "uint16"),
    *("int32", "uint32", "int64", "uint64", "function", "opaque"),
)
"""Classes of arrays by their numbers."""

_COMPLEX, _LOGICAL = 0x0800, 0x0200

_BEGINNING = 4096
"""Bytes of a variable that hold what it is called, and its shape."""


@dataclass(frozen=True)
class _Element:
    """A stored piece: its type, and where its content lies."""

    kind: int
    start: int
    stop: int


@dataclass(frozen=True)
class _Variable:
    """What a variable says of itself: its class, shape and name, and where its content begins, within it."""

    name: str
    kind: str
    shape: tuple[int, ...]
    is_complex: bool
    content: int


def read_mat5(file: str, opened: BufferedReader, points: str | None, labels: str | None, *, order: str) -> Found:
    """As `matlab.read_mat`, for the versions before 7.3.

    Args:
        file: its name, for messages.
        opened: the file.
        points, labels: names of variables, or None to look for them.
        order: of the bytes in a number, "<" or ">".

    Raises:
        DataError: the file does not say which of its variables holds the points.
        ValueError, OSError: what else is wrong with the file.
    """
    places: dict[str, tuple[_Element, _Variable]] = {}
    for element in _elements(opened, order):
        variable = _Content(_beginning(opened, element), order).variable()
        if variable.name:
            places[variable.name] = element, variable
    held = {name: held_as(variable.kind, variable.shape) for name, (_, variable) in places.items()}
    which = chosen(file, held, points, labels)
    found = _numbers(opened, *places[which.points], order)
    if which.labels is None:
        return Found(found)
    element, variable = places[which.labels]
    if variable.kind in DTYPES:
        return Found(found, label_vector(_numbers(opened, element, variable, order)))
    return Found(found, _texts(opened, element, variable, order))


def _elements(opened: BufferedReader, order: str) -> Iterator[_Element]:
    """The variables of a file, where each begins and ends."""
    size, at = opened.seek(0, 2), 128
    while at + 8 <= size:
        opened.seek(at)
        kind, length = struct.unpack(order + "II", opened.read(8))
        if length > size - at - 8:
            raise ValueError("it is cut short")
        yield _Element(kind, at + 8, at + 8 + length)
        at += 8 + length


def _beginning(opened: BufferedReader, element: _Element) -> bytes:
    """As much of a variable as says what it is."""
    opened.seek(element.start)
    content = opened.read(min(_BEGINNING, element.stop - element.start))
    if element.kind == _COMPRESSED:
        try:
            return zlib.decompressobj().decompress(content, _BEGINNING)[8:]
        except zlib.error:
            raise ValueError("a compressed variable is damaged") from None
    return content if element.kind == _MATRIX else b""


def _whole(opened: BufferedReader, element: _Element, variable: _Variable, order: str) -> _Content:
    """All of a variable, if memory holds it beside the copy that is measured."""
    count = math.prod(variable.shape)
    opened.seek(element.start)
    if element.kind == _MATRIX:
        require_memory(element.stop - element.start + 16 * count)
        return _Content(opened.read(element.stop - element.start), order)
    compressed = element.stop - element.start
    unpacking = zlib.decompressobj()
    content = opened.read(compressed)
    try:
        size = struct.unpack(order + "II", unpacking.decompress(content, 8))[1]
        if size > max(LARGE, EXPANDS * compressed):
            raise ValueError(
                f"`{variable.name}` has {size / 2**20:,.0f} MiB, compressed to {compressed / 2**20:,.1f}; save it "
                "uncompressed, by save(..., '-v6') in MATLAB"
            )
        require_memory(compressed + 2 * size + 16 * count)
        unpacked = unpacking.decompress(unpacking.unconsumed_tail, size) if size else b""
    except (zlib.error, struct.error):
        raise ValueError(f"`{variable.name}` is compressed, and damaged") from None
    return _Content(unpacked, order)


def _numbers(opened: BufferedReader, element: _Element, variable: _Variable, order: str) -> npt.NDArray[Any]:
    if variable.kind not in DTYPES:
        raise refusal(variable.name, variable.kind)
    if variable.is_complex:
        raise complex_refusal(variable.name)
    whole = _whole(opened, element, variable, order)
    flat = whole.numbers(whole.element(variable.content), math.prod(variable.shape), variable.name)
    return flat.astype(DTYPES[variable.kind]).reshape(variable.shape, order="F")


def _texts(opened: BufferedReader, element: _Element, variable: _Variable, order: str) -> npt.NDArray[Any]:
    """The rows of a char array, or the cells of a cell array."""
    if variable.kind not in ("char", "cell"):
        raise refusal(variable.name, variable.kind)
    require_memory(200 * math.prod(variable.shape))
    whole = _whole(opened, element, variable, order)
    if variable.kind == "char":
        return np.array([line.rstrip() for line in whole.lines(variable)], dtype=str)
    texts, at = [], variable.content
    for _ in range(math.prod(variable.shape)):
        cell = whole.element(at)
        at = _padded(cell.stop)
        if cell.kind != _MATRIX:
            raise cell_refusal(variable.name)
        inside = whole.part(cell)
        if cell.stop == cell.start:  # as MATLAB writes []
            texts.append("")
            continue
        held = inside.variable()
        if held.kind != "char":
            raise cell_refusal(variable.name)
        lines = inside.lines(held) if math.prod(held.shape) else [""]
        if len(lines) != 1:
            raise cell_refusal(variable.name)
        texts.append(lines[0])
    return np.array(texts, dtype=str)


class _Content:
    """The bytes of a variable, read element by element."""

    def __init__(self, content: bytes | memoryview, order: str) -> None:
        self._content = memoryview(content)
        self._order = order

    def part(self, element: _Element) -> _Content:
        return _Content(self._content[element.start : element.stop], self._order)

    def element(self, at: int) -> _Element:
        """The element that begins here; `stop` is where its content ends."""
        if at + 8 > len(self._content):
            raise ValueError("it is cut short")
        kind, length = struct.unpack_from(self._order + "II", self._content, at)
        start = at + 8
        if kind >> 16:  # a small one, with its content in the tag
            kind, length, start = kind & 0xFFFF, kind >> 16, at + 4
            if length > 4:
                raise ValueError("it is damaged")
        if length > len(self._content) - start:
            raise ValueError("it is cut short")
        return _Element(kind, start, start + length)

    def variable(self) -> _Variable:
        """What the variable says of itself; one without a name where it is none that can be read."""
        if len(self._content) < 16:
            return _Variable("", "", (), is_complex=False, content=0)
        flags = self.element(0)
        if flags.kind != 6 or flags.stop - flags.start != 8:
            raise ValueError("it is damaged")
        bits = struct.unpack_from(self._order + "I", self._content, flags.start)[0]
        number = bits & 0xFF
        kind = _CLASSES[number] if number < len(_CLASSES) else "unknown"
        shape: tuple[int, ...] = ()
        at = _padded(flags.stop)
        if kind != "opaque":
            dimensions = self.element(at)
            n = (dimensions.stop - dimensions.start) // 4
            if dimensions.kind != 5 or not 2 <= n <= 32:
                raise ValueError("it is damaged")
            shape = struct.unpack_from(f"{self._order}{n}i", self._content, dimensions.start)
            if min(shape) < 0:
                raise ValueError("it is damaged")
            at = _padded(dimensions.stop)
        name = self.element(at)
        text = bytes(self._content[name.start : name.stop]).decode("latin-1")
        kind = "logical" if bits & _LOGICAL and kind in DTYPES else kind
        return _Variable(text, kind, shape, is_complex=bool(bits & _COMPLEX), content=_padded(name.stop))

    def numbers(self, element: _Element, count: int, name: str) -> npt.NDArray[Any]:
        """The numbers of an element, of which there must be so many."""
        stored = _STORED.get(element.kind)
        if stored is None or element.stop - element.start != count * np.dtype(stored).itemsize:
            raise ValueError(f"`{name}` is damaged: it does not hold {count:,} numbers")
        return np.frombuffer(self._content[element.start : element.stop], self._order + stored)

    def lines(self, variable: _Variable) -> list[str]:
        """The rows of a char array."""
        if len(variable.shape) != 2 or variable.shape[1] > LONGEST:
            raise ValueError(f"`{variable.name}` holds text that is no name of a class")
        element = self.element(variable.content)
        encoding = _TEXT.get(element.kind, "")
        if encoding in ("utf-16", "utf-32"):
            encoding += "-le" if self._order == "<" else "-be"
        try:
            text = bytes(self._content[element.start : element.stop]).decode(encoding or "ascii")
        except UnicodeDecodeError:
            raise ValueError(f"`{variable.name}` holds text that cannot be decoded") from None
        rows, columns = variable.shape
        if len(text) != rows * columns:
            raise ValueError(f"`{variable.name}` is damaged: it does not hold {rows * columns:,} letters")
        return [text[row::rows] for row in range(rows)]


def _padded(at: int) -> int:
    """Where the next element begins: at a multiple of 8 bytes."""
    return at + -at % 8
