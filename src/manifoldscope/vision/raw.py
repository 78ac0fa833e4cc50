"""Raw images: in memory, or in files that are decoded when they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from manifoldscope.errors import DataError
from manifoldscope.files import open_regular
from manifoldscope.vision.decoding import MAX_BYTES, decode, reason
from manifoldscope.vision.printable import printable


class RawImages(Protocol):
    """Images before any network's preprocessing: read one by one, by position."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Tensor:
        """Image `index`: (channels, height, width), uint8 in 0..255 or float32 in [0, 1]. Raises DataError."""
        ...

    def check(self, index: int) -> None:
        """Raise DataError where `read` would, as cheaply as that can be known."""
        ...

    def digest(self, index: int) -> bytes:
        """A SHA-256 of the image's content, as stored. What is read later has it, or DataError is raised."""
        ...

    def fingerprint(self) -> str:
        """A cheap text that changes when any image may have: file names, sizes and times, or a hash of the array."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images held in memory: (n, channels, height, width), uint8 or float32 in [0, 1]."""

    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, index: int) -> Tensor:
        return self.pixels[index]

    def check(self, index: int) -> None:
        """Pixels in memory can always be read."""

    def digest(self, index: int) -> bytes:
        image = self.pixels[index].contiguous()
        return hashlib.sha256(str(tuple(image.shape)).encode() + image.numpy().tobytes()).digest()

    def fingerprint(self) -> str:
        content = hashlib.sha256(str(tuple(self.pixels.shape)).encode())
        content.update(np.ascontiguousarray(self.pixels.numpy()).data)
        return content.hexdigest()


MAX_KEPT_BYTES = 32 * 2**20
"""Bytes of decoded images that a set of files keeps: a study reads an image five times or more. 10,000 of CIFAR."""


@dataclass(eq=False)
class _Kept:
    """Decoded images with the size and times of their files; those that come first stay, as passes repeat."""

    images: dict[int, tuple[tuple[int, int, int], Tensor]] = field(default_factory=dict)
    n_bytes: int = 0

    def get(self, index: int, status: tuple[int, int, int]) -> Tensor | None:
        """The image, if its file is still the same."""
        found = self.images.get(index)
        return found[1] if found is not None and found[0] == status else None

    def keep(self, index: int, status: tuple[int, int, int], image: Tensor) -> None:
        if index not in self.images and self.n_bytes + image.nbytes <= MAX_KEPT_BYTES:
            self.images[index] = (status, image)
            self.n_bytes += image.nbytes


@dataclass(frozen=True, eq=False)
class FileImages:
    """Images in files, decoded when they are read (see `decode`); the same contents each time, or an error.

    Once the digest of a file's content is known (by `check` or `digest`), every later read must have that digest. Once
    the `fingerprint` was taken, and as long as the content is not known, every read must find the file with the size
    and the times that it had then: of its content, and of its change of any kind, which cannot be set back. So a file
    that is replaced while a study runs never enters under its old name.

    Attributes:
        paths: the files, absolute or relative to `root`.
        root: the folder that relative paths start from; it enters no digest and no message.
    """

    paths: Sequence[Path | str]
    root: Path = Path()

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        with suppress(OSError, ValueError):  # a file that is gone is told by what reads it
            kept = self._kept.get(index, _status((self.root / self.paths[index]).stat()))
            if kept is not None:
                return kept
        content, status = self._content(index)
        image = self._decoded(index, content, small=False)
        self._kept.keep(index, status, image)
        return image

    def check(self, index: int) -> None:
        content, _ = self._content(index)
        self._decoded(index, content, small=True)
        self._remember(index, content)

    def digest(self, index: int) -> bytes:
        if not self._digests[index].any():
            self._remember(index, self._content(index)[0])
        return bytes(self._digests[index])

    def fingerprint(self) -> str:
        content = hashlib.sha256()
        for index, path in enumerate(self.paths):
            try:
                status = (self.root / path).stat()
                self._statuses[index] = _status(status)
                told = f"{path}\x1f{status.st_size}\x1f{status.st_mtime_ns}\n"
            except (OSError, ValueError):  # a link to nothing, say: it is skipped when it is drawn
                told = f"{path}\x1fgone\n"
            content.update(told.encode(errors="surrogatepass"))
        return content.hexdigest()

    @cached_property
    def _digests(self) -> npt.NDArray[np.uint8]:
        """(n, 32): the SHA-256 of each content; zeros where it is not known."""
        return np.zeros((len(self), 32), np.uint8)

    @cached_property
    def _statuses(self) -> npt.NDArray[np.int64]:
        """(n, 3): size and times of each file at the fingerprint; zeros where none was taken."""
        return np.zeros((len(self), 3), np.int64)

    def _remember(self, index: int, content: bytes) -> None:
        self._digests[index] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)

    @cached_property
    def _kept(self) -> _Kept:
        return _Kept()

    def _content(self, index: int) -> tuple[bytes, tuple[int, int, int]]:
        """The bytes of a file, and its size and times when they were read."""
        path = self.root / self.paths[index]
        try:
            with open_regular(path) as file:
                status = _status(os.fstat(file.fileno()))
                content = file.read(MAX_BYTES + 1)
        except (OSError, MemoryError) as error:
            raise DataError(f"{printable(path.name)} cannot be read: {reason(error)}") from error
        if len(content) > MAX_BYTES:
            raise DataError(f"{printable(path.name)} is larger than {MAX_BYTES // 2**20} MiB; it was not read")
        if self._digests[index].any():
            changed = hashlib.sha256(content).digest() != bytes(self._digests[index])
        else:
            changed = bool(self._statuses[index].any()) and status != tuple(self._statuses[index].tolist())
        if changed:
            raise DataError(
                f"{printable(path.name)} has changed since the study was planned; start again, so that it is planned "
                "with the images that are there now"
            )
        return content, status

    def _decoded(self, index: int, content: bytes, *, small: bool) -> Tensor:
        try:
            return decode(content, small=small)
        except Exception as error:  # a hostile file makes the decoder raise anything at all
            name = printable(Path(self.paths[index]).name)
            raise DataError(f"{name} cannot be read as an image: {reason(error)}") from error


def _status(found: os.stat_result) -> tuple[int, int, int]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
