"""Images in their order, some at a time; where a GPU works on some, threads read those that come next."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from manifoldscope.vision.images import ArrayImages, ImageSet
from manifoldscope.vision.network import Network

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
        self._network, self._images = network, images
        reads = network.device.type in ELSEWHERE and not isinstance(images.raw, ArrayImages)
        self._ahead = ahead if reads else 0
        self._n_taken = self._n_begun = 0
        self._pool = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) if self._ahead else None
        self._coming: deque[Future[Tensor]] = deque()
        self._read = torch.empty(0)

    @property
    def n_taken(self) -> int:
        """How many were given."""
        return self._n_taken

    def take(self, n: int) -> Tensor:
        """The next n, (n, channels, height, width) float32 in [0, 1], on the network's device; n at least 1.

        Raises:
            DataError: an image cannot be read, or differs in size from another and the network does not crop.
        """
        found = self._network.pixels(self._images, self._next(n)) if self._pool is None else self._from_threads(n)
        self._n_taken += n
        return found.to(self._network.device)

    def _next(self, n: int) -> slice:
        return slice(self._n_taken, self._n_taken + n)

    def _from_threads(self, n: int) -> Tensor:
        self._begin(self._n_taken + n)
        parts = [self._read] if len(self._read) else []
        while sum(map(len, parts)) < n:
            parts.append(self._coming.popleft().result())
        self._begin(self._n_taken + n + self._ahead)
        self._network.check_sizes(part.shape[1:] for part in parts)
        read = torch.cat(parts)
        self._read = read[n:].clone()
        return read[:n]

    def _begin(self, until: int) -> None:
        """Have threads read the images before this place."""
        assert self._pool is not None
        while self._n_begun < min(until, len(self._images)):
            piece = slice(self._n_begun, min(self._n_begun + PIECE, len(self._images)))
            self._coming.append(self._pool.submit(self._network.pixels, self._images, piece))
            self._n_begun = piece.stop
        if self._n_begun == len(self._images):
            self._pool.shutdown(wait=False)
