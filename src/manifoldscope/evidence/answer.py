"""The study's question answered in words: across the classes of each network, and across networks.

An answer never says more than its numbers: a correlation across classes is no cause, an interval is quoted beside
every coefficient, and what could not be asked is said as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl
from scipy import special

from manifoldscope.evidence.association import FEWEST_NETWORKS, replicates
from manifoldscope.tables import near_chance

SIGNIFICANT = 0.05
"""An adjusted p-value below this is called evidence."""

FEW_CLASSES = 20
"""With fewer classes than this, a finding says how strong an association had to be to be seen."""

MOST_SPELLED_OUT = 6
"""With more pairs of network and layer than this, the text gives their range instead of each."""

RELIABLE = 0.7
"""With a reliability across classes below this, an association is said to be attenuated."""

_NEAR_CEILING = 0.9
_MAIN_MEASURE = "pca_dimension"


@dataclass(frozen=True)
class Finding:
    """One thing that the tables say.

    Attributes:
        kind: "missing", "association", "networks", "checks", "ceiling", "granularity", "iterates", "shifted",
            "detection" or "set_aside".
        title: one sentence in plain words.
        text: the numbers and their uncertainty, in paragraphs that an empty line keeps apart.
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


def smallest_detectable(n: int, *, power: float = 0.8, level: float = SIGNIFICANT) -> float:
    """The smallest |r| that a two-sided test over n pairs finds with this power, by Fisher's z; 1 below 4 pairs.

    Example:
        >>> round(smallest_detectable(10), 2), round(smallest_detectable(100), 2)
        (0.79, 0.28)
    """
    if n < 4:
        return 1.0
    return math.tanh(float(special.ndtri(1 - level / 2) + special.ndtri(power)) / math.sqrt(n - 3))


def guessing(models: pl.DataFrame) -> dict[str, float]:
    """The networks that do no better than guess, with their clean accuracy.

    The rule is `tables.near_chance`. A binomial test would be too strict: an untrained network favours some classes,
    and so leaves chance without knowing anything. A network of unknown accuracy is not among them.

    Args:
        models: the table.

    Example:
        >>> rows = {"model": ["random", "trained"], "clean_accuracy": [0.124, 0.956], "n_classes": [10, 10]}
        >>> guessing(pl.DataFrame(rows))
        {'random': 0.124}
    """
    found = {}
    for model, accuracy, n_classes in models.select("model", "clean_accuracy", "n_classes").iter_rows():
        if accuracy is not None and n_classes and near_chance(accuracy, n_classes):
            found[model] = accuracy
    return found


# The main question: within one network, do the classes with fewer dimensions survive more often?


@dataclass(frozen=True)
class _Pair:
    """A network and a layer: the association across its classes, with and without clean accuracy held fixed."""

    plain: Mapping[str, Any]
    partial: Mapping[str, Any] | None
    reason: str
    """Why there is no coefficient; empty where there is one."""

    @property
    def model(self) -> str:
        return str(self.plain["model"])

    @property
    def layer(self) -> str:
        return str(self.plain["layer"])

    @property
    def r(self) -> float:
        return float(self.plain["coefficient"])

    def __str__(self) -> str:
        return f"{self.model} at {self.layer}"


def across_classes(tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    """Whether the classes with fewer dimensions survive more often: one answer for all networks and layers.

    The measure is the PCA dimension where there is one. Of each network it takes the attack with the most strengths,
    at the strength where the accuracies of its classes spread most. Networks that guess are left out, and named.

    Args:
        tables: by name, as in `manifoldscope.tables`, all of them.
    """
    rows = tables["associations"].filter((pl.col("model") != "*") & (pl.col("strength") > 0))
    if rows.is_empty():
        return []
    attacked = _told_apart(tables["robustness"]).filter(pl.col("strength") > 0)
    attacks = _attacks(attacked)
    rows = _preferred_iterate(_of(attacks, _main_measure(rows)))
    if rows.is_empty():
        return []
    accuracies = _preferred_iterate(attacked)
    guesses = {model: found for model, found in guessing(tables["models"]).items() if model in set(rows["model"])}
    pairs: list[_Pair] = []
    numbers: list[dict[str, Any]] = []
    for (model,), mine in rows.group_by("model", maintain_order=True):
        if model in guesses:
            continue
        of_model = accuracies.filter(pl.col("model") == model)
        threat, strength = _most_informative(mine, of_model)
        chosen = mine.filter((pl.col("threat") == threat) & (pl.col("strength") == strength))
        for _, found in chosen.group_by("layer", maintain_order=True):
            by_method = {row["method"]: row for row in _rows(found)}
            plain = by_method.get("pearson") or by_method.get("spearman")
            if plain is not None:
                reason = _why_none(plain, tables, of_model) if plain["coefficient"] is None else ""
                pairs.append(_Pair(plain, by_method.get("partial"), reason))
                numbers += _rows(found)
    if not pairs and not guesses:
        return []
    what = _Words(str(rows["measure"][0]))
    survive = "survive attacks" if attacks else f"survive {listed(sorted(set(rows['threat'])))}"
    asked = [pair for pair in pairs if not pair.reason]
    return [
        Finding(
            kind="association",
            title=_headline(asked, what, survive),
            text="\n\n".join(filter(None, [*_evidence_in_words(pairs, asked), _not_counted(guesses)])),
            doubts=_association_doubts(asked, tables, accuracies, attacked=bool(attacks)),
            numbers=tuple(numbers),
            weight=98,
        )
    ]


def _headline(asked: Sequence[_Pair], what: _Words, survive: str) -> str:
    """The answer at a glance."""
    if not asked:
        return f"Whether classes with {what.fewer} {survive} better could not be asked"
    tested = [pair for pair in asked if pair.plain["p_value"] is not None]
    if not tested:
        return f"{_where_more(asked, asked, what, 'survived')}; chance was not tested"
    seen = [pair for pair in tested if _seen(pair.plain)]
    if seen:
        title = _where_more(seen, tested, what, "survive")
        estimated = [pair.partial for pair in seen if pair.partial and pair.partial["p_value"] is not None]
        explained = estimated and not any(_seen(partial) for partial in estimated)
        return f"{title}; clean accuracy may be why" if explained else title
    hints = [pair for pair in tested if pair.plain["p_value"] < SIGNIFICANT]
    of_all = f"{len(hints)} of {_counted(tested)}" if len(tested) > 1 else tested[0].model
    if not hints:
        many = _counted(tested) if len(tested) > 1 else tested[0].model
        return f"No evidence that classes with {what.fewer} {survive} better ({many}, {_classes(tested)})"
    if len({pair.r < 0 for pair in hints}) == 2:
        return f"No evidence that {what.name} goes with survival: hints point both ways ({of_all})"
    side = what.fewer if hints[0].r < 0 else what.more
    return f"A hint, no more, that classes with {side} {survive} better ({of_all})"


def _where_more(found: Sequence[_Pair], of: Sequence[_Pair], what: _Words, survive: str) -> str:
    """In which of these pairs the classes on one side, or on each, survive more often."""
    fewer, more = [pair for pair in found if pair.r < 0], [pair for pair in found if pair.r >= 0]
    side = what.fewer if fewer else what.more
    if len(of) == 1:
        return f"In {of[0].model}, classes with {side} {survive} more often (r = {of[0].r:+.2f})"
    classes = f"Classes with {side} {survive} more often in"
    if fewer and more:
        return f"{classes} {len(fewer)} of {_counted(of)}, less often in {len(more)}"
    if len(found) == len(of):
        return f"{classes} {_all(len(of))} {_unit(of)}s"
    return f"{classes} {len(found)} of {_counted(of)}{f' ({found[0]})' if len(found) == 1 else ''}"


def _unit(pairs: Sequence[_Pair]) -> str:
    """What tells them apart."""
    models = {pair.model for pair in pairs}
    return "layer" if len(models) == 1 else "network" if len(models) == len(pairs) else "network-layer pair"


def _counted(pairs: Sequence[_Pair]) -> str:
    return f"{len(pairs)} {_unit(pairs)}s"


def _all(n: int) -> str:
    return "both" if n == 2 else f"all {n}"


def _classes(pairs: Sequence[_Pair]) -> str:
    few, many = min(pair.plain["n"] for pair in pairs), max(pair.plain["n"] for pair in pairs)
    return f"{few} classes" if few == many else f"{few} to {many} classes"


def _evidence_in_words(pairs: Sequence[_Pair], asked: Sequence[_Pair]) -> list[str]:
    """The setting, a clause a pair (or the range of many), and what is left at equal clean accuracy."""
    if not pairs:
        return []
    iterates = listed(sorted({pair.plain["iterate"] for pair in pairs}))
    spread = f"where the classes of a network differ most in accuracy ({iterates} iterate)"
    if not asked:
        opening = f"Under {_settings(pairs)}, {spread}, there is no correlation over {_classes(pairs)}:"
    else:
        named = "Pearson's r" if asked[0].plain["method"] == "pearson" else "Spearman's r"
        adjusted = " and p adjusted for the number of tests" if asked[0].plain["p_adjusted"] is not None else ""
        opening = f"Under {_settings(pairs)}, {spread}, {named} over {_classes(asked)} (95% interval){adjusted}:"
    if len(pairs) <= MOST_SPELLED_OUT:
        clauses = [_clause(pair) for pair in pairs]
    else:
        clauses = [*_summary(asked), *_reasons(pairs)]
    return [opening, *clauses, _given_clean(asked)]


def _settings(pairs: Sequence[_Pair]) -> str:
    by_threat: dict[str, dict[str, float]] = {}
    for pair in pairs:
        by_threat.setdefault(pair.plain["threat"], {})[pair.model] = pair.plain["strength"]
    phrases = []
    for threat, strengths in by_threat.items():
        values = sorted(set(strengths.values()))
        if len(values) == 1 and (len(by_threat) == 1 or len(strengths) > 4):
            phrases.append(f"{threat} at strength {values[0]:.4g}")
        elif len(strengths) <= 4:
            each = [f"{strength:.4g} ({model})" for model, strength in strengths.items()]
            phrases.append(f"{threat} at strength {listed(each)}")
        else:
            phrases.append(f"{threat} at strengths from {values[0]:.4g} to {values[-1]:.4g}")
    return listed(phrases)


def _clause(pair: _Pair) -> str:
    if pair.reason:
        return f"{pair.model}, {pair.layer}: no correlation, as {pair.reason}."
    partial = pair.partial
    if partial is None or partial["coefficient"] is None:
        given = "given clean accuracy no estimate"
    else:
        given = f"given clean accuracy {partial['coefficient']:+.2f}"
        if _seen(pair.plain) or _seen(partial):
            given += f" ({_interval(partial)}){_p(partial)}"
    return f"{pair.model}, {pair.layer}: r = {pair.r:+.2f} ({_interval(pair.plain)}){_p(pair.plain)}; {given}."


def _summary(asked: Sequence[_Pair]) -> list[str]:
    """Many pairs in a sentence, and the clauses of those with evidence, or of the strongest."""
    if not asked:
        return []
    r = sorted(pair.r for pair in asked)
    text = f"Over {_counted(asked)} r goes from {r[0]:+.2f} to {r[-1]:+.2f} and is below 0 in {sum(x < 0 for x in r)}"
    given = [pair.partial["coefficient"] for pair in asked if pair.partial and pair.partial["coefficient"] is not None]
    if given:
        text += f"; given clean accuracy from {min(given):+.2f} to {max(given):+.2f}"
    by_size = sorted(asked, key=lambda pair: -abs(pair.r))
    seen = [pair for pair in by_size if _seen(pair.plain)]
    if not seen:
        return [f"{text}. The strongest: {_clause(by_size[0])}"]
    shown = seen[:MOST_SPELLED_OUT]
    head = f"The strongest {len(shown)} of {len(seen)} with evidence" if len(shown) < len(seen) else "With evidence"
    return [f"{text}. {head}:", *(_clause(pair) for pair in shown)]


def _reasons(pairs: Sequence[_Pair]) -> list[str]:
    """What could not be asked, a sentence a reason."""
    by_reason: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.reason:
            by_reason.setdefault(pair.reason, []).append(str(pair))
    return [f"No correlation for {_some(names)}, as {reason}." for reason, names in by_reason.items()]


def _given_clean(asked: Sequence[_Pair]) -> str:
    """What is left of each association among classes of equal clean accuracy."""
    tested = [pair for pair in asked if pair.plain["p_value"] is not None]
    if not tested:
        return ""
    by_phrase: dict[str, list[str]] = {}
    for pair in tested:
        by_phrase.setdefault(_outlasts(pair), []).append(str(pair))
    if len(by_phrase) == 1:
        return f"At equal clean accuracy {next(iter(by_phrase))}."
    return (
        f"At equal clean accuracy {'; '.join(f'{phrase} for {_some(names)}' for phrase, names in by_phrase.items())}."
    )


def _outlasts(pair: _Pair) -> str:
    partial = pair.partial
    if partial is None or partial["coefficient"] is None:
        return "nothing could be estimated"
    if _seen(pair.plain) and _seen(partial):
        return "the association holds" if partial["coefficient"] * pair.r > 0 else "the association turns around"
    if _seen(pair.plain):
        return "the evidence is gone (it is consistent with clean accuracy alone)"
    if _seen(partial):
        return "an association appears (to be repeated before it is believed)"
    return "there is no evidence either"


def _association_doubts(
    asked: Sequence[_Pair], tables: Mapping[str, pl.DataFrame], accuracies: pl.DataFrame, *, attacked: bool
) -> tuple[str, ...]:
    if not asked:
        return ()
    doubts = []
    fewest = min(pair.plain["n"] for pair in asked)
    seen = [pair for pair in asked if _seen(pair.plain)]
    if fewest < FEW_CLASSES or len(seen) < len(asked):
        doubts.append(
            f"With {fewest} classes only |r| above about {smallest_detectable(fewest):.2f} would be found four times "
            "in five; a weaker association can be neither seen nor excluded."
        )
    border = [pair for pair in asked if _excludes_zero(pair.plain) != _seen(pair.plain)]
    if border:
        doubts.append(
            f"The interval and the adjusted p disagree about zero for {_some([str(pair) for pair in border])}: "
            "evidence at the border."
        )
    used = pl.concat([_measured(tables["geometry"], pair.plain) for pair in asked])
    of_sample = len(used.filter(near_ceiling() | falls_when_halved()))
    if of_sample:
        doubts.append(
            f"{of_sample} of {len(used)} values are near the most that so many points can show or fall with half of "
            "them: they describe the sample."
        )
    doubts += _attenuation(asked, tables["reliability"])
    images = accuracies.filter(pl.col("model").is_in([pair.model for pair in asked]))["n_images"].min()
    if images is not None and any(pair.partial for pair in asked):
        doubts.append(
            f"Clean accuracy is itself known from {images!r} images a class, so holding it fixed corrects only in part."
        )
    models = {pair.model for pair in asked}
    if seen and len(models) > 1:
        doubts.append(f"p is adjusted for the tests within a network, not for there being {len(models)} networks.")
    if not attacked:
        doubts.append("No threat of this study is an attack: surviving it is not adversarial robustness.")
    doubts.append("An association across classes is not a cause: what differs between classes may move both.")
    return tuple(doubts)


def _attenuation(asked: Sequence[_Pair], reliability: pl.DataFrame) -> list[str]:
    """That a correlation is attenuated where another sample of the images would say something else of the classes.

    A correlation with what is measured is, on average, that with the value without noise times the root of the
    reliability (Spearman 1904).
    """
    named = {(row["model"], row["layer"], row["measure"], row["parameters"] or ""): row for row in _rows(reliability)}
    low = []
    for pair in asked:
        row = named.get((pair.model, pair.layer, pair.plain["measure"], pair.plain["parameters"] or ""))
        if row is not None and row["reliability"] is not None and row["reliability"] < RELIABLE:
            interval = "" if row["low"] is None else f", {_interval(row)}"
            low.append((row["reliability"], f"{pair} ({row['reliability']:.2f}{interval})"))
    if not low:
        return []
    low.sort()
    measure, worst = said(asked[0].plain["measure"]), low[0][0]
    left = f"about {math.sqrt(worst):.2f} of" if worst > 0 else "hardly anything of"
    return [
        f"The reliability of the {measure} across classes is estimated below {RELIABLE:g} for "
        f"{_some([text for _, text in low])}: other images would rank the classes otherwise. An association with it is "
        f"attenuated, at worst to {left} what it is without that noise."
    ]


def _why_none(row: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], accuracies: pl.DataFrame) -> str:
    if row["n"] < 4:
        return "at least 4 classes are needed"
    values = _measured(tables["geometry"], row)["value"].drop_nulls()
    if len(values) and values.n_unique() == 1:
        return f"every class has the same value, {values[0]:.4g}"
    here = accuracies.filter((pl.col("threat") == row["threat"]) & (pl.col("strength") == row["strength"]))
    if len(here) and here["accuracy"].n_unique() == 1:
        return f"every class has the same accuracy, {here['accuracy'][0]:.1%}"
    return "one of the two does not vary"


# Across networks: do the more robust ones have fewer dimensions?


def across_networks(tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    """Whether dimension goes with robustness from network to network: one answer for all layers.

    The attack and strength are those at which the networks differ most. Networks that guess are shown, and not counted.

    Args:
        tables: by name, as in `manifoldscope.tables`, all of them.
    """
    geometry = tables["geometry"].filter((pl.col("class_index") >= 0) & pl.col("threat").is_null())
    robustness = _told_apart(tables["robustness"]).filter(pl.col("strength") > 0)
    if geometry.is_empty() or robustness.is_empty():
        return []
    geometry = _main_measure(geometry)
    names = replicates(tables["models"])
    clean = _guessing_networks(tables["models"], names)
    values = _by_network(geometry, names, "value", "layer")
    attacked = _preferred_iterate(_of(_attacks(robustness), robustness))
    accuracies = _by_network(attacked, names, "accuracy", "threat", "strength").join(values, on="network", how="semi")
    if accuracies.is_empty():
        return []
    threat, strength = _most_telling(accuracies, clean)
    here = accuracies.filter((pl.col("threat") == threat) & (pl.col("strength") == strength))
    shared = (
        values.join(here, on="network")
        .filter(pl.len().over("layer") >= 2)
        .with_columns(measure=pl.lit(geometry["measure"][0]), guesses=pl.col("network").is_in(list(clean)))
        .sort("accuracy", "network")
        .select("layer", "network", "threat", "strength", "accuracy", "measure", "value", "guesses")
    )
    if shared.is_empty():
        return []
    what = _Words(str(geometry["measure"][0]))
    setting = geometry.select("measure", "parameters").row(0, named=True) | {"threat": threat, "strength": strength}
    order = [
        _Order(layer, shared.filter(pl.col("layer") == layer), _tested(tables["associations"], layer, setting))
        for layer in geometry["layer"].unique(maintain_order=True)
        if layer in set(shared["layer"])
    ]
    shown = {network: accuracy for network, accuracy in clean.items() if network in set(shared["network"])}
    text = [
        f"From the least to the most robust under {threat} at strength {strength:.4g}, where the networks differ most "
        f"(mean {what.name} of the classes; accuracy):",
        *(str(each) for each in order),
        _not_counted(shown),
    ]
    compared = [each for each in order if each.counted.height >= 2]
    return [
        Finding(
            kind="networks",
            title=_comparison(compared, what) if compared else _nothing_to_compare(order),
            text="\n\n".join(filter(None, text)),
            doubts=_comparison_doubts(compared, single=len(names) == len(set(names.values()))) if compared else (),
            numbers=tuple(_rows(pl.concat([each.rows for each in order]))),
            weight=88 if compared else 55,
        )
    ]


@dataclass(frozen=True)
class _Order:
    """The networks at one layer, from the least to the most robust, and the test of it where there is one."""

    layer: str
    rows: pl.DataFrame
    test: Mapping[str, Any] | None

    @property
    def counted(self) -> pl.DataFrame:
        return self.rows.filter(~pl.col("guesses"))

    @property
    def trend(self) -> str:
        """Where the measure goes as robust accuracy rises: "more", "fewer", "same", or "" for no one way."""
        if self.test is not None:
            return "" if not _seen(self.test) else "more" if self.test["coefficient"] > 0 else "fewer"
        steps = [later - earlier for earlier, later in pairwise(self.counted["value"].to_list())]
        if len(steps) == 1 and steps[0] == 0:
            return "same"
        return "more" if all(step > 0 for step in steps) else "fewer" if all(step < 0 for step in steps) else ""

    def __str__(self) -> str:
        networks = [f"{row['network']} ({row['value']:.3g}; {row['accuracy']:.1%})" for row in _rows(self.rows)]
        line = f"{self.layer}: {', '.join(networks)}."
        if self.test is None:
            return line
        return f"{line} Rank correlation {self.test['coefficient']:+.2f} ({_interval(self.test)}){_p(self.test)}."


def _comparison(order: Sequence[_Order], what: _Words) -> str:
    """The answer at a glance, over the networks that are counted."""
    ranked = order[0].counted["network"].to_list()
    n = len({network for each in order for network in each.counted["network"]})
    if all(each.counted["accuracy"].n_unique() == 1 for each in order):
        return f"{capital(_all(n))} networks survive equally often: {what.name} cannot be set against robustness"
    layers: dict[str, list[str]] = {"more": [], "fewer": [], "same": [], "": []}
    for each in order:
        layers[each.trend].append(each.layer)
    if len(layers[""]) == len(order):
        if all(each.test is not None for each in order):
            return f"Across {n} networks, no evidence that {what.name} goes with robust accuracy"
        return f"Across {n} networks, {what.name} goes no one way with robust accuracy"
    who = f"The more robust network, {ranked[-1]}, has" if n == 2 else f"Across {n} networks, the more robust have"
    undecided = "no evidence of either" if any(each.test for each in order) else "no one order"
    parts: list[str] = []
    for trend, where in layers.items():
        if where:
            than = f" {'as' if trend == 'same' else 'than'} {ranked[0]}" if n == 2 else ""
            amount = what.brief.get(trend, undecided) if parts else f"{what.full[trend]}{than}"
            parts.append(f"{amount} at {_where(where, len(order))}")
    return f"{who} {', '.join(parts)}"


def _where(layers: Sequence[str], n_layers: int) -> str:
    """Some of the layers that were asked about: by name where they are few."""
    if len(layers) == n_layers > 1:
        return f"{_all(n_layers)} layers"
    return listed(layers) if len(layers) <= 2 else f"{len(layers)} of {n_layers} layers"


def _nothing_to_compare(order: Sequence[_Order]) -> str:
    better = sorted({network for each in order for network in each.counted["network"]})
    if not better:
        return "Networks cannot be compared: every one of them guesses"
    if len(better) == 1:
        return f"Networks cannot be compared: only {better[0]} does better than guess"
    return "Networks cannot be compared: no layer has two that do better than guess"


def _comparison_doubts(order: Sequence[_Order], *, single: bool) -> tuple[str, ...]:
    doubts = []
    tests = [each.test for each in order if each.test is not None]
    most = max(each.counted.height for each in order)
    if tests:
        n = min(test["n"] for test in tests)
        doubts.append(
            f"With {n} networks only |r| above about {smallest_detectable(n):.2f} would be found four times in five."
        )
        if any(each.test and each.rows["guesses"].any() for each in order):
            doubts.append("The rank correlation counts every network, those that guess as well.")
    elif most < FEWEST_NETWORKS:
        doubts.append(f"{most} networks are too few for a p-value: this is an order, not a test.")
    else:
        doubts.append("No association across these networks is in the tables, so chance was not tested.")
    if single:
        doubts.append("Each network was made once; another seed of its training could change the order.")
    if any(each.counted["accuracy"].n_unique() < each.counted.height for each in order):
        doubts.append("Some networks have the same accuracy, and their order among each other means nothing.")
    doubts.append("Networks that differ in more than their robustness cannot show what the difference is due to.")
    return tuple(doubts)


def _tested(associations: pl.DataFrame, layer: str, like: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The rank correlation across networks at a layer, where there are enough of them."""
    across = _of_same_measure(associations, like).filter(
        (pl.col("model") == "*")
        & (pl.col("layer") == layer)
        & (pl.col("threat") == like["threat"])
        & (pl.col("strength") == like["strength"])
        & (pl.col("method") == "spearman")
        & pl.col("coefficient").is_not_null()
        & (pl.col("n") >= FEWEST_NETWORKS)
    )
    return next(iter(_rows(_preferred_iterate(across))), None)


def _guessing_networks(models: pl.DataFrame, names: Mapping[str, str]) -> dict[str, float]:
    """The networks of which every replicate guesses, with their mean clean accuracy."""
    guesses = guessing(models)
    found: dict[str, list[float | None]] = {}
    for model, network in names.items():
        found.setdefault(network, []).append(guesses.get(model))
    known = {network: [each for each in every if each is not None] for network, every in found.items()}
    return {network: sum(each) / len(each) for network, each in known.items() if len(each) == len(found[network])}


def _by_network(frame: pl.DataFrame, names: Mapping[str, str], column: str, *keys: str) -> pl.DataFrame:
    """The mean over classes, then over replicates of one network."""
    finite = frame.filter(pl.col(column).is_finite())
    each = finite.group_by("model", *keys, maintain_order=True).agg(pl.col(column).mean())
    named = each.with_columns(network=pl.col("model").replace(dict(names)))
    return named.group_by("network", *keys, maintain_order=True).agg(pl.col(column).mean())


def _most_telling(accuracies: pl.DataFrame, guesses: Iterable[str]) -> tuple[str, float]:
    """The setting that the most networks share, and of those the one in which they differ most."""
    counted = accuracies.filter(~pl.col("network").is_in(list(guesses)))
    if counted["network"].n_unique() < 2:
        counted = accuracies
    settings = counted.group_by("threat", "strength").agg(
        pl.len().alias("networks"), pl.col("accuracy").std().fill_null(0.0).alias("spread")
    )
    threat, strength = (
        settings.sort(["networks", "spread", "strength", "threat"], descending=[True, True, False, False])
        .select("threat", "strength")
        .row(0)
    )
    return str(threat), float(strength)


# Choices and words that both answers, and other findings, share.


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


def _told_apart(robustness: pl.DataFrame) -> pl.DataFrame:
    """Threats named as `association_table` names them: with their parameters where a strength was run with several."""
    ambiguous = pl.col("parameters").n_unique().over("model", "threat", "strength") > 1
    named = pl.col("threat") + " (" + pl.col("parameters").fill_null("") + ")"
    return robustness.with_columns(threat=pl.when(ambiguous).then(named).otherwise("threat"))


def _attacks(robustness: pl.DataFrame) -> list[str]:
    """The threats that have iterates: they search for a failure, where a control such as noise only draws once."""
    return sorted(set(robustness.filter(pl.col("iterate") == "any")["threat"]))


def _of(threats: Sequence[str], rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of these threats; all of them where there are none of these."""
    return rows.filter(pl.col("threat").is_in(threats)) if threats else rows


def _preferred_iterate(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each network and threat the rows of the last iterate, or of what there is where there is no last."""
    preferred = rows.with_columns(_order=pl.when(pl.col("iterate") == "last").then(0).otherwise(1))
    return preferred.filter(pl.col("_order") == pl.col("_order").min().over("model", "threat")).drop("_order")


def _most_informative(rows: pl.DataFrame, accuracies: pl.DataFrame) -> tuple[str, float]:
    """The threat of most strengths, and its strength at which the classes differ most; the weakest of equals."""
    spreads = accuracies.group_by("threat", "strength").agg(pl.col("accuracy").std().fill_null(0.0).alias("spread"))
    asked = rows.select("threat", "strength").unique().join(spreads, on=["threat", "strength"], how="left")
    ranked = asked.with_columns(
        pl.col("spread").fill_null(-1.0),
        differ=pl.col("spread").fill_null(-1.0) > 0,
        strengths=pl.len().over("threat"),
    ).sort(
        ["differ", "strengths", "spread", "strength", "threat"],
        descending=[True, True, True, False, False],
    )
    threat, strength = ranked.select("threat", "strength").row(0)
    return str(threat), float(strength)


def near_ceiling() -> pl.Expr:
    """Whether a value of the table "geometry" is within 10% of the most that so many points could show."""
    near = (pl.col("value") >= _NEAR_CEILING * pl.col("ceiling")) & (pl.col("ceiling") > 0)
    return near.fill_null(False)


def falls_when_halved() -> pl.Expr:
    """Whether a value of the table "geometry" falls when half of the points are left out, by its note."""
    return pl.col("note").fill_null("").str.contains("half of the points", literal=True)


def _seen(row: Mapping[str, Any]) -> bool:
    p = row["p_value"] if row["p_adjusted"] is None else row["p_adjusted"]
    return p is not None and p < SIGNIFICANT


def _excludes_zero(row: Mapping[str, Any]) -> bool:
    if row["p_value"] is None or row["low"] is None or row["high"] is None:
        return _seen(row)
    return bool(row["low"] * row["high"] > 0)


def _interval(row: Mapping[str, Any]) -> str:
    return "no interval" if row["low"] is None else f"{row['low']:+.2f} to {row['high']:+.2f}"


def _p(row: Mapping[str, Any]) -> str:
    if row["p_value"] is None:
        return ""
    return f", p = {row['p_value']:.2g}" if row["p_adjusted"] is None else f", adjusted p = {row['p_adjusted']:.2g}"


def _not_counted(guesses: Mapping[str, float]) -> str:
    if not guesses:
        return ""
    named = _some([f"{network} ({accuracy:.1%} clean)" for network, accuracy in guesses.items()])
    return f"Not counted: {named}. The accuracies of a network that guesses say nothing."


@dataclass(frozen=True)
class _Words:
    """How a measure is spoken of."""

    measure: str

    @property
    def name(self) -> str:
        return said(self.measure)

    @property
    def fewer(self) -> str:
        return self.full["fewer"]

    @property
    def more(self) -> str:
        return self.full["more"]

    @property
    def full(self) -> dict[str, str]:
        if self.measure == _MAIN_MEASURE:
            return {"more": "more dimensions", "fewer": "fewer dimensions", "same": "as many dimensions"}
        return {"more": f"a higher {self.name}", "fewer": f"a lower {self.name}", "same": f"the same {self.name}"}

    @property
    def brief(self) -> dict[str, str]:
        if self.measure == _MAIN_MEASURE:
            return {"more": "more", "fewer": "fewer", "same": "as many"}
        return {"more": "a higher one", "fewer": "a lower one", "same": "the same"}


_SAID = {
    "pca_dimension": "dimension",
    "two_nn": "TwoNN dimension",
    "mle": "maximum likelihood dimension",
    "gride": "GRIDE dimension",
    "local_pca": "local PCA dimension",
}


def said(measure: str) -> str:
    """A measure's name in plain words."""
    return _SAID.get(measure, measure.replace("_", " "))


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _some(names: Sequence[str], most: int = 4) -> str:
    """The first names, and how many more there are."""
    return listed(names) if len(names) <= most else f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()
