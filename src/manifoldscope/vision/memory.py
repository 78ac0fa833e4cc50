"""How much memory there is, what passes through a network take of it, and how many images therefore go at a time.

The memory of a process is its anonymous memory: what the system cannot drop and read again from a file.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from manifoldscope.vision.batching import out_of_memory
from manifoldscope.vision.gradient import pixel_gradient
from manifoldscope.vision.network import Network, undisturbed

SHARE = 0.9
"""Share of the available memory that a process takes, unless it is told how much."""

FILLED = 0.85
"""Share of what is left that batches fill: what passes take is known to about 15%."""

WORKSPACE = 48 * 2**20
"""Bytes that libraries take beside tensors: weights in other layouts, and buffers of their own."""

FORWARD, GRADIENT = 2.25, 1.15
"""What a process takes of memory for each byte of tensors, in passes without and with a gradient: a convolution lays
its input and output out anew, and freed memory has gaps (`python benchmarks/forecast.py`)."""

_CGROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, usage, and what of the usage is given back when asked, by the second and the first version of cgroups."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a pass of n images takes at its peak, beside the weights of the network: fixed + each n."""

    fixed: float
    each: float

    def of(self, n: int) -> float:
        """Bytes of n images at a time."""
        return self.fixed + self.each * n if n else 0.0

    def most(self, room: float) -> int:
        """How many images at a time take no more than so many bytes, perhaps 0."""
        return max(0, int((room - self.fixed) / max(self.each, 1.0)))


NOTHING = Footprint(0, 0)


def footprint(network: Network, pixels: Tensor, *, gradient: bool) -> Footprint:
    """What passes of a network take, from one of one image and one of two.

    Tensors are counted while they exist. On a GPU torch counts them, with the workspace of convolutions.

    Args:
        network: found again as it was.
        pixels: (n, channels, height, width) in [0, 1], at least one image.
        gradient: whether the gradient of a loss by the pixels is found, or only logits.
    """

    def work(n: int) -> Callable[[], None]:
        some = pixels[:1].to(network.device).expand(n, -1, -1, -1).clone()

        def attacked() -> None:
            leaf = some.requires_grad_(True)
            logits = network(leaf)
            pixel_gradient(network.name, F.cross_entropy(logits, logits.argmax(1), reduction="sum"), leaf)

        return attacked if gradient else lambda: _forward(network, some)

    with undisturbed(network):
        one, two = (peak_bytes(work(n), network.device) for n in (1, 2))
    each = max(two - one, 0)
    if network.device.type == "cuda":
        return Footprint(max(one - each, 0), each)
    return Footprint(WORKSPACE + max(one - each, 0), (GRADIENT if gradient else FORWARD) * each)


def _forward(network: Network, pixels: Tensor) -> None:
    with torch.no_grad():
        network(pixels)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """The most bytes that tensors made by `work` hold at one time."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before: int = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        peak: int = torch.cuda.max_memory_allocated(device)
        return peak - before
    with _Counting() as counted:
        work()
    return int(counted.peak)


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts the bytes of tensors from when they are made to when they go; those that were there before do not count.

    Attributes:
        peak: the most at one time.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks; to skip its compiler it would import it, for two seconds."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.peak = self._now = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for given in tree_leaves((args, kwargs)):
            self._note(given, counts=False)
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            self._note(each, counts=True)
        self.peak = max(self.peak, self._now)
        return made

    def _note(self, value: Any, *, counts: bool) -> None:
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            return
        storage = value.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            self._known[key] = storage.nbytes() if counts else 0
            self._now += self._known[key]
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._now -= self._known.pop(key)


class Memory:
    """How much a process may take, and how many images at a time that allows; passes are measured once.

    Args:
        limit: bytes of the whole process; by default `SHARE` of what is available, beside what the process has.

    Attributes:
        limit: see above.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = process_memory() + int(SHARE * available_memory()) if limit is None else limit
        self._measured: weakref.WeakKeyDictionary[torch.nn.Module, dict[Any, Footprint]] = weakref.WeakKeyDictionary()

    def footprint(self, network: Network, pixels: Tensor, *, gradient: bool) -> Footprint:
        """See `footprint`; measured the first time for images of one shape."""
        known = self._measured.setdefault(network.module, {})
        key = (gradient, tuple(pixels.shape[1:]))
        if key not in known:
            known[key] = footprint(network, pixels, gradient=gradient)
        return known[key]

    def room(self, device: torch.device) -> int:
        """Bytes that passes may still take on a device."""
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return int(SHARE * (free + unused))
        return int(FILLED * (self.limit - process_memory()))

    def batch(
        self, network: Network, pixels: Tensor, wanted: int, *, gradient: bool, beside: Footprint = NOTHING
    ) -> int:
        """How many images go through a network at a time: as many as wanted, or as memory allows, at least one.

        Where not even two can be tried out, it is as many as wanted: `BatchSize` has less and less of them tried.

        Args:
            network, pixels, gradient: see `footprint`.
            wanted: how many at most.
            beside: what is taken beside the passes, as by copies of the images or by what layers give.
        """
        try:
            law = self.footprint(network, pixels, gradient=gradient)
        except (MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                return wanted
            raise
        law = Footprint(law.fixed + beside.fixed, law.each + beside.each)
        if law.of(wanted) > self.room(network.device):
            give_back()
        if law.of(wanted) <= (room := self.room(network.device)):
            return wanted
        return max(1, min(wanted, law.most(room)))


def process_memory() -> int:
    """Bytes of memory that the process has now, less what is mapped from files; 0 where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return 0


def give_back() -> None:
    """Give memory that is free within the process back to the system, where its allocator can be asked to."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            return


def available_memory() -> int:
    """Bytes of memory that this process can still have: of the machine, and of the cgroups that it is in."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _reclaimable()
    except (ValueError, OSError, AttributeError):
        try:
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            free = 2**63
    return min([free, *(left for folder in _cgroups() if (left := _left_in(folder)) is not None)])


def _reclaimable() -> int:
    """Page cache that the system gives back when asked: Linux counts it as used."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return max(0, values["MemAvailable"] - values["MemFree"])
    except (OSError, KeyError, ValueError, IndexError):
        return 0


def _cgroups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """The folders that may hold the limit of a cgroup that the process is in, up to the root of all."""
    folders: list[Path] = [root]
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        inner = top / path.lstrip("/")
        folders += [inner, *(above for above in inner.parents if above == top or top in above.parents)]
    return list(dict.fromkeys(folders))


def _left_in(folder: Path) -> int | None:
    """Bytes that are left within the limit of a cgroup; None where it has none."""
    for limit, usage, reclaimable in _CGROUPS:
        try:
            most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
        except (OSError, ValueError):  # no such file, or "max"
            continue
        dropped = next((int(line.split()[1]) for line in lines if line.startswith(f"{reclaimable} ")), 0)
        return max(0, most - used + dropped)
    return None
