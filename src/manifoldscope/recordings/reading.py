"""Points from files: which format a file is in, and its content as manifolds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from manifoldscope.errors import DataError
from manifoldscope.files import open_regular, why
from manifoldscope.geometry import ClassManifold
from manifoldscope.recordings.arrays import read_npy, read_npz
from manifoldscope.recordings.axes import axes_of
from manifoldscope.recordings.labels import by_class, by_label
from manifoldscope.recordings.matlab import read_mat
from manifoldscope.recordings.named import Found
from manifoldscope.recordings.saved import load_manifolds
from manifoldscope.recordings.tabular import read_label_table, read_table


def _read_npy(path: Path, points: str | None, labels: str | None) -> Found:
    for name in filter(None, (points, labels)):
        raise DataError(
            f"{path.name} holds one array without a name, and no {name!r}; give labels as a file of their own, such as "
            "labels.npy"
        )
    return Found(read_npy(path))


Reader = Callable[[Path, str | None, str | None], Found]
"""From a file and, where they are given, the names of points and labels in it, to what it holds."""

READERS: Mapping[str, Reader] = {
    "npy": _read_npy,
    "npz": read_npz,
    "csv": read_table,
    "tsv": read_table,
    "parquet": read_table,
    "mat": read_mat,
}
"""A reader for each format, by the ending of its files."""

LABEL_READERS: Mapping[str, Callable[[Path], npt.NDArray[Any]]] = {
    "npy": read_npy,
    "csv": read_label_table,
    "tsv": read_label_table,
    "parquet": read_label_table,
}
"""The same for files that hold labels alone."""

SAVED = "safetensors"

_BEGINNINGS = {
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "npz",
    b"PK\x05\x06": "npz",
    b"PAR1": "parquet",
    b"MATLAB 5.0": "mat",
    b"MATLAB 7.3": "mat",
    b"\x89HDF\r\n\x1a\n": "hdf5",
}
"""How files of a format begin, where they all begin alike."""


@dataclass(frozen=True)
class PointSet:
    """The manifolds of one place along the axes that are taken step by step.

    Attributes:
        at: the place by the names of those axes, such as {"time": 12}; empty where there are none.
        manifolds: one per label.
    """

    at: Mapping[str, int]
    manifolds: list[ClassManifold]

    @property
    def place(self) -> str:
        """The place in words: time 12."""
        return ", ".join(f"{name} {at}" for name, at in self.at.items())


def load_points(
    path: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    *,
    points: str | None = None,
    axes: str | Sequence[str] | None = None,
    window: tuple[int, int] | None = None,
    pool: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
) -> list[ClassManifold]:
    """Any matrix of points, such as recordings of neurons, as manifolds: one per label, or one in all.

    A csv, tsv or Parquet file has one row a point, a column of labels and features in all other columns. An npz or mat
    file has several arrays: the points are `points`, the one that is named, or the only matrix.

    Args:
        path: .npy, .npz, .csv, .tsv, .parquet or .mat, or .safetensors from `save_manifolds`.
        labels: a column or an array of the file by its name (if omitted, the one called label, labels, class or
            class_name, if there is one); or another file, .npy, .csv, .tsv or .parquet, with one label per point.
            Labels are whole numbers or text. Where classes have an axis, one label per class.
        points: the array of an npz or mat file, by its name.
        axes: the names of the axes, as "trials,neurons,time"; needed for three axes or more, and for a matrix whose
            rows are not the points ("neurons,trials"). See `Axes`.
        window: (start, stop), the samples of the axis `time` that are used.
        pool: for each axis that is neither points, features nor classes "mean" or "flatten".
        without: columns of a table that are no features, such as the number of a trial.

    Warns:
        UserWarning: a column of a table counts as a feature and looks as if it numbered rows, trials or subjects.

    Raises:
        DataError: a file that cannot be read, is no regular one, takes more memory than there is, or is in another
            format than its name says; pickled objects; labels or axes that do not fit.
        GeometryError: points that cannot be measured, such as NaN or complex numbers.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/spikes.npy", np.ones((40, 7, 25)))
        ...     load_points(f"{folder}/spikes.npy", axes="trials,neurons,time", pool={"time": "mean"})
        [ClassManifold(label=-1, name='spikes', layer='spikes', n_points=40, n_features=7)]
    """
    if stepped := [name for name, how in (pool or {}).items() if how == "each"]:
        raise DataError(f"pool {stepped[0]}=each gives several sets of points; read them by load_sets")
    (only,) = load_sets(path, labels, points=points, axes=axes, window=window, pool=pool, without=without)
    return only.manifolds


def load_sets(
    path: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    *,
    points: str | None = None,
    axes: str | Sequence[str] | None = None,
    window: tuple[int, int] | None = None,
    pool: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
) -> list[PointSet]:
    """As `load_points`, for axes that are taken step by step as well: `pool={"time": "each"}`.

    Returns:
        One set of manifolds per place along those axes; a single one where there are none.

    Raises:
        DataError, GeometryError: as for `load_points`.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/spikes.npy", np.ones((40, 7, 25)))
        ...     steps = load_sets(
        ...         f"{folder}/spikes.npy", axes="trials,neurons,time", window=(10, 12), pool={"time": "each"}
        ...     )
        >>> [(step.at, step.manifolds[0].n_features) for step in steps]
        [({'time': 10}, 7), ({'time': 11}, 7)]
    """
    file = Path(os.path.expanduser(path))
    beside = _label_file(labels)
    kind = _format(file, (*READERS, SAVED))
    if kind == SAVED:
        if labels is not None:
            raise DataError(f"{file.name} carries its own labels; leave out {Path(labels).name}")
        if points or axes or window or pool or without:
            raise DataError(
                f"{file.name} holds manifolds as they were saved; leave out points, axes, window, pool and without"
            )
        return [PointSet({}, load_manifolds(file))]
    inside = labels if isinstance(labels, str) and beside is None else None
    if without and READERS[kind] is not read_table:
        raise DataError(f"{file.name} is an array, whose columns have no names; leave out without={', '.join(without)}")
    found = read_table(file, points, inside, without) if without else READERS[kind](file, points, inside)
    own = found.labels if beside is None else LABEL_READERS[_format(beside, LABEL_READERS)](beside)
    named = axes_of(found.points, axes, window, pool, file=file.name)
    split = by_class if named.has_classes else by_label
    return [PointSet(at, split(matrix, own, file=file)) for at, matrix in named.sets(found.points, file=file.name)]


def _label_file(labels: str | os.PathLike[str] | None) -> Path | None:
    """The file that holds the labels, where they are given as one: by a path, or by a name that ends as one does."""
    if labels is None:
        return None
    path = Path(os.path.expanduser(labels))
    is_name = isinstance(labels, str) and path.suffix.lower().removeprefix(".") not in (*READERS, SAVED)
    return None if is_name else path


def _format(file: Path, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The format of a file by its ending, which its content must not contradict; by its content for other endings.

    Raises:
        DataError: no such file, no regular one, or a format that is not read.
    """
    named = file.suffix.lower().removeprefix(".")
    try:
        with open_regular(file) as opened:
            beginning = opened.read(16)
    except OSError as error:
        raise DataError(f"{file.name} cannot be read as {named or 'points'} ({why(error)})") from error
    shown = next((kind for start, kind in _BEGINNINGS.items() if beginning.startswith(start)), None)
    if named not in known:
        if shown not in known or shown == "npz":  # many other files are zip archives too
            raise DataError(f"{file.name} is in none of the formats that are read: {', '.join(known)}")
        return str(shown)
    if shown is not None and shown != named:
        raise DataError(f"{file.name} is called {named}, and its content is {shown}; give it the name of its format")
    return named
