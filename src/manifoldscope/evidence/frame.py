"""Associations of columns of anyone's table, with the tests that studies have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

from manifoldscope.errors import StudyError, unknown
from manifoldscope.evidence.association import Association, Method, associate
from manifoldscope.evidence.numbers import FloatArray, as_numbers
from manifoldscope.evidence.permutation import Block, joint_test

_ANSWER = ("x", "y", "method", "coefficient", "low", "high", "p_value", "p_adjusted", "n", "note")
"""Columns of `associate_frame`."""

VANISHES = 0.25
"""An association vanishes within a group where less than this share of the pooled coefficient is left of it, and its
interval holds 0."""

Pooled = Literal["pooled", "within"]


def associate_frame(
    frame: pl.DataFrame,
    x: str | Sequence[str],
    y: str | Sequence[str],
    *,
    controls: Sequence[str] = (),
    second_draw: Sequence[str] = (),
    by: str | None = None,
    pooled: bool = False,
    permutations: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pl.DataFrame:
    """Pearson, Spearman and, given controls, partial correlations of columns of anyone's table.

    Args:
        frame: one row a pair.
        x, y: names of columns of numbers, one or several: each x goes with each y. Null is a missing pair.
        controls: columns to hold fixed.
        second_draw: the same controls in the same order, measured on the draw of y where `controls` are measured on
            that of x: the partial correlation is then the instrumented one (method "two_draws").
        by: name of a column; there is one association for each of its values, in order.
        pooled: with `by`, also over all rows, and over all with the means of their groups removed.
        permutations, confidence, seed: see `associate`.

    Returns:
        Columns `by` and `over` (where given: "group", "pooled" or "within"), x, y, method, coefficient, low, high,
        p_value, p_adjusted, n, note. `p_adjusted` compares each cell with the largest statistic of all x and y of one
        group and method, under joint permutations. The note of a pooled row names the groups within which the
        association vanishes or turns round.

    Raises:
        StudyError: a column that is not there, is named twice, or does not hold numbers; or a table without rows.

    Example:
        >>> frame = pl.DataFrame({"size": [1, 2, 3, 4, 5], "speed": [9, 7, 8, 5, 4]})
        >>> associate_frame(frame, "size", "speed")["coefficient"].round(3).to_list()
        [-0.915, -0.9]
    """
    xs, ys = ([each] if isinstance(each, str) else list(each) for each in (x, y))
    numeric = [*xs, *ys, *controls, *second_draw]
    _check(frame, numeric, by)
    if second_draw and len(second_draw) != len(controls):
        raise StudyError(
            f"{len(controls)} controls and {len(second_draw)} of the second draw; expected each control twice"
        )
    if pooled and by is None:
        raise StudyError("pooled rows need by: the column that tells groups apart")
    groups = (
        [((), frame)]
        if by is None
        else frame.sort(by, nulls_last=True, maintain_order=True).group_by(by, maintain_order=True)
    )
    rows: list[dict[str, Any]] = []
    settings = {"permutations": permutations, "confidence": confidence, "seed": seed}
    for value, group in groups:
        told = {} if by is None else {by: value[0], **({"over": "group"} if pooled else {})}
        rows += [told | row for row in _cells(group, xs, ys, controls, second_draw, settings)]
    if pooled and by is not None:
        for over, groups_of in (("pooled", None), ("within", frame[by])):
            cells = _cells(frame, xs, ys, controls, second_draw, settings, groups=groups_of)
            found = [{by: None, "over": over} | row for row in cells]
            rows += [_beside(row, rows, by) for row in found] if over == "pooled" else found
    fixed: dict[str, Any] = {} if by is None else {by: frame[by].dtype, **({"over": pl.String} if pooled else {})}
    return pl.DataFrame(rows, schema_overrides=fixed)


def in_cells(
    frame: pl.DataFrame, y: Sequence[str], *, cells: str, key: str, kept: Sequence[str], by: str | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """A long table with a row per pair, and its outcomes at each value of a column as columns of their own.

    Args:
        y: the outcomes.
        cells: the column of whose values each is a cell, such as an epsilon.
        key: what a pair is about, such as a class.
        kept: columns that have one value for each key, such as a measure.
        by: a column in each of whose groups, such as networks, keys are pairs of their own.

    Returns:
        The table, and the names of the outcomes: "accuracy at 0.1".

    Raises:
        StudyError: a column that is not there, or whose cells hold lists; a row without a cell or a key; a key with two
            rows of one cell, or two values of what is kept.

    Example:
        >>> long = {"name": ["a", "a", "b", "b"], "epsilon": [1, 2, 1, 2], "size": [5, 5, 6, 6], "acc": [3, 2, 4, 1]}
        >>> in_cells(pl.DataFrame(long), ["acc"], cells="epsilon", key="name", kept=["size"])[1]
        ['acc at 1', 'acc at 2']
    """
    keys = [key] if by is None else [key, by]
    named = [*y, cells, *keys, *kept]
    for name in named:
        if name not in frame.columns:
            raise StudyError(unknown("column", name, frame.columns))
        if named.count(name) > 1:
            raise StudyError(
                f"column {name!r} is named twice; give outcomes, cells, key and the rest their own columns"
            )
    for name in (cells, *keys):
        _require_groups(frame, name)
    for name in (cells, key):
        gaps = frame[name].fill_nan(None).null_count() if frame[name].dtype.is_float() else frame[name].null_count()
        if gaps:
            raise StudyError(f"{gaps} of {len(frame)} rows have no {name}; give each one, or leave these rows out")
    pair = key if by is None else f"{key} of one {by}"
    if frame.select(cells, *keys).is_duplicated().any():
        hint = "; where groups, such as networks, have the same ones, tell them apart by --by COLUMN" * (by is None)
        raise StudyError(f"a {pair} has two rows of one {cells}; expected one outcome for each pair of them{hint}")
    found = frame.select(*keys, *kept).unique(maintain_order=True)
    if found.select(keys).is_duplicated().any():
        raise StudyError(f"a {pair} has several values of {', '.join(kept)}; expected one, whatever the {cells}")
    names = []
    values = frame[cells].unique(maintain_order=True)
    for outcome in y:
        for value, text in zip(values, values.cast(pl.String), strict=True):
            name = f"{outcome} at {text}"
            column = frame.filter(pl.col(cells) == value).select(*keys, pl.col(outcome).alias(name))
            found = found.join(column, on=keys, how="left", nulls_equal=True, maintain_order="left")
            names.append(name)
    return found, names


def _check(frame: pl.DataFrame, numeric: Sequence[str], by: str | None) -> None:
    for name in [*numeric, *([by] if by is not None else [])]:
        if name not in frame.columns:
            raise StudyError(unknown("column", name, frame.columns))
        if numeric.count(name) > 1:
            raise StudyError(f"column {name!r} is named twice among x, y and the controls; give each its own column")
    if by in (*_ANSWER, "over"):
        raise StudyError(f"column {by!r} is also one of the answer; give it another name")
    if by is not None:
        _require_groups(frame, by)
    for name in numeric:
        as_numbers(frame[name], f"column {name!r}")
    if frame.is_empty():
        raise StudyError("the table has no rows; expected one row a pair")


def _require_groups(frame: pl.DataFrame, name: str) -> None:
    dtype = frame[name].dtype
    if dtype.is_nested() or dtype in (pl.Object, pl.Binary):
        raise StudyError(f"column {name!r} holds {dtype}; expected numbers or text to group by")


def _cells(
    group: pl.DataFrame,
    xs: Sequence[str],
    ys: Sequence[str],
    controls: Sequence[str],
    second_draw: Sequence[str],
    settings: dict[str, Any],
    *,
    groups: pl.Series | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of one group; or of all, within `groups`, whose means are held fixed."""
    held = {name: group[name] for name in controls}
    again = {name: group[other] for name, other in zip(controls, second_draw, strict=False)}
    asked: list[tuple[str, Method, bool]] = [("pearson", "pearson", False), ("spearman", "spearman", False)]
    if controls:
        asked.append(("two_draws" if again else "partial", "pearson", True))
    for label, method, controlled in asked:
        given = {
            (x, y): _fixed(group, x, y, held if controlled else {}, again if controlled else {}, groups)
            for x in xs
            for y in ys
        }
        found = {
            (x, y): associate(
                group[x], group[y], method=method, names=(x, y), controls=own, second_draw=other, **settings
            )
            for (x, y), (own, other) in given.items()
        }
        adjusted = _adjusted(group, found, method, given, settings)
        for (x, y), result in found.items():
            yield {
                "x": x,
                "y": y,
                "method": label,
                "coefficient": result.coefficient,
                "low": result.low,
                "high": result.high,
                "p_value": result.p_value,
                "p_adjusted": adjusted.get((x, y), math.nan),
                "n": result.n,
                "note": result.note,
            }


def _fixed(
    group: pl.DataFrame,
    x: str,
    y: str,
    held: dict[str, pl.Series],
    again: dict[str, pl.Series],
    groups: pl.Series | None,
) -> tuple[dict[str, pl.Series], dict[str, pl.Series]]:
    """The controls of a cell on both draws; with `groups` also the means of those that its pairs are of."""
    means = {}
    if groups is not None:
        columns = [group[x], group[y], *held.values(), *again.values()]
        known = np.logical_and.reduce([np.isfinite(as_numbers(each, str(each.name)).values) for each in columns])
        of_pairs = groups.filter(pl.Series(known)).unique(maintain_order=True)
        means = {f"group {name}": groups.eq_missing(name) for name in of_pairs[1:]}
        if clash := sorted(means.keys() & held.keys()):
            raise StudyError(f"column {clash[0]!r} is called as a group is; give it another name")
    return held | means, again | means if again else {}


def _adjusted(
    group: pl.DataFrame,
    found: dict[tuple[str, str], Association],
    method: Method,
    given: dict[tuple[str, str], tuple[dict[str, pl.Series], dict[str, pl.Series]]],
    settings: dict[str, Any],
) -> dict[tuple[str, str], float]:
    """The p of each cell beside the largest statistic of all of them; over the rows that have every number."""
    known = {at: result for at, result in found.items() if not math.isnan(result.coefficient)}
    if len(known) < 2 or not settings["permutations"]:
        return {at: result.p_value for at, result in found.items()}
    blocks = []
    for x, y in known:
        held, again = given[x, y]
        columns = [group[x], group[y], *held.values(), *again.values()]
        values: FloatArray = np.stack([as_numbers(column, str(column.name)).values for column in columns])
        have = np.isfinite(values).all(axis=0)
        values = values[:, have]
        if method == "spearman":
            values = np.stack([pl.Series(row).rank().to_numpy() for row in values])
        d = len(held)
        other = values[2 + d :] if again else None
        blocks.append(Block.of(values[:1], values[1:2], values[2 : 2 + d], other, np.flatnonzero(have)))
    tested = joint_test(blocks, settings["permutations"], settings["seed"], n_classes=group.height)
    # where rows are missing, the p of a cell alone is of other permutations
    return {at: max(found[at].p_value, float(p[0, 0])) for at, p in zip(known, tested.p_adjusted, strict=True)}


def _beside(row: dict[str, Any], rows: Sequence[dict[str, Any]], by: str) -> dict[str, Any]:
    """A pooled row, with the groups within which its association is not seen or turns round."""
    said: dict[str, list[str]] = {"vanishes within": [], "turns round within": []}
    for group in rows:
        same = all(group[name] == row[name] for name in ("x", "y", "method"))
        if not same or group["over"] != "group" or math.isnan(group["coefficient"]) or math.isnan(row["coefficient"]):
            continue
        coefficient = f"{group['coefficient']:+.2f}".replace("-", "\u2212")
        named = f"{group[by]} ({coefficient})"
        if not row["low"] * row["high"] > 0:  # nothing holds over all
            continue
        share = group["coefficient"] / row["coefficient"]
        if group["low"] * group["high"] > 0 and share < 0:
            said["turns round within"].append(named)
        elif group["low"] * group["high"] <= 0 and abs(share) < VANISHES:
            said["vanishes within"].append(named)
    phrases = [f"{phrase} {', '.join(names)}" for phrase, names in said.items() if names]
    return {**row, "note": "; ".join(filter(None, [row["note"], *phrases]))}
