"""Locks between processes: a file each, let go by the system when the process that holds it ends, however it ends."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from filelock import FileLock, Timeout


def take(path: Path) -> FileLock | None:
    """The lock at a path, held until `drop`; None where another process holds it.

    The file says who holds it, for messages alone.

    Raises:
        OSError: the file cannot be made.
    """
    if sys.platform != "win32" and held(path):
        return None  # some versions of filelock empty the file as they ask for it
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    path.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
    return lock


def drop(path: Path, lock: FileLock) -> None:
    """Let go, and leave no file behind."""
    path.unlink(missing_ok=True)
    lock.release()


def held(path: Path) -> bool:
    """Whether a process holds the lock now; nothing is written, so that it can be asked of a read-only folder."""
    if sys.platform == "win32":
        return path.exists()
    import fcntl  # of Unix alone

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def holder(path: Path) -> str:
    """Who holds the lock, as it says itself."""
    try:
        with path.open("rb") as file:
            return file.read(200).decode("utf-8", "replace") or "another process"
    except OSError:
        return "another process"
