"""The drawings of associations of two columns: a scatter with its regression, and the coefficients in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

import numpy as np
import polars as pl
from matplotlib.ticker import MaxNLocator

from manifoldscope.evidence import nearly_constant, smallest_detectable
from manifoldscope.report import words
from manifoldscope.report.chart import COLOURS, Chart, plain, styled
from manifoldscope.report.figures.panel import MOST_TOOLTIPS, NAMED_CLASSES, name_points
from manifoldscope.report.regression import regression
from manifoldscope.report.rows import Reals
from manifoldscope.report.small import Drawing, Part

MOST_SCATTERS = 24

_UNITS = ("class", "class_name", "class_index", "label", "labels", "name", "subject", "animal", "neuron", "image")
"""What columns are called that name what was measured."""

_METHODS = {
    "pearson": "Pearson r",
    "spearman": "Spearman ρ",
    "partial": "given the controls, r",
    "two_draws": "given the controls of two draws, r",
}
_OVER = {"pooled": "Over all: ", "within": "With the means of groups removed: "}
_CAUSE = "An association is not a cause: what differs between the pairs may move both."


@styled
def scatter(
    x: Reals,
    y: Reals,
    *,
    across: str,
    up: str,
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str] | None = None,
    title: str = "",
) -> Drawing:
    """A point per pair, the line of least squares with the 95% interval of its height, and what is known of it.

    Args:
        x, y: (n,) numbers; pairs with NaN are not drawn.
        across, up: what they are.
        rows: the coefficients of this pair of columns, as `associate_frame` gives them.
        names: of the pairs.
        title: if omitted, "y against x".
    """
    chart = Chart(width=2.75, height=2.35, left=0.7, right=0.15, top=0.12, bottom=0.5)
    (panel,) = chart.flat
    whole = np.isfinite(x) & np.isfinite(y)
    x, y = x[whole], y[whole]
    called = None if names is None else [name for name, kept in zip(names, whole, strict=True) if kept]
    few = nearly_constant(x)
    line = None if few else regression(x, y)
    if line is not None:
        at = np.linspace(x.min(), x.max(), 80)
        height, width = line.at(at), line.band(at)
        panel.fill_between(at, height - width, height + width, color=COLOURS[0], alpha=0.14, linewidth=0)
        panel.plot(at, height, color=COLOURS[0], linewidth=1.3)
    crowded = len(x) > MOST_TOOLTIPS
    size = 28 if len(x) <= 30 else 14 if len(x) <= 300 else 6
    points = panel.scatter(
        x, y, s=size, color=COLOURS[0], edgecolor="white", linewidth=0.5, zorder=3, rasterized=crowded
    )
    if not crowded:
        told = called or [f"pair {index}" for index in range(1, len(x) + 1)]
        chart.explain(
            points, [f"{name}: {words.number(a)}, {words.number(b)}" for name, a, b in zip(told, x, y, strict=True)]
        )
    panel.set_xlabel(plain(across, 48))
    panel.set_ylabel(plain(up, 40))
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.yaxis.set_major_locator(MaxNLocator(5))
    if called is not None and len(called) <= NAMED_CLASSES:
        panel.autoscale_view()  # names are placed by where points lie
        name_points(chart, panel, x, y, called)
    return Drawing(title or f"{up} against {across}", _caption(rows, drawn=line is not None, few=few), chart)


def coefficient(row: Mapping[str, Any]) -> str:
    """A row of coefficients in words.

    Example:
        >>> coefficient({"method": "pearson", "coefficient": -0.915, "low": -0.99, "high": -0.2, "p_value": 0.03})
        'Pearson r = −0.92 (95%: −0.99 to −0.20), p = 0.03'
    """
    value, low, high = (words.coefficient(row.get(name)) for name in ("coefficient", "low", "high"))
    text = f"{_METHODS.get(row['method'], row['method'])} = {value}"
    if value == "–":
        return f"{_METHODS.get(row['method'], row['method'])}: no coefficient"
    if low != "–":
        text += f" (95%: {low} to {high})"
    p, adjusted = row.get("p_value"), row.get("p_adjusted")
    if p is not None and math.isfinite(p):
        text += f", p = {words.number(p, 2)}"
        if adjusted is not None and math.isfinite(adjusted) and adjusted != p:
            text += f" (adjusted {words.number(adjusted, 2)})"
    return text


def cautions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Reasons to read associations with care: how few pairs, how many tests, what notes say."""
    found = []
    counts = [int(row["n"]) for row in rows if row.get("n")]
    if counts:
        fewest = min(counts)
        found.append(
            f"With {words.number(fewest)} pairs only |r| above about {words.coefficient(smallest_detectable(fewest))} "
            "would be found four times in five; a weaker association can be neither seen nor excluded."
        )
    pairs = {tuple(row.get(name) for name in ("measure", "parameters", "x", "y")) for row in rows}
    if len(pairs) > 1 and not any("p_adjusted" in row for row in rows):
        found.append(f"p is that of each of {len(pairs)} associations by itself, and not adjusted for their number.")
    notes = list(dict.fromkeys(str(row["note"]) for row in rows if row.get("note")))
    found += [f"{note[0].upper()}{note[1:]}." for note in notes[:6]]
    if len(notes) > 6:
        found.append(f"{len(notes) - 6} more notes are in the table.")
    return [*found, _CAUSE]


def dependence(
    frame: pl.DataFrame, *, x: Sequence[str], y: Sequence[str], by: str | None = None, held: Sequence[str] = ()
) -> str:
    """Why the rows of a table are not independent, and what to do instead; empty where nothing shows that.

    Rows are of one thing where a column of names, such as of classes, repeats a name, or where a measured number of x
    repeats in every row of a group.

    Args:
        frame: one row a pair.
        x, y, held: the columns that are related, and those held fixed.
        by: the column whose values are related apart.
    """
    columns = [name for name in frame.columns if name not in {*x, *y, *held, by}]
    groups = [frame] if by is None else frame.partition_by(by)
    least = max(groups, key=lambda group: group.height)
    for name in sorted(columns, key=lambda name: not _names_units(name)):
        named = least[name].drop_nulls()
        n = named.n_unique()
        if (least.schema[name] == pl.String or _names_units(name)) and 1 < n <= len(named) / 1.5:
            return f"{_repeated(least, name, by)}. {_instead(frame, name, columns, x, by)}"
    for name in x:
        values = least[name].drop_nulls()
        known = values.n_unique()
        if values.dtype.is_float() and not bool((values == values.round()).all()) and 2 < known <= len(values) / 2:
            return (
                f"{name} has {words.number(known)} different values in {words.number(len(values))} rows: rows that "
                "share a measured value are of one thing, and not independent. Intervals are usually too narrow "
                "and p too small. Give one row per thing, or relate the rows of one condition at a time by --by COLUMN."
            )
    return ""


def _names_units(name: str) -> bool:
    """Whether a column is called as one that names what was measured."""
    return name.strip().lower() in _UNITS


def _repeated(group: pl.DataFrame, name: str, by: str | None) -> str:
    n = group[name].n_unique()
    where = "" if by is None else f" of one {by}"
    return (
        f"{words.number(group.height)} rows{where} are of {words.number(n)} different values of {name!r}: rows of the "
        "same one are not independent, and intervals are usually too narrow and p too small"
    )


def _instead(frame: pl.DataFrame, name: str, columns: Sequence[str], x: Sequence[str], by: str | None) -> str:
    """Which option takes the rows of one thing apart."""
    if by is None:
        for other in columns:
            if other == name or frame.select(name, other).is_duplicated().any():
                continue  # it tells the rows of one name apart
            if frame[other].n_unique() > frame.height / 2 or frame[other].null_count():
                continue
            if not frame.select(name, *x).unique().select(name).is_duplicated().any():
                return (
                    f"Relate each {other} apart by --cells {quote(other)} --key {quote(name)}, which shares the test."
                )
            return f"Relate each {other} apart by --by {quote(other)}."
    if by is None and not _names_units(name):
        return f"Relate each {name} apart by --by {quote(name)}."
    return f"Give one row per {name}, such as the mean of its rows."


def _caption(rows: Sequence[Mapping[str, Any]], *, drawn: bool, few: int) -> str:
    by_group: dict[str, list[str]] = {}
    for row in rows:
        by_group.setdefault(_OVER.get(str(row.get("over")), ""), []).append(coefficient(row))
    said = ". ".join(f"{over}{'; '.join(texts)}" for over, texts in by_group.items())
    counts = sorted({int(row["n"]) for row in rows if row.get("n") is not None})
    over = f" Over {' or '.join(words.number(n) for n in counts)} pairs." if counts else ""
    line = " The line is that of least squares, the band the 95% interval of its height." if drawn else ""
    if few:
        line = f" All but {few} share one value across: a coefficient rests on {'it' if few == 1 else 'these'} alone."
    return f"{said}.{over}{line}"


def associated_parts(
    frame: pl.DataFrame,
    found: pl.DataFrame,
    *,
    x: Sequence[str],
    y: Sequence[str],
    by: str | None = None,
    key: str | None = None,
) -> list[Part]:
    """A scatter of each two columns, and with `by` one of each group.

    Args:
        frame: one row a pair.
        found: the coefficients, as `associate_frame` gives them.
        x, y: the columns.
        by: the column that tells groups apart.
        key: the column that names the pairs; if omitted, the first one of text.
    """
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String and name != by]
    named = key or next(iter(texts), None)
    drawings: list[Drawing] = []
    left_out = 0
    for one, other, (group, rows) in itertools.product(x, y, _groups(frame, by)):
        if len(drawings) == MOST_SCATTERS:
            left_out += 1
            continue
        facts = found.filter(pl.col("x") == one, pl.col("y") == other)
        if by is not None:
            over = pl.col("over") != "group" if group is None else pl.col(by).eq_missing(pl.lit(group))
            facts = facts.filter(over if "over" in found.columns else pl.col(by).eq_missing(pl.lit(group)))
        place = "" if by is None else f", {f'{by} {group}' if group is not None else 'all groups'}"
        names = None if named is None else [str(name) for name in rows[named]]
        drawings.append(
            scatter(
                _numbers(rows, one),
                _numbers(rows, other),
                across=one,
                up=other,
                rows=facts.to_dicts(),
                names=names,
                title=f"{other} against {one}{place}",
            )
        )
    text = f"{left_out} more are in the table alone." if left_out else ""
    return [Part("The pairs", text, drawings)]


def _groups(frame: pl.DataFrame, by: str | None) -> list[tuple[Any, pl.DataFrame]]:
    """The groups in order; of text, all of them together first."""
    if by is None:
        return [(None, frame)]
    apart = frame.sort(by, nulls_last=True, maintain_order=True).group_by(by, maintain_order=True)
    groups: list[tuple[Any, pl.DataFrame]] = [(value[0], rows) for value, rows in apart]
    pooled = frame[by].dtype in (pl.String, pl.Categorical, pl.Enum)
    return [(None, frame), *groups] if pooled else groups


def _numbers(rows: pl.DataFrame, name: str) -> Reals:
    return np.asarray(rows[name].cast(pl.Float64, strict=False).fill_null(math.nan).to_numpy(), dtype=np.float64)
