"""Drafts: files and folders that appear whole or not at all, and whose remains are known when a process is killed."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from filelock import FileLock
from safetensors import SafetensorError

from manifoldscope.errors import StoreError
from manifoldscope.study.locks import drop, held, take

_DRAFT = ".draft-"
_WRITER = "writer-"


class Drafts:
    """What one process is writing below a folder, each draft beside the place where it will appear by a rename.

    A draft's name holds a token, and the process holds the lock of that token for as long as it writes: so what a
    killed process left is told from what another process is writing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._held: tuple[str, Path, FileLock] | None = None

    def beside(self, path: Path) -> Path:
        """A name for the draft of what will lie at `path`; nothing is made."""
        return path.parent / f"{_DRAFT}{self._token()}-{next(self._numbers)}"

    @contextmanager
    def file(self, path: Path) -> Iterator[Path]:
        """A draft to be written, which replaces `path` at the end, flushed to the disk before it appears."""
        draft = self.beside(path)
        try:
            yield draft
            flush(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def close(self) -> None:
        """This process writes no more."""
        if self._held is not None:
            _, path, lock = self._held
            self._held = None
            drop(path, lock)

    def sweep(self) -> None:
        """Remove the drafts of processes that have ended."""
        locks = self._folder / "locks"
        places = [self._folder, *_folders(self._folder), *_folders(self._folder / "units")]
        found = [(entry, entry.name.removeprefix(_DRAFT).split("-")[0]) for p in places for entry in _drafts_in(p)]
        ended = {token: not held(locks / f"{_WRITER}{token}") for _, token in found}
        for draft, token in found:
            if ended[token]:
                remove(draft)
        for path in locks.glob(f"{_WRITER}*"):
            if not held(path):
                path.unlink(missing_ok=True)

    def _token(self) -> str:
        while self._held is None:
            token = secrets.token_hex(8)
            path = self._folder / "locks" / f"{_WRITER}{token}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if (lock := take(path)) is not None:
                self._held = (token, path, lock)
        return self._held[0]


def is_draft(path: Path) -> bool:
    """Whether something is a draft, of this process or another."""
    return path.name.startswith(_DRAFT)


def remove(path: Path) -> None:
    """Remove a file, a link (not what it points to) or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Bring a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folders(place: Path) -> list[Path]:
    try:
        return [entry for entry in place.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except OSError:
        return []


def _drafts_in(place: Path) -> list[Path]:
    try:
        return [entry for entry in place.iterdir() if is_draft(entry)]
    except OSError:
        return []


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Say in one sentence why a folder of results cannot be written."""
    try:
        yield
    except (OSError, SafetensorError, pl.exceptions.PolarsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StoreError(
            f"cannot write to {folder}: {reason}; choose another folder with --out, or make room or give permission "
            "(what is already stored is kept)"
        ) from error
