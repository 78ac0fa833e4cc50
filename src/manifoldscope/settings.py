"""Settings of what people make in Python, held to the types that they are written with."""

from __future__ import annotations

import numbers
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from manifoldscope.errors import ManifoldscopeError, shortened

_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a name", type(None): "None"}

LARGEST = 2**63
"""What no whole number reaches: larger ones are neither float64 nor what torch counts with."""


def check_setting(error: type[ManifoldscopeError], name: str, value: object, hint: Any) -> None:
    """Raise `error` unless a value is of a type: words, numbers, truths, None, or one of several of these.

    Example:
        >>> check_setting(ManifoldscopeError, "norm", "L2", Literal["linf", "l2"])
        Traceback (most recent call last):
            ...
        manifoldscope.errors.ManifoldscopeError: norm = 'L2'; expected 'linf' or 'l2'; did you mean 'l2'?
    """
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise error(f"{name} = {shortened(repr(value))}; expected a number below 2**63")
    kinds = [hint] if get_origin(hint) is Literal or isinstance(hint, type) else get_args(hint)
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    types = [kind for kind in kinds if isinstance(kind, type)]
    if any(type(value) is type(word) and value == word for word in words) or any(_is(value, kind) for kind in types):
        return
    near = get_close_matches(str(value).lower(), words, n=1)
    expected = [*map(repr, words), *(_TYPES.get(kind, kind.__name__) for kind in types)]
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise error(f"{name} = {shortened(repr(value))}; expected {' or '.join(expected)}{guess}")


def check_settings(error: type[ManifoldscopeError], made: Any) -> None:
    """Raise `error` where a field of a dataclass that a study file may say is not of its type."""
    for name, hint in _settings_of(type(made)).items():  # type: ignore[arg-type]  # a class is hashable
        check_setting(error, name, getattr(made, name), hint)


@cache
def _settings_of(kind: type) -> dict[str, Any]:
    """The types of the fields that a study file may say: words, numbers, truths, and None for none."""
    hints = get_type_hints(kind)
    found = {each.name: hints[each.name] for each in fields(kind)}
    return {name: hint for name, hint in found.items() if _plain(hint)}


def _plain(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return all(map(_plain, get_args(hint)))
    return get_origin(hint) is Literal or (isinstance(hint, type) and hint in _TYPES)


def _is(value: object, kind: type) -> bool:
    """Whether a value is of a kind; true is no number, and a whole number is a number."""
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool)
    return isinstance(value, kind)
