"""The law of all readers: success, or one sentence; within bounded time and memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

from manifoldscope.errors import ManifoldscopeError

MEMORY = 300 * 2**10
"""KiB by which the largest memory of the process may grow."""

SECONDS = 20


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Fail where what happens inside took more memory than a small file can need."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


@contextmanager
def success_or_one_sentence() -> Iterator[None]:
    """Let our own errors pass if they are one line, and nothing else; fail where it took long."""
    began, said = time.monotonic(), ""
    try:
        yield
    except ManifoldscopeError as error:
        said = str(error)
    assert min(said, default=" ") >= " "  # no control characters
    assert time.monotonic() - began < SECONDS
