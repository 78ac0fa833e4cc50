"""How much of a compressed file is unpacked."""

from __future__ import annotations

MUCH = 64 * 2**20
DENSEST = 100
"""A compressed file is unpacked where that gives at most so many bytes, or at most so many times its own size."""


def most_unpacked(packed: int) -> int:
    """Bytes that a file of `packed` bytes may unpack to."""
    return max(MUCH, DENSEST * packed)
