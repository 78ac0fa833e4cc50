"""Measures of classes beside what else is known of the same classes, such as an accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from manifoldscope.errors import DataError, StudyError, printable, shortened, unknown
from manifoldscope.recordings.named import LABEL_NAMES

SUFFIX = "_outcome"
"""What is added to the name of a column of the outcome that the measures have as well."""


@dataclass(frozen=True, eq=False)
class Joined:
    """Measures and outcomes of the same classes.

    Attributes:
        frame: the rows of single classes of a measured table, with the columns of the outcome; only classes that both
            have.
        missing: the classes that only one of the two has, in words; empty where there are none.
    """

    frame: pl.DataFrame
    missing: str


def join_outcome(measured: pl.DataFrame, outcome: pl.DataFrame, *, key: str | None = None) -> Joined:
    """The measures of each class beside its outcome, joined by the name of the class.

    Args:
        measured: as `measured` returns it: label, other, measure, parameters, value, ...
        outcome: one row per class, any columns.
        key: the column of `outcome` that names the class; if omitted, the one called label, class, ...

    Returns:
        See `Joined`. A column of the outcome that `measured` has too is called NAME_outcome.

    Raises:
        StudyError: no such column; a class with several rows; or no class that both have.
        DataError: a row of the outcome that names no class.

    Example:
        >>> measured = pl.DataFrame({"label": ["cat", "dog"], "other": [None, None], "value": [4.0, 7.0]})
        >>> outcome = pl.DataFrame({"class": ["dog", "emu"], "accuracy": [0.25, 0.5]})
        >>> joined = join_outcome(measured, outcome)
        >>> joined.frame.select("label", "value", "accuracy").rows(), joined.missing
        ([('dog', 7.0, 0.25)], 'without an outcome: cat; not measured: emu')
    """
    name = _key(outcome, key)
    named = outcome.with_columns(_as_text(outcome[name]).alias(name))
    if n_null := named[name].null_count():
        raise DataError(f"{n_null} rows of the outcome have no class in column {name!r}; leave them out")
    if len(twice := named[name].filter(named[name].is_duplicated())):
        raise StudyError(
            f"the outcome has several rows for class {twice[0]!r}; give one row per class, as one network's"
        )
    classes = measured.filter(pl.col("label").is_not_null() & pl.col("other").is_null())
    asked, known = classes["label"].unique(maintain_order=True).to_list(), named[name].to_list()
    without = [label for label in asked if label not in set(known)]
    unmeasured = [label for label in known if label not in set(asked)]
    if len(without) == len(asked):
        raise StudyError(
            f"no class is in both: measured were {_listed(asked)}, and the outcome has {_listed(known)} in {name!r}"
        )
    missing = [f"without an outcome: {_listed(without)}"] * bool(without)
    missing += [f"not measured: {_listed(unmeasured)}"] * bool(unmeasured)
    frame = classes.join(named, left_on="label", right_on=name, how="inner", suffix=SUFFIX, maintain_order="left")
    return Joined(frame, "; ".join(missing))


def outcome_column(measured: pl.DataFrame, name: str) -> str:
    """What a column of the outcome is called when it is joined."""
    return f"{name}{SUFFIX}" if name in measured.columns else name


def _key(outcome: pl.DataFrame, key: str | None) -> str:
    if key is not None:
        if key not in outcome.columns:
            raise StudyError(unknown("column", key, outcome.columns))
        return key
    names = [name for name in outcome.columns if name.strip().lower() in LABEL_NAMES]
    if len(names) != 1:
        held = shortened(", ".join(outcome.columns), 200)
        raise StudyError(f"say which column of the outcome names the class, as by --key; it has: {held}")
    return names[0]


def _as_text(names: pl.Series) -> pl.Series:
    """Names of classes as text: a whole number as its digits, though it came as a float."""
    if names.dtype.is_float() and bool((names.drop_nulls() == names.drop_nulls().round()).all()):
        names = names.cast(pl.Int64, strict=False)
    return names.cast(pl.String)


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    shown = printable(", ".join(names[:12]))
    return shown + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
