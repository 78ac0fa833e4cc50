"""What a unit of work keeps to be looked at: arrays, and the names of what they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Picture:
    """Arrays that a figure draws and no table holds.

    Whoever keeps a picture and the figure that shows it agree on its names and arrays; the figure checks the shapes.

    Attributes:
        of: what it is of, such as "spectrum", "correlation" or "example".
        names: what tells it from others (model, layer, class_name, ...), and single numbers.
        arrays: real numbers by name, float64.
    """

    of: str
    names: Mapping[str, Any]
    arrays: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        arrays = {name: np.asarray(array, dtype=np.float64) for name, array in self.arrays.items()}
        object.__setattr__(self, "arrays", arrays)
