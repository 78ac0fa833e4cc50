"""ClassManifold: the cloud of points that the images of one class evoke in one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manifoldscope.errors import GeometryError

Points: TypeAlias = Tensor | npt.NDArray[np.floating]


def as_points(points: Points | ClassManifold) -> Tensor:
    """A matrix of points as a tensor of shape (n_points, n_features), float32 or float64, checked to be finite.

    Accepts tensors, numpy arrays and class manifolds; further dimensions are flattened into features; integers and
    half precision become float32.

    Raises:
        GeometryError: fewer than two dimensions, no points, no features, NaN or infinity.
    """
    if isinstance(points, ClassManifold):
        return points.points
    matrix = as_matrix(points)
    require_finite(matrix)
    return matrix


def as_matrix(points: Points | ClassManifold) -> Tensor:
    """As `as_points`, but not checked to be finite: for work whose result shows it sooner than a look at each number.

    Raises:
        GeometryError: fewer than two dimensions, no points, no features.
    """
    if isinstance(points, ClassManifold):
        return points.points
    tensor = torch.as_tensor(points).detach()
    if tensor.ndim < 2:
        raise GeometryError(
            f"points have shape {tuple(tensor.shape)}; expected (n_points, n_features), one row an image"
        )
    tensor = tensor.flatten(1)
    if 0 in tensor.shape:
        raise GeometryError(f"points have shape {tuple(tensor.shape)}; expected at least one point and one feature")
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def require_finite(matrix: Tensor) -> None:
    """Raise GeometryError for points that hold NaN or infinity."""
    if not _finite_sum(matrix) and (bad := _bad_rows(matrix)):
        raise GeometryError(
            f"{len(bad)} of {len(matrix)} points hold NaN or infinity (the first is row {bad[0]}) and cannot be "
            "measured; leave such rows out or, if a network gave them, look for overflow in half precision and for "
            "weights that diverged"
        )


def _finite_sum(tensor: Tensor) -> bool:
    """One bad number makes the sum bad, which is sooner found; a sum may also overflow by itself."""
    if tensor.device.type != "cpu":
        return bool(torch.isfinite(tensor.sum()))
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(tensor.numpy().sum()))


def _bad_rows(tensor: Tensor) -> list[int]:
    """Which points hold NaN or infinity; looked at piece by piece, since points may lie in a file."""
    bad = [(~torch.isfinite(rows)).any(dim=1).cpu() for rows in torch.split(tensor, 256)]
    rows: list[int] = torch.cat(bad).nonzero().flatten().tolist()
    return rows


@dataclass(frozen=True, eq=False)
class ClassManifold:
    """The activations of one layer for the images of one class.

    Args:
        points: (n_points, n_features), float32 or float64, finite; numpy arrays are accepted.
        label: class index, -1 where there are no classes.
        layer: name of the layer, as asked for.
        name: name of the class, for people.

    Example:
        >>> import torch
        >>> ClassManifold(torch.eye(3), label=2, layer="penultimate").n_points
        3
    """

    points: Tensor
    label: int = -1
    layer: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", as_points(self.points))

    @property
    def n_points(self) -> int:
        """Number of images."""
        return self.points.shape[0]

    @property
    def n_features(self) -> int:
        """Number of units of the layer."""
        return self.points.shape[1]

    def __repr__(self) -> str:
        return (
            f"ClassManifold(label={self.label}, name={self.name!r}, layer={self.layer!r}, "
            f"n_points={self.n_points}, n_features={self.n_features})"
        )
