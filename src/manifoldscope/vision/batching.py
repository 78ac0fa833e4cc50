"""How many images a network is given at a time: as many as were asked for, or as fit into memory."""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from manifoldscope.errors import ModelError
from manifoldscope.settings import check_setting


@dataclass
class BatchSize:
    """The number of images of one pass. It is halved, for good, where a pass runs out of memory.

    Attributes:
        wanted: what was asked for, at least 1.
        fits: what passes have now; `wanted` if omitted.
        halved: whether memory ran out.
    """

    wanted: int
    fits: int = 0
    halved: bool = False

    def __post_init__(self) -> None:
        check_setting(ModelError, "batch_size", self.wanted, int)
        if self.wanted < 1:
            raise ModelError(f"batch_size = {self.wanted}; expected at least 1 image at a time")
        self.fits = min(self.wanted, self.fits or self.wanted)

    def over(self, n: int, work: Callable[[slice], object]) -> None:
        """Do `work` on consecutive slices that cover 0..n. One that runs out of memory is done again in halves.

        Raises:
            ModelError: one image alone does not fit into memory.
        """
        start = 0
        while start < n:
            where = slice(start, min(start + self.fits, n))
            if _fits(work, where):
                start = where.stop
            else:
                self._halve()

    def whole(self, n: int, work: Callable[[slice], object]) -> None:
        """Do `work` on consecutive slices of `wanted`, for work that gives a network `fits` images at a time itself.

        Raises:
            ModelError: one image alone does not fit into memory.
        """
        for start in range(0, n, self.wanted):
            while not _fits(work, slice(start, min(start + self.wanted, n))):
                self._halve()

    def _halve(self) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.fits == 1:
            raise ModelError("one image at a time does not fit into memory; use a machine or a device with more of it")
        self.fits, self.halved = math.ceil(self.fits / 2), True
        warnings.warn(f"a batch did not fit into memory: it goes on with {self.fits} images at a time", stacklevel=4)


def _fits(work: Callable[[slice], object], where: slice) -> bool:
    """Do the work; False where memory runs out. What it held is free when this returns."""
    try:
        work(where)
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            return False
        raise
    return True


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, of a device or of the machine."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def bucket(n: int, most: int) -> int:
    """The smallest of a few sizes that is at least n, for n from 1 to most: its eighths, and below, halves of halves.

    Convolutions are prepared anew for each size of batch, which costs as much as some steps of an attack: batches that
    shrink should have few sizes.

    Example:
        >>> [bucket(n, 100) for n in (100, 51, 50, 20, 1)]
        [100, 65, 52, 26, 1]
    """
    eighth = math.ceil(most / 8)
    if n > eighth:
        return min(most, eighth * math.ceil(n / eighth))
    size = eighth
    while (half := math.ceil(size / 2)) >= n and half < size:
        size = half
    return size
