"""Arrays of one file by their names: which of them holds the points, and which the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from manifoldscope.errors import DataError, printable, shortened, unknown

LABEL_NAMES = ("label", "labels", "class", "class_name")
"""What a column or an array of labels is called where nobody says."""


@dataclass(frozen=True)
class Held:
    """What a file says of an array before it is read: its shape, and whether it holds "numbers", "text" or else."""

    shape: tuple[int, ...]
    kind: str

    @property
    def is_matrix(self) -> bool:
        """Whether it can be points: numbers in two directions at least."""
        return self.kind == "numbers" and sum(length > 1 for length in self.shape) >= 2

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return size if self.kind == "numbers" else ", ".join(filter(None, [size, self.kind]))


@dataclass(frozen=True, eq=False)
class Found:
    """What was read: the points, whatever their shape, and the labels where the file holds some."""

    points: npt.NDArray[Any]
    labels: npt.NDArray[Any] | None = None


@dataclass(frozen=True)
class Choice:
    """The names of the arrays that hold the points and, where there are any, the labels."""

    points: str
    labels: str | None


def chosen(file: str, held: Mapping[str, Held], points: str | None, labels: str | None) -> Choice:
    """Which arrays to read: those that are named; otherwise `points`, or the only matrix, and labels by a usual name.

    Args:
        file: its name, for messages.
        held: every array by its name.
        points, labels: names, or None to look for them.

    Raises:
        DataError: a name that is not there, or no way to tell which array holds the points.

    Example:
        >>> chosen("x.mat", {"spikes": Held((40, 9), "numbers"), "label": Held((40, 1), "numbers")}, None, None)
        Choice(points='spikes', labels='label')
    """
    for name in filter(None, (points, labels)):
        if name not in held:
            raise DataError(f"{file}: {unknown('array', name, held)}; it has: {described(held)}")
    names = [name for name in LABEL_NAMES if name in held and name != points]
    if labels is None and len(names) > 1:
        raise DataError(
            f"{file} has {' and '.join(names)}; say which of them holds the labels, as by --labels {names[0]}"
        )
    labels = labels or (names[0] if names else None)
    if points is None:
        matrices = [name for name, array in held.items() if array.is_matrix and name != labels]
        if "points" in held:
            points = "points"
        elif len(matrices) == 1:
            points = matrices[0]
        else:
            advice = f"; say which holds the points, as by --points {matrices[0]}" if matrices else ""
            raise DataError(f"{file} has no array `points`; it has: {described(held)}{printable(advice)}")
    return Choice(points, labels)


def described(held: Mapping[str, Held]) -> str:
    """The arrays with their shapes, in a few words."""
    listed = ", ".join(f"{name} ({array})" for name, array in held.items())
    return shortened(" ".join(printable(listed).split()), 300) or "none"
