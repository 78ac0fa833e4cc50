"""Files of other people: opened only if they are regular files, read within a bound, digested as they are read."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

SHARE_OF_MEMORY = 0.9
"""Of the memory that is available, what one file may take."""

EXPANDS, LARGE = 100, 2**28
"""What is more than 256 MiB and was compressed to less than a hundredth holds hardly a number: it is refused."""

KINDS = (
    (stat.S_ISDIR, "it is a folder, not a file"),
    (stat.S_ISFIFO, "it is a named pipe, not a regular file"),
    (stat.S_ISSOCK, "it is a socket, not a regular file"),
    (stat.S_ISCHR, "it is a device, not a regular file"),
    (stat.S_ISBLK, "it is a device, not a regular file"),
)


class UnfitFileError(OSError):
    """What lies at a path cannot be read as a file; `strerror` says why. An OSError, so that readers explain it."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(errno.EINVAL, reason, str(path))


def open_regular(path: str | Path) -> BufferedReader:
    """A regular file, opened to be read as bytes; links are followed.

    Reading a pipe waits for ever and a device may never end, so neither is opened.

    Raises:
        OSError: there is no such file, or it may not be read.
        UnfitFileError: it is a folder, a pipe, a device or a socket.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket cannot be opened at all
            raise UnfitFileError(path, "it is a socket or a device, not a regular file") from None
        raise
    except ValueError:  # a null character
        raise UnfitFileError(repr(path), "its name holds a null character") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        reason = next((reason for matches, reason in KINDS if matches(mode)), "it is not a regular file")
        raise UnfitFileError(path, reason)
    return os.fdopen(descriptor, "rb")


def read_bytes(path: str | Path, *, at_most: int | None = None) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        at_most: bytes; a longer file is refused and not read.

    Raises:
        OSError: as for `open_regular`.
        UnfitFileError: also where the file is longer than `at_most`.
    """
    with open_regular(path) as file:
        if at_most is None:
            return file.read()
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise UnfitFileError(path, f"it is larger than {at_most / 2**20:,.0f} MiB")
    return content


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a regular file. Raises OSError as `open_regular` does."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
