"""CUDA graphs: a gradient as two launches instead of hundreds, in which small networks lose their time on a GPU."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

Pass = Callable[[Tensor], Tensor]

OFTEN = 4
"""A shape of batch is recorded when it comes for this time: one that is rare would not earn what recording costs."""

SOONER = 0.9
"""Share of the time of a gradient as it is that a replayed one may take."""

SAME = 1e-3
"""Share of the largest value by which what is replayed may differ from what it stands for."""


class Recorded(nn.Module):
    """A module whose gradients with respect to its inputs are replayed from a recording, where that is quicker.

    Each shape of inputs that comes `OFTEN` times is recorded. A recording is used if it gives the same output and
    gradient as the module for inputs that it was not made with, and faster; the module itself is asked where there is
    none, and where no gradient is wanted. Where one can't be made, or memory runs out, no other is tried. A gradient
    must be taken before the module is asked for another, and is no function of the inputs that could be derived again.

    Recordings keep memory of their own, which they share among each other: some gradients' worth of the largest shape.

    Args:
        module: in evaluation mode, on a GPU; (n, ...) to logits (n, n_classes).
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._seen: Counter[Any] = Counter()
        self._recordings: dict[Any, Pass] = {}
        self._records = True
        self._memory: Any = None

    def forward(self, inputs: Tensor) -> Tensor:
        """What the module gives."""
        if not (torch.is_grad_enabled() and inputs.requires_grad):
            return self._asked(inputs)
        kind = inputs.shape, inputs.dtype
        self._seen[kind] += 1
        if self._seen[kind] == OFTEN and self._records:
            self._record(inputs.detach())
        recording = self._recordings.get(kind)
        if recording is None:
            return self._asked(inputs)
        # A replay writes over what the one before gave: the product gives a gradient of its own, the copy an output.
        return recording(inputs * 1).clone()

    def _asked(self, inputs: Tensor) -> Tensor:
        try:
            found: Tensor = self.module(inputs)
        except torch.OutOfMemoryError:
            self._records = False
            self._recordings.clear()
            raise
        return found

    def _record(self, inputs: Tensor) -> None:
        """Record inputs of this shape, and keep it if that serves."""
        try:
            as_it_is, expected, gradient = _without_waiting(self._asked, inputs)
            recording = recorded(self._asked, torch.zeros_like(inputs).requires_grad_(True), self._pool())
            replayed, logits, found = _of_two(recording, inputs)
        except Exception:  # what can't be recorded (a branch on values, a copy to the CPU), or no memory for it
            self._records = False
            return
        if _same(logits, expected) and _same(found, gradient) and replayed <= SOONER * as_it_is:
            self._recordings[inputs.shape, inputs.dtype] = recording
        else:
            del recording
            gc.collect()  # what torch made for it holds on to itself

    def _pool(self) -> Any:
        if not self._recordings:
            self._memory = torch.cuda.graph_pool_handle()
        return self._memory


def recorded(call: Pass, sample: Tensor, memory: Any) -> Pass:
    """A pass, and that of its gradient, as CUDA graphs for inputs of the shape of a sample.

    Raises:
        RuntimeError: it does something that can't be recorded.
    """
    stream = torch.cuda.current_stream(sample.device)
    try:
        with torch.cuda.device(sample.device):
            return cast(Pass, torch.cuda.make_graphed_callables(call, (sample,), pool=memory))
    finally:
        torch.cuda.set_stream(stream)  # which torch leaves at another where it fails


def timed_gradient(call: Pass, inputs: Tensor) -> tuple[float, Tensor, Tensor]:
    """Seconds for the gradient of the largest outputs; the outputs (n, n_classes), and that gradient, like inputs."""
    began = time.perf_counter()
    outputs, gradient = _gradient(call, inputs)
    float(gradient.sum())  # waits for the device
    return time.perf_counter() - began, outputs, gradient


def _gradient(call: Pass, inputs: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_(True)
        outputs = call(leaf)
        (gradient,) = torch.autograd.grad(outputs.amax(1).sum(), leaf)
    return outputs.detach(), gradient


def _of_two(call: Pass, inputs: Tensor) -> tuple[float, Tensor, Tensor]:
    """The quicker of two, after one that pays for what is set up once."""
    timed_gradient(call, inputs)
    return min((timed_gradient(call, inputs) for _ in range(2)), key=lambda found: found[0])


def _without_waiting(call: Pass, inputs: Tensor) -> tuple[float, Tensor, Tensor]:
    """The same of a call that never waits for the device; RuntimeError for one that does.

    A recording would fail there as well, and torch does not recover from that as well as from this.
    """
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        _gradient(call, inputs)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return _of_two(call, inputs)


def _same(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= SAME * expected.abs().max())
