"""Picture: what a unit kept for a figure, beside the tables: a spectrum, a matrix of correlations, an example image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Picture:
    """What a unit kept for a figure.

    Attributes:
        of: what it is, such as "spectrum"; the figure that draws such pictures asks for it by this name.
        names: of its network, class, layer, ..., and what else is said of it.
        arrays: what is drawn.
    """

    of: str
    names: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
