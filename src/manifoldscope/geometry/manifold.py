"""ClassManifold: the cloud of points that the images of one class evoke in one layer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manifoldscope.errors import GeometryError

Points: TypeAlias = Tensor | npt.NDArray[np.floating]

# Rounding of whole points, as a share of their norm, was seen as follows. One image in batches of 1, 7 and 100 through
# nine CIFAR-10 networks, ResNet-50 and MobileNetV2 on a CPU: up to 5.2 eps of float32. A network computed in float16 or
# bfloat16 keeps its sums in float32, so that what is left is the rounding of what is stored: up to 0.05 eps. The
# nearest two images of a class were never nearer than 300,000 eps of float32 (4.7 of bfloat16).
_FLOAT_EPS = 16
_HALF_EPS = 2


def resolution_of(points: Any) -> float:
    """The distance that the type of some points cannot resolve, as a share of their norm; 0 for whole numbers.

    Example:
        >>> resolution_of(torch.zeros(2, 2)) / torch.finfo(torch.float32).eps, resolution_of(np.eye(2, dtype=int))
        (16.0, 0.0)
    """
    if isinstance(points, ClassManifold):
        return points.resolution
    dtype = points.dtype if isinstance(points, Tensor) else _tensor(points).dtype
    if not dtype.is_floating_point:
        return 0.0
    return torch.finfo(dtype).eps * (_HALF_EPS if dtype.itemsize <= 2 else _FLOAT_EPS)


def as_points(points: Points | ClassManifold) -> Tensor:
    """A matrix of points as a tensor of shape (n_points, n_features), float32 or float64, checked to be finite.

    Accepts tensors, numpy arrays and class manifolds; further dimensions are flattened into features. Half precision
    becomes float32; so do whole numbers, or float64 if float32 does not hold them.

    Raises:
        GeometryError: fewer than two dimensions, no points, no features, NaN or infinity; or what are not real numbers,
            all of them there: complex, masked, sparse, quantised, of text, whole numbers beyond 2^53.
    """
    if isinstance(points, ClassManifold):
        return points.points
    matrix = as_matrix(points)
    require_finite(matrix)
    return matrix


def as_matrix(points: Points | ClassManifold) -> Tensor:
    """As `as_points`, but not checked to be finite: for work whose result shows it faster than a look at each number.

    Raises:
        GeometryError: as `as_points`, but for NaN and infinity.
    """
    if isinstance(points, ClassManifold):
        return points.points
    tensor = _tensor(points)
    if tensor.ndim < 2:
        raise GeometryError(
            f"points have shape {tuple(tensor.shape)}; expected (n_points, n_features), one row per image"
        )
    if 0 in tensor.shape:
        raise GeometryError(f"points have shape {tuple(tensor.shape)}; expected at least one point and one feature")
    tensor = tensor.flatten(1)
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    if not tensor.dtype.is_floating_point and tensor.dtype.itemsize > 2:
        return _whole_numbers(tensor)
    try:
        return tensor.float()
    except RuntimeError:
        raise GeometryError(f"the points are of type {tensor.dtype}; expected real numbers") from None


def _tensor(points: Any) -> Tensor:
    """A dense tensor of real numbers, in whatever type they come. Raises GeometryError for anything else."""
    if isinstance(points, Tensor):
        return _real(points.detach())
    if isinstance(points, np.ma.MaskedArray):
        if np.ma.is_masked(points):
            n_masked = int(np.ma.getmaskarray(points).sum())
            raise GeometryError(f"{n_masked} numbers of the points are masked; leave such rows out, or fill them in")
        points = points.data
    if hasattr(points, "nnz"):
        raise GeometryError("the points are a sparse matrix; give them dense, as by .toarray()")
    try:
        array = np.asarray(points)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GeometryError(
            f"points of type {type(points).__name__} are not a matrix of numbers ({str(error).splitlines()[0]}); "
            "expected a tensor or an array, (n_points, n_features)"
        ) from None
    if array.dtype.kind not in "biuf":
        raise GeometryError(f"{_refusal(array.dtype)}; expected real numbers, (n_points, n_features)")
    if array.dtype == np.longdouble:
        with np.errstate(over="ignore"):  # infinity is refused with the rest
            array = array.astype(np.float64)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # points are never written to
        return torch.from_numpy(array)


def _refusal(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "c":
        return f"the points are complex ({dtype}); give real and imaginary parts as features of their own"
    if dtype.kind == "V":
        return "the points are a structured array; give its fields as one matrix of numbers"
    return f"the points are of type {dtype}"


def _real(tensor: Tensor) -> Tensor:
    """The tensor itself, if it holds all its numbers and they are real."""
    if tensor.is_complex():
        reason = f"complex ({tensor.dtype}); give real and imaginary parts as features of their own"
    elif tensor.is_nested:
        reason = "a nested tensor; give one matrix, such as one a class"
    elif tensor.layout != torch.strided:
        reason = "a sparse tensor; give them dense, as by .to_dense()"
    elif tensor.is_quantized:
        reason = "quantised; give them as numbers, as by .dequantize()"
    elif tensor.is_meta:
        reason = "on the meta device, which holds no numbers"
    else:
        return tensor.resolve_neg()
    raise GeometryError(f"the points are {reason}")


def _whole_numbers(tensor: Tensor) -> Tensor:
    """Whole numbers as float32 where it holds them, and as float64 otherwise."""
    exact = (tensor.cpu() if tensor.device.type == "mps" else tensor).to(torch.float64)
    largest = float(exact.abs().max())
    if largest > 2**53:
        raise GeometryError(
            f"the points hold whole numbers up to {largest:.3g}, of which float64 loses the last digits; subtract a "
            "constant from each feature first"
        )
    return exact if largest > 2**24 else tensor.float()


def require_finite(matrix: Tensor) -> None:
    """Raise GeometryError for points that hold NaN or infinity."""
    if not _finite_sum(matrix) and (bad := _bad_rows(matrix)):
        raise GeometryError(
            f"{len(bad)} of {len(matrix)} points hold NaN or infinity (the first is row {bad[0]}) and cannot be "
            "measured; leave such rows out or, if a network gave them, look for overflow in half precision and for "
            "weights that diverged"
        )


def _finite_sum(tensor: Tensor) -> bool:
    """One bad number makes the sum bad, which is faster to find; a sum may also overflow by itself."""
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
        resolution: distances below this share of the norm of a point are rounding, and the two points equal; if
            omitted (negative), by the type of `points`: see `resolution_of`.
        pool: how the positions of the layer became points, such as "mean"; empty where it has none.

    Example:
        >>> import torch
        >>> ClassManifold(torch.eye(3), label=2, layer="penultimate").n_points
        3
    """

    points: Tensor
    label: int = -1
    layer: str = ""
    name: str = ""
    resolution: float = -1.0
    pool: str = ""

    def __post_init__(self) -> None:
        if self.resolution < 0:
            object.__setattr__(self, "resolution", resolution_of(self.points))
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
