"""Arrays in files of other people, npy and npz: what they will take is known from their headers before it is taken."""

from __future__ import annotations

import math
import os
import struct
import sys
import warnings
import zipfile
import zlib
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import DataError, printable, shortened
from manifoldscope.files import open_regular

SHARE_OF_MEMORY = 0.9
_NPY, _ZIP = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")

_EXPANDS, _LARGE = 100, 2**28
"""An array of more than 256 MiB that was compressed to less than a hundredth holds hardly a number: it is refused."""

_PIECE = 2**24


class _BrokenError(ValueError):
    """What is wrong with the content of a file, as its message."""


def read_array(path: Path) -> npt.NDArray[Any]:
    """The array of an npy file.

    Raises:
        DataError: no such file, no regular one, or none that np.save wrote; pickled objects; more than memory holds.
    """
    try:
        with open_regular(path) as file:
            if _beginning(file).startswith(_ZIP):
                raise DataError(f"{path.name} holds several arrays; expected one, saved by np.save")
            return _array(file, os.fstat(file.fileno()).st_size)
    except (OSError, _BrokenError, MemoryError) as error:
        raise DataError(f"{path.name} cannot be read as npy ({why(error)})") from error


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """Some arrays of an npz file by their names, those that are there; of an npy file its array, by the first name.

    Raises:
        DataError: as for `read_array`; or an archive without the first of the names.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if _beginning(file).startswith(_NPY):
                return {names[0]: _array(file, size)}
            if not _beginning(file).startswith(_ZIP):
                raise _BrokenError("it is of another format, or holds pickled objects, which could run code")
            with zipfile.ZipFile(file) as archive:
                entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
                if names[0] not in entries:
                    held = " ".join(printable(", ".join(entries)).split()) or "none"
                    raise DataError(f"{path.name} has no array `{names[0]}`; it has: {shortened(held)}")
                return {name: _entry(archive, entries[name], size) for name in names if name in entries}
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
    ) as e:
        raise DataError(f"{path.name} cannot be read as npz ({why(e)})") from e


def require_memory(n_bytes: int) -> None:
    """Raise OSError where so many bytes are more than the memory that is available."""
    if n_bytes > SHARE_OF_MEMORY * (available := _available_memory()):
        raise OSError(
            0, f"it takes {n_bytes / 2**30:,.1f} GiB of memory, and {available / 2**30:,.1f} GiB are available"
        )


def why(error: BaseException) -> str:
    """Why a file could not be read, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    if isinstance(error, MemoryError):
        return "it takes more memory than is available"
    if isinstance(error, KeyError):
        return "it was written by something else"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _beginning(file: BufferedReader) -> bytes:
    return file.peek(8)[:8]


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: int) -> npt.NDArray[Any]:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _BrokenError("it is compressed in another way than np.savez_compressed does")
    with archive.open(entry) as opened:
        return _array(opened, entry.file_size, compressed=min(entry.compress_size, size))


def _array(file: IO[bytes], size: int, *, compressed: int | None = None) -> npt.NDArray[Any]:
    """The array that begins here, of a file or an entry of this size."""
    dtype, shape, by_columns = _header(file)
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes > size:
        raise _BrokenError(f"its header promises {n_bytes:,} bytes, and it holds {size:,}")
    if compressed is not None and n_bytes > max(_LARGE, _EXPANDS * compressed):
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


def _available_memory() -> int:
    """Bytes of memory that a process may still take, or that the machine has where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            return 2**63
