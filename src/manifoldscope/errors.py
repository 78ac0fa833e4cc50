"""What can go wrong, said so that the reader knows what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ManifoldscopeError(Exception):
    """Base of every error that is the user's to mend: one sentence of what was wrong, what was expected, what to do.

    The command line prints the sentence without a traceback and exits with status 2.
    """


class StudyError(ManifoldscopeError):
    """A study file, a `--set` or an argument asks for something that cannot be."""


class DataError(ManifoldscopeError):
    """Images are missing, unreadable, mislabelled or outside [0, 1]."""


class ModelError(ManifoldscopeError):
    """A network or its weights cannot be loaded, or do not behave as a classifier of these images."""


class GeometryError(ManifoldscopeError):
    """A matrix of points cannot be measured."""


class AttackError(ManifoldscopeError):
    """An attack is impossible, or broke its own budget."""


class StoreError(ManifoldscopeError):
    """The output folder cannot be read or written."""


def printable(text: str) -> str:
    """Text as a terminal may show it: what would move the cursor or hide something is escaped, as are stray bytes."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, most: int = 80) -> str:
    """Text for a message: the beginning, where it is long."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not there, with the nearest names that are."""
    names = sorted(known)
    name = shortened(str(name))
    by_lower = {each.lower(): each for each in names}
    near = [by_lower[each] for each in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
    if near:
        return f"there is no {kind} {name!r}; did you mean {' or '.join(map(repr, near))}?"
    shown = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
    return f"there is no {kind} {name!r}; there are: {shown or 'none'}"
