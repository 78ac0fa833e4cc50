"""Names out of files of other people, as they can be shown and stored."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
"""They tell letters, and parts of an emoji, whether to join: names in Persian and Hindi have them, and hide nothing."""


def printable(name: str) -> str:
    """A name as it can be shown and stored: bytes that are no text, and control characters, are escaped."""
    if name.isascii() and name.isprintable():
        return name
    return "".join(_escaped(character) for character in name)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that could not be decoded
        return f"\\x{number - 0xDC00:02x}"
    if character not in JOINERS and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 2**16 else f"\\U{number:08x}"
    return character
