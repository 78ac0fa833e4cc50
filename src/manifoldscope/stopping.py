"""Whether this process was asked to end.

A signal raises KeyboardInterrupt wherever the process is; inside a library's callback it may come out as that library's
own error, or be swallowed. So the request is remembered too, and asked for where work is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_requested: list[int] = []
_deferring: list[None] = []


def request(number: int) -> None:
    """Remember that a signal asked for the end, and raise KeyboardInterrupt where that may be done now."""
    _requested.append(number)
    if not _deferring:
        raise KeyboardInterrupt(number)


@contextmanager
def deferred() -> Iterator[None]:
    """Around a short call of a library that would make a mess of an interruption: it comes afterwards."""
    _deferring.append(None)
    try:
        yield
    finally:
        _deferring.pop()
    obey()


def requested() -> int | None:
    """The number of the signal that asked for the end; None where none did."""
    return _requested[-1] if _requested else None


def forget() -> None:
    """Begin anew."""
    _requested.clear()


def obey() -> None:
    """Raise KeyboardInterrupt where the end was asked for."""
    if _requested:
        raise KeyboardInterrupt(_requested[-1])
