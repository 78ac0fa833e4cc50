"""Variables of a .mat file of any version: which are read, as what, and why others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from manifoldscope.recordings.named import Held

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
