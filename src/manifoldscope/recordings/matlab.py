"""Files that MATLAB wrote, .mat: which version, and what variables of theirs are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import DataError
from manifoldscope.files import open_regular, why
from manifoldscope.recordings.named import Found, Held

SAVE = "save it by save(..., '-v7') in MATLAB"

LONGEST = 1000
"""Letters of a label: what is longer is no name of a class."""

DTYPES = {
    "double": "f8",
    "single": "f4",
    "logical": "u1",
    **{f"{sign}int{8 * size}": f"{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)},
}
"""Classes of numeric arrays, and the types of their numbers."""

_HEADER = 128


def read_mat(path: Path, points: str | None, labels: str | None) -> Found:
    """The points of a .mat file, and the labels where it holds some; see `chosen` for which variables those are.

    Points are an array of numbers; labels are numbers too, a char array, or a cell array of text.

    Raises:
        DataError: no such file, no regular one, or none that MATLAB wrote; a variable that is no array of numbers; more
            than memory holds; version 7.3 without h5py.
    """
    from manifoldscope.recordings.matlab5 import read_mat5
    from manifoldscope.recordings.matlab73 import read_mat73

    try:
        with open_regular(path) as file:
            beginning = file.read(_HEADER)
            if beginning.startswith(b"MATLAB 7.3"):
                return read_mat73(path.name, file, points, labels)
            if beginning[126:] not in (b"IM", b"MI"):
                raise ValueError(f"it is in no format of MATLAB 5 or later; {SAVE}")
            return read_mat5(path.name, file, points, labels, order="<" if beginning[126:] == b"IM" else ">")
    except (OSError, MemoryError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read as mat ({why(error)})") from error


def held_as(kind: str, shape: tuple[int, ...]) -> Held:
    """What is said of a variable of a class of MATLAB."""
    return Held(shape, "numbers" if kind in DTYPES else "text" if kind == "char" else kind)


def label_vector(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A numeric variable of labels as (n,) numbers: a row or a column, and whole numbers though MATLAB holds doubles.

    Example:
        >>> label_vector(np.array([[2.0], [1.0]])).tolist()
        [2, 1]
    """
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.dtype.kind == "f" and bool((values == np.round(values)).all()) and np.abs(values).max(initial=0) < 2**53:
        return values.astype(np.int64)
    return values


def refusal(name: str, kind: str) -> ValueError:
    """Why a variable of this class of MATLAB is not read, and what to do."""
    if kind == "struct":
        return ValueError(f"`{name}` is a struct; save the field that is meant as a variable of its own")
    if kind == "sparse":
        return ValueError(f"`{name}` is sparse; save it as full({name})")
    if kind in ("opaque", "object", "function"):
        return ValueError(f"`{name}` is an object, such as a string, a table or categories; save it as cellstr({name})")
    return ValueError(
        f"`{name}` is of class {kind}; expected an array of numbers, and for labels a char array or cells of text too"
    )


def complex_refusal(name: str) -> ValueError:
    """Why complex numbers are not read, and what to do."""
    return ValueError(f"`{name}` is complex; save real and imaginary parts as columns of their own")


def cell_refusal(name: str) -> ValueError:
    """Why cells that hold something else than text are no labels."""
    return ValueError(f"a cell of `{name}` holds something else than one line of text")
