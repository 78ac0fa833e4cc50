"""Axes of an array: which of them counts points, which features, and what becomes of the others, such as time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import DataError, unknown

Pool: TypeAlias = Literal["mean", "flatten", "each"]
"""What becomes of a further axis: its mean; features of its own for each place along it; or one set of points each."""

POINTS = ("trials", "points", "samples", "stimuli")
FEATURES = ("neurons", "features", "units", "channels")
CLASSES, TIME = "classes", "time"

_EXAMPLE = "trials,neurons,time"


@dataclass(frozen=True)
class Axes:
    """The axes of an array by their names, and what becomes of those that are neither points, features nor classes.

    Args:
        names: of every axis in order: one of `POINTS`, one of `FEATURES`, `classes` if the classes have an axis, and
            further ones of any name, such as `time`.
        window: the samples (start, stop) of the axis `time` that are used; all if omitted.
        pool: for each further axis "mean", "flatten" (features are neurons x time), or "each" (one set of points per
            place along it).

    Raises:
        DataError: no axis of points or of features, or several; an axis named twice; a further axis without `pool`, or
            a `pool` without its axis; a window without an axis of time, or one that is none.

    Example:
        >>> Axes(("trials", "neurons", "time"), window=(10, 30), pool={"time": "mean"}).window
        (10, 30)
    """

    names: tuple[str, ...]
    window: tuple[int, int] | None = None
    pool: Mapping[str, Pool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        listed = ",".join(self.names)
        for name in self.names:
            if self.names.count(name) > 1:
                raise DataError(f"axes {listed}: {name!r} is there twice; give each axis its own name")
        for role, known in (("points", POINTS), ("features", FEATURES)):
            found = [name for name in self.names if name in known]
            if len(found) != 1:
                raise DataError(
                    f"axes {listed}: {' and '.join(found) or 'none of them'} "
                    f"{'each name' if found else 'names'} the {role}; expected exactly one of {', '.join(known)}"
                )
        for name, how in self.pool.items():
            if name not in self.further:
                raise DataError(
                    f"pool {name}={how}: {unknown('axis', name, self.further)} beside points, features and classes"
                )
            if how not in get_args(Pool):
                raise DataError(f"pool {name}={how}: expected one of {', '.join(get_args(Pool))}")
        for name in self.further:
            if name not in self.pool:
                raise DataError(
                    f"axes {listed}: say what becomes of {name!r}, as by --pool {name}=mean (or flatten, or each)"
                )
        if self.window is not None:
            start, stop = self.window
            if TIME not in self.further:
                raise DataError(f"window {start}:{stop} is of the axis 'time'; the axes are {listed}")
            if not 0 <= start < stop:
                raise DataError(f"window {start}:{stop} is none; expected START:STOP in samples, 0 <= START < STOP")

    @property
    def further(self) -> tuple[str, ...]:
        """The axes that are neither points, features nor classes."""
        return tuple(name for name in self.names if name not in (*POINTS, *FEATURES, CLASSES))

    @property
    def has_classes(self) -> bool:
        """Whether the classes have an axis of their own."""
        return CLASSES in self.names

    @property
    def stepped(self) -> tuple[str, ...]:
        """The axes along which there is one set of points per place."""
        return tuple(name for name in self.further if self.pool[name] == "each")

    def sets(self, array: npt.NDArray[Any], *, file: str) -> Iterator[tuple[dict[str, int], npt.NDArray[Any]]]:
        """The sets of points of an array, each with its place along the stepped axes.

        Args:
            array: of as many axes as there are names.
            file: its name, for messages.

        Returns:
            Pairs of places and (n_points, n_features), or (n_classes, n_points, n_features) where classes have an axis.
            Features that are flattened together are ordered as their axes are, the last one changing fastest.

        Raises:
            DataError: another number of axes, a window beyond the samples, or no real numbers to average.

        Example:
            >>> spikes = np.arange(12).reshape(2, 3, 2)
            >>> axes = Axes(("trials", "neurons", "time"), pool={"time": "mean"})
            >>> [points.tolist() for _, points in axes.sets(spikes, file="x.npy")]
            [[[0.5, 2.5, 4.5], [6.5, 8.5, 10.5]]]
        """
        names = list(self.names)
        if array.ndim != len(names):
            raise _misnamed(array, names, file)
        if 0 in array.shape:
            raise DataError(f"{file} has shape {shape_text(array.shape)}; expected at least one entry along each axis")
        first = 0
        if self.window is not None:
            first, stop = self.window
            if stop > array.shape[names.index(TIME)]:
                raise DataError(
                    f"window {first}:{stop} goes beyond the {array.shape[names.index(TIME)]} samples of time in {file} "
                    f"({','.join(names)}: {shape_text(array.shape)})"
                )
            array = array[(slice(None),) * names.index(TIME) + (slice(first, stop),)]
        if means := [name for name in self.further if self.pool[name] == "mean"]:
            array = _mean(array, tuple(names.index(name) for name in means), file=file)
            names = [name for name in names if name not in means]
        flat = [name for name in names if name in FEATURES or self.pool.get(name) == "flatten"]
        kept = [*self.stepped, *([CLASSES] if self.has_classes else []), *(name for name in names if name in POINTS)]
        array = array.transpose([names.index(name) for name in (*kept, *flat)])
        lead = array.shape[: len(kept)]
        for place in itertools.product(*(range(length) for length in lead[: len(self.stepped)])):
            at = {name: index + (first if name == TIME else 0) for name, index in zip(self.stepped, place, strict=True)}
            own = array[place]
            yield at, own.reshape(*lead[len(place) :], math.prod(own.shape[len(kept) - len(place) :]))


def _mean(array: npt.NDArray[Any], axes: tuple[int, ...], *, file: str) -> npt.NDArray[Any]:
    """The mean over some axes, summed in float64."""
    if array.dtype.kind not in "biuf":
        raise DataError(f"{file} holds {array.dtype}, which has no mean; expected real numbers")
    mean: npt.NDArray[Any] = array.mean(axis=axes, dtype=np.float64)
    return mean.astype(np.float32) if array.dtype in (np.float32, np.float16) else mean


def axes_of(
    array: npt.NDArray[Any],
    axes: str | Sequence[str] | None,
    window: tuple[int, int] | None,
    pool: Mapping[str, str] | None,
    *,
    file: str,
) -> Axes:
    """The axes as they were named; those of a matrix, where nobody named any.

    Raises:
        DataError: an array of three axes or more that nobody named; or axes that cannot be (see `Axes`).
    """
    if axes is None:
        if window is not None or pool:
            raise DataError("a window or a pool needs the names of the axes, as by --axes trials,neurons,time")
        if array.ndim > 2:
            raise DataError(
                f"{file} has {array.ndim} axes ({shape_text(array.shape)}); say what they are, as by "
                f"--axes {_EXAMPLE}, and what becomes of each further one, as by --pool time=mean"
            )
        if array.ndim < 2:
            raise DataError(f"{file} has shape {array.shape}; expected (n_points, n_features), one row a point")
        return Axes(("points", "features"))
    names = tuple(name.strip() for name in (axes.split(",") if isinstance(axes, str) else axes))
    if len(names) != array.ndim:
        raise _misnamed(array, names, file)
    return Axes(names, window=window, pool=cast(Mapping[str, Pool], dict(pool or {})))


def _misnamed(array: npt.NDArray[Any], names: Sequence[str], file: str) -> DataError:
    return DataError(
        f"{file} has {array.ndim} axes ({shape_text(array.shape)}), and {len(names)} are named: {','.join(names)}"
    )


def shape_text(shape: Sequence[int]) -> str:
    """A shape for people: 40 x 120 x 50."""
    return " x ".join(map(str, shape))
