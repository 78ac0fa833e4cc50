"""Float32 that is float32: what torch may do instead is turned off while networks are measured and judged.

Left to itself torch convolves in TF32 on NVIDIA's GPUs, with mantissas of 10 bits; and where a process has asked for
it, by one of several settings or within an autocast, it multiplies so, or in bfloat16. Then what is said of a network
would depend on the device and on what else the process has set.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

_LIBRARIES = {
    "cpu": ((torch.backends.mkldnn, "matmul"), (torch.backends.mkldnn, "conv"), (torch.backends.mkldnn, "rnn")),
    "cuda": ((torch.backends.cuda, "matmul"), (torch.backends.cudnn, "conv"), (torch.backends.cudnn, "rnn")),
}
_NEWER = hasattr(torch.backends, "fp32_precision")  # torch 2.9 or later
OPERATORS = {
    device: tuple(getattr(library, name) for library, name in libraries if _NEWER)
    for device, libraries in _LIBRARIES.items()
}
"""Whose `fp32_precision` says how they compute, on each kind of device; none if torch has the older settings only."""

IEEE = {"ieee", "none"}
"""Precisions that are float32: it is also what torch does where none is asked for."""


def _set_products(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed


def _set_convolutions(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = allowed


# The older settings of the same, each with what float32 is called there. They raise where the newer ones say what they
# have no words for, so they are set as well, where they can be read: torch and others may ask for them.
_OLDER: tuple[tuple[Callable[[], Any], Callable[[Any], None], Any, set[str]], ...] = (
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest", {"cpu", "cuda"}),
    (lambda: torch.backends.cuda.matmul.allow_tf32, _set_products, False, {"cuda"}),
    (lambda: torch.backends.cudnn.allow_tf32, _set_convolutions, False, {"cuda"}),
)

_lock = threading.RLock()  # a generator that is collected may leave while another enters
_inside: list[_Settings] = []  # one for each caller who is inside


@dataclass(frozen=True)
class _Settings:
    """All settings of precision, as they are when this is made."""

    older: list[Any] = field(default_factory=lambda: [_read(get) for get, *_ in _OLDER])
    newer: dict[Any, str] = field(
        default_factory=lambda: {each: each.fp32_precision for operators in OPERATORS.values() for each in operators}
    )

    def make_float32(self, device: str) -> None:
        """Change what is not float32 on this kind of device, and what torch changes with that.

        Raises:
            RuntimeError: the process has frozen its settings.
        """
        operators = OPERATORS.get(device, ())
        if operators and all(self.newer[operator] in IEEE for operator in operators):
            return
        for (_, put, precise, devices), value in zip(_OLDER, self.older, strict=True):
            if device in devices and value not in (None, precise):
                put(precise)
        for operator in operators:
            if operator.fp32_precision not in IEEE:
                operator.fp32_precision = "ieee"

    def put_back(self) -> None:
        """Have all settings say what they said."""
        if _Settings() == self:
            return
        for (get, put, *_), value in reversed(list(zip(_OLDER, self.older, strict=True))):  # the widest says most
            if value is not None and _read(get) != value:
                put(value)
        for operator, precision in self.newer.items():
            if operator.fp32_precision != precision:
                operator.fp32_precision = "none"  # as a more general setting says
            if operator.fp32_precision != precision:
                operator.fp32_precision = precision


@contextmanager
def float32(device: torch.device) -> Iterator[None]:
    """Products and convolutions in float32 are those of IEEE inside, on this kind of device.

    An autocast of the caller's is off; one that the network enters itself is part of it. Of all threads that are
    inside, the last to leave puts the settings back. What a more general setting gave to an operator may have become
    its own, since torch does not tell the two apart. A process that has frozen its settings
    (`torch.backends.disable_global_flags`) is warned where they are not those of float32.
    """
    with _lock:
        settings = _inside[0] if _inside else _Settings()
        _inside.append(settings)
    try:
        with _lock:
            _where_allowed(lambda: _Settings().make_float32(device.type))
        has_autocast = torch.amp.is_autocast_available(device.type)
        with torch.autocast(device.type, enabled=False) if has_autocast else nullcontext():
            yield
    finally:
        with _lock:
            _inside.pop()
            if not _inside:
                _where_allowed(settings.put_back)


def _where_allowed(change: Callable[[], None]) -> None:
    try:
        change()
    except RuntimeError as error:
        warnings.warn(
            "torch's settings of precision are frozen, and not those of float32: networks are measured in TF32 or "
            f"bfloat16; set them before torch.backends.disable_global_flags() ({error})",
            stacklevel=5,
        )


def _read(setting: Callable[[], Any]) -> Any:
    try:
        return setting()
    except RuntimeError:
        return None
