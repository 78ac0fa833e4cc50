"""Findings in words, each with the numbers it rests on and the doubts that go with it.

A finding never says more than its numbers: a correlation across classes is no cause, an interval is quoted beside
every coefficient, and what could not be asked is said as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl
from scipy import special

from manifoldscope.evidence.association import FEWEST_NETWORKS, replicates
from manifoldscope.tables import TABLES, conform

SIGNIFICANT = 0.05
"""An adjusted p-value below this is called evidence."""

FEW_CLASSES = 20
"""With fewer classes than this, a finding says how strong an association had to be to be seen."""

_NEAR_CEILING = 0.9
_MAIN_MEASURE = "pca_dimension"
_NEEDED = {
    "models": "the networks cannot be named or compared",
    "geometry": "nothing is known of the manifolds",
    "robustness": "nothing is known of robustness",
    "associations": "whether the one goes with the other was not asked",
    "checks": "nobody checked whether the attack can be trusted",
}


@dataclass(frozen=True)
class Finding:
    """One thing that the tables say.

    Attributes:
        kind: "missing", "association", "networks", "checks", "ceiling", "granularity", "iterates" or "set_aside".
        title: one sentence in plain words.
        text: one to three sentences with the numbers and their uncertainty.
        doubts: what speaks against reading more into it.
        numbers: the rows of the tables that it rests on.
        weight: findings are shown with the largest first.
    """

    kind: str
    title: str
    text: str
    doubts: tuple[str, ...] = ()
    numbers: tuple[Mapping[str, Any], ...] = ()
    weight: float = 0.0


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
        *_associations(known),
        *_networks(known),
        *_checks(known["checks"]),
        *_ceilings(known["geometry"]),
        *_granularity(known["robustness"]),
        *_iterates(known["robustness"]),
        *_set_aside(known["set_aside"]),
    ]
    return sorted(findings, key=lambda finding: -finding.weight)


def smallest_detectable(n: int, *, power: float = 0.8, level: float = SIGNIFICANT) -> float:
    """The smallest |r| that a two-sided test over n pairs finds with this power, by Fisher's z; 1 below 4 pairs.

    Example:
        >>> round(smallest_detectable(10), 2), round(smallest_detectable(100), 2)
        (0.79, 0.28)
    """
    if n < 4:
        return 1.0
    return math.tanh(float(special.ndtri(1 - level / 2) + special.ndtri(power)) / math.sqrt(n - 3))


def _missing(tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    absent = [name for name in _NEEDED if name not in tables or tables[name].is_empty()]
    if not absent:
        return []
    return [
        Finding(
            kind="missing",
            title=f"The study is not complete: {_listed(absent)} {'is' if len(absent) == 1 else 'are'} missing",
            text=" ".join(f"Without {name}, {_NEEDED[name]}." for name in absent),
            numbers=tuple({"table": name, "rows": 0} for name in absent),
            weight=100,
        )
    ]


# The main question: within one network, do the classes with fewer dimensions survive more often?


def _associations(tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    within = tables["associations"].filter(pl.col("model") != "*")
    findings = []
    for (model, layer), rows in within.group_by("model", "layer", maintain_order=True):
        measured = _main_measure(rows)
        finding = _association(model, layer, measured, tables)
        if finding:
            findings.append(finding)
    return findings


def _association(model: str, layer: str, rows: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> Finding | None:
    attacked = _preferred_iterate(rows.filter(pl.col("strength") > 0))
    if attacked.is_empty():
        return None
    accuracies = _preferred_iterate(tables["robustness"].filter((pl.col("model") == model) & (pl.col("strength") > 0)))
    threat, strength = _most_informative(attacked, accuracies)
    chosen = attacked.filter((pl.col("threat") == threat) & (pl.col("strength") == strength))
    by_method = {row["method"]: row for row in chosen.iter_rows(named=True)}
    plain, partial = by_method.get("pearson") or by_method.get("spearman"), by_method.get("partial")
    if plain is None:
        return None
    what = _said(plain["measure"])
    where = f"{model}, {layer}"
    setting = f"{threat} at strength {strength:.4g} (where class accuracies spread most; iterate {plain['iterate']})"
    numbers = tuple(chosen.iter_rows(named=True))
    if plain["coefficient"] is None:
        return Finding(
            kind="association",
            title=f"{where}: whether {what} goes with robustness could not be asked",
            text=f"Under {setting} there is no correlation over {plain['n']} classes: "
            f"{_why_none(plain, tables, accuracies)}.",
            numbers=numbers,
            weight=80,
        )
    title, weight = _verdict(plain, what)
    sentences = [
        f"Under {setting}, {_named(plain)} over {plain['n']} classes is {_quoted(plain)}.",
        _given_clean(partial, plain),
    ]
    return Finding(
        kind="association",
        title=f"{where}: {title}",
        text=" ".join(filter(None, sentences)),
        doubts=_association_doubts(plain, partial, tables, accuracies),
        numbers=numbers,
        weight=weight,
    )


def _verdict(row: Mapping[str, Any], what: str) -> tuple[str, float]:
    """The headline, and how far up it belongs."""
    more = "lower" if row["coefficient"] < 0 else "higher"
    p, adjusted = row["p_value"], row["p_adjusted"]
    if p is None:
        return f"classes with {more} {what} survived more often in this sample; chance was not tested", 85
    if (p if adjusted is None else adjusted) < SIGNIFICANT:
        return f"classes with {more} {what} survive the attack more often", 90
    if p < SIGNIFICANT:
        return f"a hint, no more, that classes with {more} {what} survive more often", 87
    return f"no evidence that {what} goes with robustness across classes", 85


def _given_clean(partial: Mapping[str, Any] | None, plain: Mapping[str, Any]) -> str:
    if partial is None or partial["coefficient"] is None:
        return "Whether this holds among classes of equal clean accuracy could not be estimated."
    quoted = f"With clean accuracy held fixed the partial correlation is {_quoted(partial)}"
    plain_seen, partial_seen = _seen(plain), _seen(partial)
    same_sign = partial["coefficient"] * plain["coefficient"] > 0
    if plain_seen and partial_seen:
        return f"{quoted}: the association {'holds' if same_sign else 'turns around'}."
    if plain_seen:
        return f"{quoted}: what is seen is consistent with clean accuracy alone, and does not outlast it."
    if partial_seen:
        return f"{quoted}: an association appears only then, and should be repeated before it is believed."
    return f"{quoted}: no evidence there either."


def _association_doubts(
    plain: Mapping[str, Any],
    partial: Mapping[str, Any] | None,
    tables: Mapping[str, pl.DataFrame],
    accuracies: pl.DataFrame,
) -> tuple[str, ...]:
    doubts = []
    n = plain["n"]
    if n < FEW_CLASSES or not _seen(plain):
        doubts.append(
            f"With {n} classes only |r| above about {smallest_detectable(n):.2f} would be found four times in five; "
            "a weaker association can be neither seen nor excluded."
        )
    if _excludes_zero(plain) != _seen(plain):
        doubts.append("The interval and the adjusted p-value disagree about zero; the evidence is at the border.")
    used = _measured(tables["geometry"], plain)
    near = len(used.filter(_near_ceiling()))
    if near:
        doubts.append(
            f"{near} of {len(used)} values are within 10% of the most that so many points can show, and describe the "
            "sample."
        )
    here = accuracies.filter((pl.col("threat") == _base(plain["threat"])) & (pl.col("strength") == plain["strength"]))
    if partial is not None and not here.is_empty():
        doubts.append(
            f"Clean accuracy is itself known from {here['n_images'].min()!r} images a class, so holding it fixed "
            "corrects only in part."
        )
    doubts.append("An association across classes is not a cause: what differs between classes may move both.")
    return tuple(doubts)


def _why_none(row: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], accuracies: pl.DataFrame) -> str:
    if row["n"] < 4:
        return "at least 4 classes are needed"
    values = _measured(tables["geometry"], row)["value"].drop_nulls()
    if len(values) and values.n_unique() == 1:
        return f"every class has the same value, {values[0]:.4g}"
    here = accuracies.filter((pl.col("threat") == _base(row["threat"])) & (pl.col("strength") == row["strength"]))
    if len(here) and here["accuracy"].n_unique() == 1:
        return f"every class has the same accuracy, {here['accuracy'][0]:.1%}"
    return "one of the two does not vary"


# Across networks.


def _networks(tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    geometry = tables["geometry"].filter((pl.col("class_index") >= 0) & pl.col("threat").is_null())
    attacked = _preferred_iterate(tables["robustness"].filter(pl.col("strength") > 0))
    names = replicates(tables["models"])
    findings = []
    for (layer,), rows in geometry.group_by("layer", maintain_order=True):
        finding = _comparison(str(layer), _main_measure(rows), attacked, names, tables["associations"])
        if finding:
            findings.append(finding)
    return findings


def _comparison(
    layer: str, rows: pl.DataFrame, attacked: pl.DataFrame, names: Mapping[str, str], associations: pl.DataFrame
) -> Finding | None:
    values = _by_network(rows, names, "value")
    accuracies = _by_network(attacked, names, "accuracy", "threat", "strength").join(values, on="network")
    if values.height < 2 or accuracies.is_empty():
        return None
    # The setting that the most networks share, and of those the one in which they differ most.
    settings = accuracies.group_by("threat", "strength").agg(
        pl.len().alias("networks"), pl.col("accuracy").std().fill_null(0.0).alias("spread")
    )
    threat, strength = (
        settings.sort(["networks", "spread", "strength"], descending=[True, True, False], maintain_order=True)
        .select("threat", "strength")
        .row(0)
    )
    shared = accuracies.filter((pl.col("threat") == threat) & (pl.col("strength") == strength)).sort(
        "accuracy", "network"
    )
    n = len(shared)
    if n < 2:
        return None
    measure = rows["measure"][0]
    order = ", ".join(f"{row['network']} ({row['value']:.3g}; {row['accuracy']:.1%})" for row in _rows(shared))
    trend = _trend(shared["value"].to_list())
    title = f"Across {n} networks at {layer}, {_said(measure)} {trend} as robust accuracy rises"
    text = (
        f"From the least to the most robust under {threat} at strength {strength:.4g} (mean over classes of "
        f"{_said(measure)}; accuracy): {order}."
    )
    across = associations.filter(
        (pl.col("model") == "*")
        & (pl.col("layer") == layer)
        & (pl.col("measure") == measure)
        & (pl.col("threat") == threat)
        & (pl.col("strength") == strength)
        & (pl.col("method") == "spearman")
        & pl.col("coefficient").is_not_null()
    )
    doubts = []
    if n < FEWEST_NETWORKS:
        doubts.append(f"{n} networks are too few for a p-value; this is an order, not a test.")
    elif len(across):
        row = across.row(0, named=True)
        text += f" Their rank correlation is {_quoted(row)}."
        doubts.append(
            f"With {row['n']} networks only |r| above about {smallest_detectable(row['n']):.2f} would be found four "
            "times in five."
        )
    else:
        doubts.append("No association across these networks is in the tables, so chance was not tested.")
    if shared["accuracy"].n_unique() < n:
        doubts.append("Some networks have the same accuracy, and their order among each other means nothing.")
    doubts.append("Networks that differ in more than their robustness cannot show what the difference is due to.")
    return Finding("networks", title, text, tuple(doubts), tuple(_rows(shared)), weight=82)


def _by_network(frame: pl.DataFrame, names: Mapping[str, str], column: str, *keys: str) -> pl.DataFrame:
    """The mean over classes, then over replicates of one network."""
    finite = frame.filter(pl.col(column).is_finite())
    each = finite.group_by("model", *keys, maintain_order=True).agg(pl.col(column).mean())
    named = each.with_columns(network=pl.col("model").replace(dict(names)))
    return named.group_by("network", *keys, maintain_order=True).agg(pl.col(column).mean())


def _trend(values: Sequence[float]) -> str:
    steps = [later - earlier for earlier, later in pairwise(values)]
    if all(step < 0 for step in steps):
        return "falls"
    if all(step > 0 for step in steps):
        return "rises"
    return "neither only falls nor only rises"


# What the numbers can bear.


def _checks(checks: pl.DataFrame) -> list[Finding]:
    if checks.is_empty():
        return []
    failed = checks.filter(~pl.col("passed"))
    unknown = checks["passed"].null_count()
    asides = (f"{unknown} check{'s' * (unknown != 1)} could not be decided.",) if unknown else ()
    if failed.is_empty():
        return [
            Finding(
                kind="checks",
                title="No check of the evaluation failed" if unknown else "Every check of the evaluation passed",
                text=f"{len(checks) - unknown} of {len(checks)} checks passed, over {checks['model'].n_unique()} "
                "networks.",
                doubts=(*asides, "Checks find known ways to overestimate robustness; they cannot exclude new ones."),
                weight=20,
            )
        ]
    shown = [f"{row['model']}: {row['check']}" + (f" ({row['note']})" if row["note"] else "") for row in _rows(failed)]
    more = f"; and {len(shown) - 5} more" if len(shown) > 5 else ""
    return [
        Finding(
            kind="checks",
            title=f"{len(failed)} of {len(checks)} checks of the evaluation failed: read the accuracies with care",
            text=f"{'; '.join(shown[:5])}{more}.",
            doubts=asides,
            numbers=tuple(_rows(failed)),
            weight=95,
        )
    ]


def _ceilings(geometry: pl.DataFrame) -> list[Finding]:
    bounded = geometry.filter((pl.col("class_index") >= 0) & pl.col("value").is_not_null())
    if bounded.is_empty():
        return []
    counted = bounded.group_by("measure", "parameters", maintain_order=True).agg(
        pl.len().alias("values"),
        _near_ceiling().sum().alias("near_ceiling"),
        _falls_when_halved().sum().alias("falls_when_halved"),
        (_near_ceiling() | _falls_when_halved()).sum().alias("doubtful"),
        pl.col("n_points").min().alias("fewest_points"),
    )
    doubtful, total = int(counted["doubtful"].sum()), len(bounded)
    text = " ".join(
        f"{_said(row['measure'])}{f' ({named})' if (named := row['parameters']) else ''}: {row['near_ceiling']} of "
        f"{row['values']} values are within 10% of their ceiling, and {row['falls_when_halved']} fall by more than 10% "
        f"when half of the points are left out (at least {row['fewest_points']} points a class)."
        for row in _rows(counted)
    )
    if not doubtful:
        title = "No value is near its ceiling or falls with half of the points"
        doubts: tuple[str, ...] = ()
    else:
        title = f"{doubtful / total:.0%} of the values describe the sample rather than the manifold"
        doubts = ("Such values grow with the number of images; compare them only at equal numbers of images a class.",)
    return [Finding("ceiling", title, _capital(text), doubts, tuple(_rows(counted)), 70 if doubtful else 15)]


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
            f"and its 95% interval at 50% accuracy is ±{100 * half_width:.1f} points.",
            doubts=(
                "Noise in accuracy weakens every correlation with it.",
                "Clean accuracy from few images is noisy too, so holding it fixed corrects only in part.",
            ),
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
        "survive every iterate."
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
            doubts=("An attacker would keep the best iterate; 'any' is the safer number.",) if different else (),
            numbers=tuple(_rows(gaps.filter(pl.col("gap") > 0))),
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
            numbers=tuple(_rows(images)),
            weight=40,
        )
    ]


# Shared choices and words.


def _main_measure(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of one measure: the PCA dimension at 95% where there is one, else the first by name."""
    known = rows.select("measure", "parameters").unique().sort("measure", "parameters").rows()
    best = min(known, key=lambda pair: (pair[0] != _MAIN_MEASURE, "fraction=0.95" not in (pair[1] or "").split()))
    return _of_same_measure(rows, {"measure": best[0], "parameters": best[1]})


def _of_same_measure(rows: pl.DataFrame, like: Mapping[str, Any]) -> pl.DataFrame:
    return rows.filter(
        (pl.col("measure") == like["measure"]) & pl.col("parameters").eq_missing(pl.lit(like["parameters"]))
    )


def _measured(geometry: pl.DataFrame, row: Mapping[str, Any]) -> pl.DataFrame:
    """The values of the classes that an association within a network rests on."""
    within = (pl.col("model") == row["model"]) & (pl.col("layer") == row["layer"])
    return _of_same_measure(geometry.filter(within & (pl.col("class_index") >= 0) & pl.col("threat").is_null()), row)


def _preferred_iterate(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each network and threat the rows of the last iterate, or of what there is where there is no last."""
    preferred = rows.with_columns(_order=pl.when(pl.col("iterate") == "last").then(0).otherwise(1))
    return preferred.filter(pl.col("_order") == pl.col("_order").min().over("model", "threat")).drop("_order")


def _most_informative(attacked: pl.DataFrame, accuracies: pl.DataFrame) -> tuple[str, float]:
    """The threat and strength at which the accuracies of the classes spread most; the weakest of equals."""
    spreads = accuracies.group_by("threat", "strength").agg(pl.col("accuracy").std().fill_null(0.0).alias("spread"))
    asked = (
        attacked.select("threat", "strength")
        .unique()
        .with_columns(base=pl.col("threat").map_elements(_base, pl.String))
    )
    ranked = asked.join(spreads, left_on=["base", "strength"], right_on=["threat", "strength"], how="left")
    best = ranked.with_columns(pl.col("spread").fill_null(-1.0)).sort(
        ["spread", "strength", "threat"], descending=[True, False, False]
    )
    threat, strength = best.select("threat", "strength").row(0)
    return str(threat), float(strength)


def _base(threat: str) -> str:
    """The threat's own name, without the parameters that tell two runs of it apart."""
    return threat.split(" (")[0]


def _near_ceiling() -> pl.Expr:
    return (pl.col("value") >= _NEAR_CEILING * pl.col("ceiling")).fill_null(False) & (pl.col("ceiling") > 0).fill_null(
        False
    )


def _falls_when_halved() -> pl.Expr:
    return pl.col("note").fill_null("").str.contains("half of the points", literal=True)


def _seen(row: Mapping[str, Any]) -> bool:
    p = row["p_value"] if row["p_adjusted"] is None else row["p_adjusted"]
    return p is not None and p < SIGNIFICANT


def _excludes_zero(row: Mapping[str, Any]) -> bool:
    if row["low"] is None or row["high"] is None:
        return _seen(row)
    return bool(row["low"] * row["high"] > 0)


def _named(row: Mapping[str, Any]) -> str:
    return "Pearson's r" if row["method"] == "pearson" else "Spearman's r"


def _quoted(row: Mapping[str, Any]) -> str:
    parts = ["no interval" if row["low"] is None else f"95% interval {row['low']:+.2f} to {row['high']:+.2f}"]
    if row["p_value"] is not None:
        parts.append(f"permutation p = {row['p_value']:.2g}")
    if row["p_adjusted"] is not None:
        parts.append(f"{row['p_adjusted']:.2g} adjusted for the number of tests")
    return f"{row['coefficient']:+.2f} ({', '.join(parts)})"


def _said(measure: str) -> str:
    return {"pca_dimension": "dimension"}.get(measure, measure.replace("_", " "))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()
