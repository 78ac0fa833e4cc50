"""Mutations of a file's content, the same ones for the same seed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

made = 0
"""How many mutated files were made in this process."""


def budget(default: int) -> int:
    """How many mutations a test makes: few in the suite; MANIFOLDSCOPE_FUZZ=N asks for N."""
    return int(os.environ.get("MANIFOLDSCOPE_FUZZ") or default)


def mutations(content: bytes, n: int, *, seed: int) -> Iterator[bytes]:
    """Files that differ from `content` in one to four places, or of which a part is missing or stands twice."""
    global made
    chance = random.Random(seed)
    for _ in range(n):
        made += 1
        mutated = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            _mutate(mutated, chance)
        yield bytes(mutated)


def _mutate(content: bytearray, chance: random.Random) -> None:
    """Change one thing in place."""
    at = chance.randrange(len(content) + 1)
    if chance.random() < 0.5:
        at = min(at, chance.randrange(512))  # headers are at the beginning
    span = chance.choice((1, 2, 4, 8, 64, 1024))
    match chance.randrange(8):
        case 0 if at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        case 1:
            del content[at:]
        case 2:
            del content[at : at + span]
        case 3:
            content[at:at] = content[at : at + span]
        case 4:
            content[at : at + span] = chance.randbytes(span)
        case 5:  # a length that is far too large, or negative
            size = chance.choice((2, 4, 8))
            number = chance.choice((2**15, 2**31 - 1, 2**31, 2**62, 2 ** (8 * size) - 1)) % 2 ** (8 * size)
            content[at : at + size] = number.to_bytes(size, chance.choice(("little", "big")))
        case 6:  # the same in a text
            digits = [place for place, byte in enumerate(content[:4096]) if 48 <= byte <= 57]
            if digits:
                place = chance.choice(digits)
                content[place : place + 1] = str(chance.choice((0, -1, 10**9, 10**18, 10**30, 1e300))).encode()
        case _:
            content[at : at + span] = chance.choice((b"\x00", b"\xff", b"[", b'"', b"\n", b"{")) * span
