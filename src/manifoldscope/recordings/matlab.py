"""Files that MATLAB wrote, .mat: which version."""

from __future__ import annotations

from pathlib import Path

from manifoldscope.errors import DataError
from manifoldscope.files import open_regular, why
from manifoldscope.recordings.matlab5 import read_mat5
from manifoldscope.recordings.matlab73 import read_mat73
from manifoldscope.recordings.matlab_variables import SAVE
from manifoldscope.recordings.named import Found

_HEADER = 128


def read_mat(path: Path, points: str | None, labels: str | None) -> Found:
    """The points of a .mat file, and the labels where it holds some; see `chosen` for which variables those are.

    Points are an array of numbers; labels are numbers too, a char array, or a cell array of text.

    Raises:
        DataError: no such file, no regular one, or none that MATLAB wrote; a variable that is no array of numbers; more
            than memory holds; version 7.3 without h5py.
    """
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
