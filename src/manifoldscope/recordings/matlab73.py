"""Files of MATLAB 7.3, which are HDF5: by h5py, the extra `recordings`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Any

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import DataError
from manifoldscope.files import EXPANDS, LARGE, require_memory
from manifoldscope.recordings.matlab_variables import (
    DTYPES,
    LONGEST,
    SAVE,
    cell_refusal,
    complex_refusal,
    held_as,
    label_vector,
    refusal,
)
from manifoldscope.recordings.named import Found, Held, chosen


def read_mat73(name: str, opened: BufferedReader, points: str | None, labels: str | None) -> Found:
    """As `matlab.read_mat`, for version 7.3.

    Args:
        name: of the file, for messages.
        opened: the file.
        points, labels: names of variables, or None to look for them.

    Raises:
        DataError: h5py is missing, or the file does not say which of its variables holds the points.
        ValueError, OSError: what else is wrong with the file.
    """
    try:
        import h5py
    except ImportError:
        raise DataError(
            f"{name} is of MATLAB 7.3, which needs h5py: pip install 'manifoldscope[recordings]'; or {SAVE}"
        ) from None

    with _explained(), h5py.File(opened, "r") as file:
        variables = {each: file[each] for each in file if _is_own(file, each, h5py)}
        held = {each: _held(variable, h5py) for each, variable in variables.items()}
        which = chosen(name, held, points, labels)
        found = _numbers(which.points, variables[which.points], h5py)
        if which.labels is None:
            return Found(found)
        return Found(found, _labels(which.labels, variables[which.labels], file, h5py))


@contextmanager
def _explained() -> Iterator[None]:
    """The errors of h5py, which are of many kinds for what is damaged, as ValueError."""
    try:
        yield
    except (DataError, OSError, ValueError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"it is damaged: {error}") from None


def _is_own(file: Any, name: str, h5py: Any) -> bool:
    """Whether a variable lies in this file itself, and is none that MATLAB keeps for its own use."""
    return not name.startswith("#") and isinstance(file.get(name, getlink=True), h5py.HardLink)


def _class_of(variable: Any, h5py: Any) -> str:
    """What MATLAB calls it."""
    if "MATLAB_sparse" in variable.attrs:
        return "sparse"
    if not isinstance(variable, h5py.Dataset):
        return "struct"
    kind = variable.attrs.get("MATLAB_class", b"")
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    return "opaque" if "MATLAB_object_decode" in variable.attrs else kind


def _held(variable: Any, h5py: Any) -> Held:
    kind = _class_of(variable, h5py)
    shape = tuple(reversed(variable.shape or ())) if isinstance(variable, h5py.Dataset) else ()
    return held_as(kind, shape)


def _numbers(name: str, variable: Any, h5py: Any) -> npt.NDArray[Any]:
    """An array of numbers with its axes in MATLAB's order, which HDF5 holds the other way round."""
    kind = _class_of(variable, h5py)
    if kind not in DTYPES:
        raise refusal(name, kind)
    if variable.dtype.kind not in "iuf":
        raise complex_refusal(name)
    return np.ascontiguousarray(_stored(name, variable).T)


def _labels(name: str, variable: Any, file: Any, h5py: Any) -> npt.NDArray[Any]:
    kind = _class_of(variable, h5py)
    if kind == "char":
        return np.array([line.rstrip() for line in _lines(name, variable)], dtype=str)
    if kind != "cell":
        return label_vector(_numbers(name, variable, h5py))
    require_memory(200 * math.prod(variable.shape))
    if variable.dtype != h5py.ref_dtype:
        raise ValueError(f"the cells of `{name}` are damaged")
    texts = []
    for reference in _stored(name, variable).T.ravel(order="F"):
        cell = file[reference]
        if not isinstance(cell, h5py.Dataset) or _class_of(cell, h5py) != "char":
            raise cell_refusal(name)
        lines = _lines(name, cell)
        if len(lines) > 1:
            raise cell_refusal(name)
        texts.append(lines[0] if lines else "")
    return np.array(texts, dtype=str)


def _lines(name: str, variable: Any) -> list[str]:
    """A char array as the text of its rows."""
    if "MATLAB_empty" in variable.attrs:
        return []
    if len(variable.shape) != 2 or variable.shape[0] > LONGEST or variable.dtype != np.uint16:
        raise ValueError(f"`{name}` holds text that is no name of a class")
    return [row.astype("<u2").tobytes().decode("utf-16-le") for row in _stored(name, variable).T]


def _stored(name: str, variable: Any) -> npt.NDArray[Any]:
    """What a dataset of this file holds, if memory does."""
    if variable.external or variable.is_virtual:
        raise ValueError(f"`{name}` lies in another file")
    size = math.prod(variable.shape)
    n_bytes = size * variable.dtype.itemsize
    stored = int(variable.id.get_storage_size())
    if n_bytes > max(LARGE, EXPANDS * stored):
        raise ValueError(f"`{name}` has {n_bytes / 2**20:,.0f} MiB, compressed to {stored / 2**20:,.1f}; {SAVE}")
    require_memory(n_bytes + 8 * size)
    found: npt.NDArray[Any] = variable[()]
    return found
