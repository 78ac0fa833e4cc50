"""Whole numbers as arguments: true and false, which Python counts among them, are none."""

from __future__ import annotations

from manifoldscope.errors import ManifoldscopeError


def check_whole(error: type[ManifoldscopeError], **arguments: object) -> None:
    """Raise `error` unless each argument is a whole number, or None where it was omitted."""
    for name, value in arguments.items():
        if value is not None and (isinstance(value, bool) or not hasattr(value, "__index__")):
            raise error(f"{name} = {value!r}; expected a whole number")
