"""Numbers as they come, in lists, arrays and columns of tables, as float64 that keeps them apart."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from manifoldscope.errors import StudyError

FloatArray: TypeAlias = npt.NDArray[np.float64]

EXACT = 2**53
"""Whole numbers up to this are float64; beyond, neighbouring ones become equal."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """A variable in float64: `values` are what is left when `origin` is subtracted, NaN where there is no number."""

    values: FloatArray
    origin: float = 0.0


def as_numbers(given: Any, name: str) -> Numbers:
    """A flat list, array or column of real numbers.

    Whole and decimal numbers too large for float64 are told apart by subtracting the first of them. What is masked or
    null is NaN.

    Args:
        given: numbers, booleans, None; a numpy array, a polars series, or anything that becomes an array.
        name: what messages call it.

    Raises:
        StudyError: no flat list, or one that holds anything but real numbers.
    """
    if isinstance(given, pl.Series):
        return _of_series(given, name)
    mask = np.ma.getmaskarray(given) if isinstance(given, np.ma.MaskedArray) else None
    try:
        array = np.asarray(given)
        if not isinstance(given, np.ndarray) and array.dtype.kind == "f":
            array = np.asarray(given, dtype=object)  # whole numbers among others would lose digits
    except (TypeError, ValueError, RuntimeError) as error:
        raise StudyError(f"{name} is no list of numbers ({str(error).splitlines()[0]})") from None
    if array.ndim != 1:
        raise StudyError(f"{name} has shape {array.shape}; expected a flat list of numbers")
    if array.dtype.kind not in "biufO":
        raise StudyError(f"{name} holds {_kind(array.dtype)}; expected real numbers")
    if array.dtype.kind == "O":
        found = _of_objects(array.tolist(), name)
    elif array.dtype == np.longdouble:
        origin = array[np.isfinite(array)][:1]
        found = Numbers((array - origin if len(origin) else array).astype(np.float64), float(origin.sum()))
    elif array.dtype.kind in "iu" and len(array) and max(-int(array.min()), int(array.max())) > EXACT:
        found = _of_objects(array.tolist(), name)
    else:
        found = Numbers(array.astype(np.float64))
    return found if mask is None else Numbers(np.where(mask, np.nan, found.values), found.origin)


def _of_series(series: pl.Series, name: str) -> Numbers:
    dtype = series.dtype
    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        shown = series.drop_nulls().head(1).to_list()
        raise StudyError(f"{name} holds {dtype}, such as {str(shown)[:60]}; expected numbers")
    if dtype.is_decimal() or (dtype.is_integer() and series.is_not_null().any() and _beyond(series)):
        return _of_objects(series.to_list(), name)
    return Numbers(series.cast(pl.Float64).fill_null(math.nan).to_numpy())


def _beyond(series: pl.Series) -> bool:
    least, most = series.min(), series.max()
    return not (isinstance(least, int) and isinstance(most, int) and least >= -EXACT and most <= EXACT)


def _of_objects(items: Sequence[Any], name: str) -> Numbers:
    """Python's own numbers, of any size."""
    for item in items:
        if not (item is None or isinstance(item, numbers.Real | Decimal | np.bool_)):
            raise StudyError(
                f"{name} holds {_kind(np.asarray(item).dtype)}, such as {str(item)[:60]!r}; expected numbers"
            )
    finite = [item for item in items if item is not None and math.isfinite(item)]
    large = [item for item in finite if not isinstance(item, float | np.floating) and abs(item) > EXACT]
    if not large:
        return Numbers(np.array([math.nan if item is None else float(item) for item in items], dtype=np.float64))
    origin = _fraction(large[0])
    values = [_fraction(item) - origin if item is not None and math.isfinite(item) else math.nan for item in items]
    return Numbers(np.array([_float(value) for value in values]), _float(origin))


def _fraction(number: Any) -> Fraction:
    return Fraction(number if isinstance(number, Decimal | int | Fraction) else float(number))


def _float(number: Fraction | float) -> float:
    """Infinite where it is beyond float64."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)


def _kind(dtype: np.dtype[Any]) -> str:
    words = {"c": "complex numbers", "M": "times", "m": "lengths of time", "U": "text", "S": "bytes", "V": "records"}
    return words.get(dtype.kind, str(dtype))
