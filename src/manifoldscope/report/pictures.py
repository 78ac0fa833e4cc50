"""What a study keeps for pictures: spectra, correlations of features, and a few attacked images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.pictures import Picture


def _array(owner: str, name: str, value: Any, dimensions: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim not in dimensions:
        expected = " or ".join(map(str, dimensions))
        raise ManifoldscopeError(f"{owner}.{name} has shape {array.shape}; expected {expected} dimensions")
    return array


@dataclass(frozen=True, eq=False)
class SpectrumPicture:
    """The variances of one class manifold along its principal axes, largest first.

    `variances` is (k,), in squared units of the features; k is at most min(n_points - 1, n_features).
    """

    model: str
    layer: str
    class_index: int
    class_name: str
    variances: NDArray[np.float64]
    n_points: int
    n_features: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "variances", _array("SpectrumPicture", "variances", self.variances, (1,)))


@dataclass(frozen=True, eq=False)
class CorrelationPicture:
    """The correlations between (some of) a layer's features over the images of one class.

    `matrix` is (k, k) in [-1, 1], NaN where a feature is constant. `mean_absolute` is the mean of |r| off the
    diagonal, over all the features that were measured; `baseline` is what unrelated features give by chance with
    as many points.
    """

    model: str
    layer: str
    class_index: int
    class_name: str
    matrix: NDArray[np.float64]
    mean_absolute: float
    baseline: float

    def __post_init__(self) -> None:
        matrix = _array("CorrelationPicture", "matrix", self.matrix, (2,))
        if matrix.shape[0] != matrix.shape[1]:
            raise ManifoldscopeError(f"CorrelationPicture.matrix has shape {matrix.shape}; expected a square matrix")
        object.__setattr__(self, "matrix", matrix)


@dataclass(frozen=True, eq=False)
class ExamplePicture:
    """One image before and after a threat, with what the network said of each.

    `original` and `adversarial` are (h, w) or (h, w, channels), pixels in [0, 1]. `clean_name` and `last_name` are
    the names of the predicted classes; where they are left empty, the index stands in.
    """

    model: str
    threat: str
    strength: float
    class_name: str
    image: str
    original: NDArray[np.float64]
    adversarial: NDArray[np.float64]
    label: int
    clean_prediction: int
    last_prediction: int
    clean_name: str = ""
    last_name: str = ""

    def __post_init__(self) -> None:
        for name in ("original", "adversarial"):
            array = _array("ExamplePicture", name, getattr(self, name), (2, 3))
            if array.ndim == 3 and array.shape[2] == 1:
                array = array[:, :, 0]
            if array.ndim == 3 and array.shape[2] != 3:
                raise ManifoldscopeError(
                    f"ExamplePicture.{name} has shape {array.shape}; expected (h, w), (h, w, 1) or (h, w, 3)"
                )
            object.__setattr__(self, name, array)
        if self.original.shape != self.adversarial.shape:
            raise ManifoldscopeError(
                f"ExamplePicture {self.image!r}: original {self.original.shape} and adversarial "
                f"{self.adversarial.shape} differ in shape"
            )


@dataclass(frozen=True, eq=False)
class Pictures:
    """All that a report can show beyond its tables; any part may be empty."""

    spectra: Sequence[SpectrumPicture] = ()
    correlations: Sequence[CorrelationPicture] = ()
    examples: Sequence[ExamplePicture] = ()

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> Pictures:
        """Those of a study."""

        def found(of: str, made: Any) -> tuple[Any, ...]:
            return tuple(made(**each.names, **each.arrays) for each in pictures if each.of == of)

        return cls(
            found("spectrum", SpectrumPicture),
            found("correlation", CorrelationPicture),
            found("example", ExamplePicture),
        )
