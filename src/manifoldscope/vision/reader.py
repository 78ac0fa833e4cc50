"""Images in their order, some at a time; where a GPU works on some, threads read those that come next."""

from __future__ import annotations

import os
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from manifoldscope.vision.raw import FileImages

PIECE = 8
"""Images that a thread reads at a time."""

THREADS = 4

ELSEWHERE = {"cuda", "mps"}
"""Devices whose work leaves the CPU free to read."""


class Reader:
    """The preprocessed images of a set, from the first to the last.

    Args:
        network: whose preprocessing it is, and on whose device they are wanted.
        images: n images.
        ahead: how many to read before they are asked for; where there are files to read, and a GPU works meanwhile.
    """

    def __init__(self, network: Network, images: ImageSet, *, ahead: int) -> None:
        self._network, self._images, self._ahead = network, images, ahead
        self._n_taken = self._n_begun = 0
        self._coming: deque[Future[Tensor]] = deque()
        self._read: list[Tensor] = []
        self._threads: ThreadPoolExecutor | None = None
        if network.device.type in ELSEWHERE and isinstance(images.raw, FileImages):
            self._threads = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))
            weakref.finalize(self, self._threads.shutdown, wait=False, cancel_futures=True)

    @property
    def n_taken(self) -> int:
        """How many were given."""
        return self._n_taken

    def take(self, n: int) -> Tensor:
        """The next n of those that are left, (n, channels, height, width) float32 in [0, 1], on the network's device.

        Raises:
            DataError: an image cannot be read, or differs in size from another and the network does not crop.
        """
        where = slice(self._n_taken, self._n_taken + n)
        direct = self._threads is None
        found = self._network.pixels(self._images, where) if direct else self._from_threads(where)
        self._n_taken = where.stop
        return found.to(self._network.device)

    def _from_threads(self, where: slice) -> Tensor:
        self._begin(where.stop)
        while sum(map(len, self._read)) < where.stop - where.start:
            self._read.append(self._coming[0].result())
            self._coming.popleft()
        self._begin(where.stop + self._ahead)
        self._network.check_sizes(part.shape[1:] for part in self._read)
        read = torch.cat(self._read)
        self._read = [read[where.stop - where.start :].clone()]
        return read[: where.stop - where.start]

    def _begin(self, until: int) -> None:
        """Have threads read the images before this place."""
        assert self._threads is not None
        while self._n_begun < min(until, len(self._images)):
            piece = slice(self._n_begun, min(self._n_begun + PIECE, len(self._images)))
            self._coming.append(self._threads.submit(self._network.pixels, self._images, piece))
            self._n_begun = piece.stop
