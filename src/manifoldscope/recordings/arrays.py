"""Arrays in files of other people, npy and npz: what they will take is known from their headers before it is taken."""

from __future__ import annotations

import math
import os
import struct
import sys
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import DataError
from manifoldscope.files import EXPANDS, LARGE, open_regular, require_memory, why
from manifoldscope.recordings.named import Found, Held, chosen

_NPY = b"\x93NUMPY"

_PIECE = 2**24


class _BrokenError(ValueError):
    """What is wrong with the content of a file, as its message."""


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of an npy file.

    Raises:
        DataError: no such file, no regular one, or none that np.save wrote; pickled objects; more than memory holds.
    """
    try:
        with open_regular(path) as file:
            return _array(file, os.fstat(file.fileno()).st_size)
    except (OSError, _BrokenError, MemoryError) as error:
        raise DataError(f"{path.name} cannot be read as npy ({why(error)})") from error


def read_npz(path: Path, points: str | None, labels: str | None) -> Found:
    """The points of an npz file, and the labels where it holds some; see `chosen` for which arrays those are.

    Raises:
        DataError: as for `read_npy`; or an archive that does not say which of its arrays holds the points.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            with zipfile.ZipFile(file) as archive:
                entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
                held = {name: _described(archive, entry) for name, entry in entries.items()}
                which = chosen(path.name, held, points, labels)
                return Found(
                    points=_entry(archive, entries[which.points], size),
                    labels=None if which.labels is None else _entry(archive, entries[which.labels], size),
                )
    except DataError:
        raise
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
        MemoryError,
    ) as error:
        raise DataError(f"{path.name} cannot be read as npz ({why(error)})") from error


def _described(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Held:
    """What an entry says of itself; one that cannot be read says why when it is asked for."""
    try:
        _require_deflated(entry)
        with archive.open(entry) as opened:
            dtype, shape, _ = _header(opened)
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return Held((), "no array")
    return Held(shape, "numbers" if dtype.kind in "iufb" else "text" if dtype.kind in "US" else f"values of {dtype}")


def _require_deflated(entry: zipfile.ZipInfo) -> None:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _BrokenError("it is compressed in another way than np.savez_compressed does")


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: int) -> npt.NDArray[Any]:
    _require_deflated(entry)
    with archive.open(entry) as opened:
        return _array(opened, entry.file_size, compressed=min(entry.compress_size, size))


def _array(file: IO[bytes], size: int, *, compressed: int | None = None) -> npt.NDArray[Any]:
    """The array that begins here, of a file or an entry of this size."""
    dtype, shape, by_columns = _header(file)
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes > size:
        raise _BrokenError(f"its header promises {n_bytes:,} bytes, and it holds {size:,}")
    if compressed is not None and n_bytes > max(LARGE, EXPANDS * compressed):
        raise _BrokenError(
            f"{n_bytes / 2**20:,.0f} MiB are compressed to {compressed / 2**20:,.1f}; save it by np.savez, uncompressed"
        )
    floats = math.prod(shape) * 8 if dtype.kind in "iufb" else 0  # a copy that is measured
    require_memory(n_bytes + floats)
    flat = np.empty(math.prod(shape), dtype)
    room = flat.view(np.uint8)
    for start in range(0, n_bytes, _PIECE):
        piece = file.read(min(_PIECE, n_bytes - start))
        if len(piece) < min(_PIECE, n_bytes - start):
            raise _BrokenError("it is cut short")
        room[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
    if file.read(1):  # at the end of an entry its checksum is compared
        raise _BrokenError("it holds more than its header says")
    if dtype.kind == "U" and (flat.view(dtype.str[0] + "u4") > sys.maxunicode).any():
        raise _BrokenError("it holds text with letters that there are not")
    return flat.reshape(shape, order="F" if by_columns else "C")


def _header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type, shape, and whether columns come first. Raises _BrokenError for what np.save does not write of numbers."""
    start = file.read(8)
    if not start.startswith(_NPY) or len(start) < 8:
        raise _BrokenError("it is of another format, or holds pickled objects, which could run code")
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if (reader := readers.get((start[6], start[7]))) is None:
        raise _BrokenError(f"it is of version {start[6]}.{start[7]} of the format; expected plain numbers or text")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Python 2 wrote it
            shape, by_columns, dtype = reader(file)
    except Exception as error:  # a literal of Python is parsed, which raises many kinds, RecursionError among them
        raise _BrokenError("its header is broken") from error
    if dtype.hasobject:
        raise _BrokenError("it holds pickled objects, which could run code")
    if dtype.itemsize == 0 or any(length < 0 for length in shape) or max(shape, default=0) >= 2**48 or len(shape) > 32:
        raise _BrokenError(f"its header is broken: shape {str(shape)[:60]} of {dtype}")
    return dtype, shape, bool(by_columns)
