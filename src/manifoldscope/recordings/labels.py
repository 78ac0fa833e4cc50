"""Labels: points as manifolds, one for each label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from manifoldscope.errors import DataError, GeometryError
from manifoldscope.files import why
from manifoldscope.geometry import ClassManifold

_PIECE = 4096
"""Points that are looked at together."""


def by_label(points: npt.NDArray[Any], labels: npt.NDArray[Any] | None, *, file: Path) -> list[ClassManifold]:
    """One manifold for each label, in the order of the labels; without labels one in all.

    Args:
        points: (n_points, n_features).
        labels: (n_points,) whole numbers or text.
        file: where they come from; its name stands for the layer, and in messages.

    Raises:
        DataError: labels of another number or type.
        GeometryError: points that cannot be measured, such as NaN or complex numbers.

    Example:
        >>> [(each.name, each.n_points) for each in by_label(np.eye(3), np.array(["b", "a", "b"]), file=Path("v1.npy"))]
        [('a', 1), ('b', 2)]
    """
    try:
        if labels is None:
            return [ClassManifold(points, layer=file.stem, name=file.stem)]  # type: ignore[arg-type]  # an array
        check_labels(labels, len(points) if points.ndim else 0, what="points", file=file)
        _require_finite(points)
        names, which = np.unique(labels, return_inverse=True)
        return [
            _manifold(points[which == place], value, place, text=labels.dtype.kind in "US", file=file)
            for place, value in enumerate(names)
        ]
    except GeometryError as error:
        raise GeometryError(f"{file.name}: {error}") from error


def _require_finite(points: npt.NDArray[Any]) -> None:
    """Raise GeometryError for NaN or infinity, with its place among all points; later only that in its class is known.

    Points may be many: they are looked at piece by piece.
    """
    if points.ndim != 2 or points.dtype.kind != "f":
        return
    starts = range(0, len(points), _PIECE)
    bad = np.concatenate([~np.isfinite(points[start : start + _PIECE]).all(axis=1) for start in starts] or [[]])
    if bad.any():
        raise GeometryError(
            f"{int(bad.sum())} of {len(points)} points hold NaN or infinity (the first is point "
            f"{int(bad.argmax()) + 1}, counted from 1); leave such points out"
        )


def by_class(points: npt.NDArray[Any], names: npt.NDArray[Any] | None, *, file: Path) -> list[ClassManifold]:
    """One manifold for each entry of the first axis, in its order.

    Args:
        points: (n_classes, n_points, n_features).
        names: (n_classes,) whole numbers or text; if omitted, classes have their numbers, from 0.
        file: where they come from; its name stands for the layer, and in messages.

    Raises:
        DataError: names of another number or type, or one that occurs twice.
        GeometryError: points that cannot be measured.
    """
    given: npt.NDArray[Any] = np.arange(len(points)) if names is None else names
    check_labels(given, len(points), what="classes", file=file)
    if len(np.unique(given)) < len(given):
        raise DataError(f"{file.name}: several entries of the axis of classes have one label; give each its own")
    try:
        return [
            _manifold(own, value, place, text=given.dtype.kind in "US", file=file)
            for place, (own, value) in enumerate(zip(points, given, strict=True))
        ]
    except GeometryError as error:
        raise GeometryError(f"{file.name}: {error}") from error


def check_labels(labels: npt.NDArray[Any], n: int, *, what: str, file: Path) -> None:
    """Raise DataError unless there is one whole number or text for each of `n` points or classes."""
    if labels.shape != (n,) or labels.dtype.kind not in "iuUS":
        raise DataError(
            f"labels have shape {labels.shape} and type {labels.dtype}; expected one whole number or text for each "
            f"of the {n} {what} of {file.name}"
        )


def text_of(value: Any) -> str:
    """A label or name as text. Raises ValueError where it is none."""
    text = value.decode() if isinstance(value, bytes) else str(value)
    text.encode()  # half of a pair of surrogates is no letter
    return text


def _manifold(points: npt.NDArray[Any], value: Any, place: int, *, text: bool, file: Path) -> ClassManifold:
    try:
        name = text_of(value)
    except ValueError as error:
        raise DataError(f"{file.name}: a label is no text ({why(error)})") from error
    return ClassManifold(points, label=place if text else int(value), layer=file.stem, name=name)  # type: ignore[arg-type]  # as above
