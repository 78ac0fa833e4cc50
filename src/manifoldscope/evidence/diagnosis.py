"""Findings in words, each with the numbers it rests on and the doubts that go with it.

The answers to the study's question come from `answer`; here is what the numbers behind them can bear, and the order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from manifoldscope.evidence.answer import (
    Finding,
    across_classes,
    across_networks,
    capital,
    falls_when_halved,
    listed,
    near_ceiling,
    said,
    smallest_detectable,
)
from manifoldscope.evidence.foreign import detections, shifts
from manifoldscope.tables import TABLES, conform

__all__ = ["Finding", "diagnose", "smallest_detectable"]

_NEEDED = {
    "models": "the networks cannot be named or compared",
    "geometry": "nothing is known of the manifolds",
    "robustness": "nothing is known of robustness",
    "associations": "whether the one goes with the other was not asked",
    "checks": "nobody checked whether the attack can be trusted",
}


def diagnose(tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    """What the tables of a study say, the most important first.

    Args:
        tables: by name, as in `manifoldscope.tables`; one that is left out or empty is reported as such.

    Raises:
        ManifoldscopeError: a table with a column that its schema does not know.

    Example:
        >>> diagnose({})[0].title
        'The study is not complete: models, geometry, robustness, associations and checks are missing'
    """
    known = {name: conform(name, tables.get(name, [])) for name in TABLES}
    findings = [
        *_missing(tables),
        *across_classes(known),
        *across_networks(known),
        *_checks(known["checks"]),
        *_ceilings(known["geometry"]),
        *_granularity(known["robustness"]),
        *_iterates(known["robustness"]),
        *shifts(known["shifted"], known["models"]),
        *detections(known["detection"]),
        *_set_aside(known["set_aside"]),
    ]
    return sorted(findings, key=lambda finding: -finding.weight)


def _missing(tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    absent = [name for name in _NEEDED if name not in tables or tables[name].is_empty()]
    if not absent:
        return []
    return [
        Finding(
            kind="missing",
            title=f"The study is not complete: {listed(absent)} {'is' if len(absent) == 1 else 'are'} missing",
            text=" ".join(f"Without {name}, {_NEEDED[name]}." for name in absent),
            numbers=tuple({"table": name, "rows": 0} for name in absent),
            weight=100,
        )
    ]


# What the numbers can bear.


def _checks(checks: pl.DataFrame) -> list[Finding]:
    if checks.is_empty():
        return []
    failed = checks.filter(~pl.col("passed"))
    unknown = checks["passed"].null_count()
    asides = (f"{unknown} check{'s' * (unknown != 1)} could not be decided.",) if unknown else ()
    n_networks = checks["model"].n_unique()
    networks = f"{n_networks} network{'s' * (n_networks != 1)}"
    if failed.is_empty():
        return [
            Finding(
                kind="checks",
                title="No check of the evaluation failed" if unknown else "Every check of the evaluation passed",
                text=f"{len(checks) - unknown} of {len(checks)} checks passed, over {networks}.",
                doubts=(*asides, "Checks find known ways to overestimate robustness; they cannot exclude new ones."),
                weight=20,
            )
        ]
    rows = failed.to_dicts()
    shown = [f"{row['model']}: {row['check']}" + (f" ({row['note']})" if row["note"] else "") for row in rows]
    more = f"; and {len(shown) - 5} more" if len(shown) > 5 else ""
    return [
        Finding(
            kind="checks",
            title=f"{len(failed)} of {len(checks)} checks of the evaluation failed: read the accuracies with care",
            text=f"{'; '.join(shown[:5])}{more}.",
            doubts=asides,
            numbers=tuple(rows),
            weight=95,
        )
    ]


def _ceilings(geometry: pl.DataFrame) -> list[Finding]:
    clean = pl.col("threat").fill_null("") == ""
    bounded = geometry.filter(clean & (pl.col("class_index") >= 0) & pl.col("value").is_not_null())
    if bounded.is_empty():
        return []
    counted = bounded.group_by("measure", "parameters", maintain_order=True).agg(
        pl.len().alias("values"),
        near_ceiling().sum().alias("near_ceiling"),
        falls_when_halved().sum().alias("falls_when_halved"),
        (near_ceiling() | falls_when_halved()).sum().alias("doubtful"),
        pl.col("n_points").min().alias("fewest_points"),
        pl.col("ceiling").count().alias("bounded"),
    )
    doubtful, total = int(counted["doubtful"].sum()), len(bounded)
    each = [
        f"{capital(said(row['measure']))}{f' ({named})' if (named := row['parameters']) else ''}: "
        f"{row['near_ceiling']} of {row['values']} values are within 10% of their ceiling, and "
        f"{row['falls_when_halved']} fall by more than 10% with half of the points (at least {row['fewest_points']} a "
        "class)."
        for row in counted.filter((pl.col("bounded") > 0) | (pl.col("doubtful") > 0)).to_dicts()
    ]
    unbounded = counted.filter((pl.col("bounded") == 0) & (pl.col("doubtful") == 0))["measure"].unique(
        maintain_order=True
    )
    if len(unbounded):
        each.append(f"Without a ceiling, and none falls so: {listed([said(name) for name in unbounded])}.")
    title = "No value is near its ceiling or falls with half of the points"
    if doubtful:
        title = f"{100 * doubtful / total:.3g}% of the values depend on the number of images"
        each.append("Such values grow with the number of images: compare them only at equal numbers a class.")
    return [
        Finding(
            kind="ceiling",
            title=title,
            text=" ".join(each),
            numbers=tuple(counted.to_dicts()),
            weight=70 if doubtful else 15,
        )
    ]


def _granularity(robustness: pl.DataFrame) -> list[Finding]:
    images = robustness["n_images"].drop_nulls()
    fewest = images.min()
    if not isinstance(fewest, int) or fewest < 1:
        return []
    half_width = 1.96 * math.sqrt(0.25 / fewest)
    return [
        Finding(
            kind="granularity",
            title=f"A class's accuracy is known to about ±{100 * half_width:.0f} points at worst",
            text=f"The smallest class has {fewest} images, so its accuracy moves in steps of {100 / fewest:.2g} points "
            f"and its 95% interval at 50% accuracy is ±{100 * half_width:.1f} points. Such noise weakens every "
            "correlation with accuracy.",
            numbers=({"n_images": fewest, "half_width": half_width},),
            weight=60 if half_width > 0.05 else 25,
        )
    ]


def _iterates(robustness: pl.DataFrame) -> list[Finding]:
    keys = ["model", "threat", "parameters", "strength", "class_index"]
    counts = [*keys, "n_images", "n_survived"]
    last, best = (robustness.filter(pl.col("iterate") == name).select(counts) for name in ("last", "any"))
    both = last.join(best, on=keys, suffix="_any", nulls_equal=True)
    if both.is_empty():
        return []
    sums = both.group_by("model", "threat", "strength", maintain_order=True).agg(
        pl.col("n_images", "n_survived", "n_survived_any").sum()
    )
    gaps = sums.with_columns(gap=(pl.col("n_survived") - pl.col("n_survived_any")) / pl.col("n_images")).sort(
        "gap", descending=True, maintain_order=True
    )
    worst = gaps.row(0, named=True)
    different = worst["gap"] > 0
    text = (
        f"Largest for {worst['model']} under {worst['threat']} at strength {worst['strength']:.4g}: "
        f"{worst['n_survived']} of {worst['n_images']} images survive the last iterate and {worst['n_survived_any']} "
        "survive every iterate. An attacker would keep the best: 'any' is the safer number."
        if different
        else f"The two agree over {len(gaps)} settings."
    )
    return [
        Finding(
            kind="iterates",
            title=f"The last iterate alone overstates robustness by up to {100 * worst['gap']:.1f} points"
            if different
            else "No image was misclassified on the way and classified correctly at the end",
            text=text,
            numbers=tuple(gaps.filter(pl.col("gap") > 0).to_dicts()),
            weight=50 if worst["gap"] >= 0.01 else 18,
        )
    ]


def _set_aside(images: pl.DataFrame) -> list[Finding]:
    if images.is_empty():
        return []
    n, classes = len(images), images["class_name"].n_unique()
    first = images.row(0, named=True)
    return [
        Finding(
            kind="set_aside",
            title=f"{n} image{'s' * (n != 1)} could not be read and {'was' if n == 1 else 'were'} left out",
            text=f"They belong to {classes} class{'es' * (classes != 1)}; the first is {first['image']} "
            f"({first['reason']}).",
            numbers=tuple(images.to_dicts()),
            weight=40,
        )
    ]
