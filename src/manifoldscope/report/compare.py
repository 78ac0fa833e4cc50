"""Studies side by side: which settings differ, what each answers, and the same classes against each other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from manifoldscope.errors import StudyError
from manifoldscope.evidence import Association, associate, at_chance, difference, wilson
from manifoldscope.report import words
from manifoldscope.report.contents import Contents, gather
from manifoldscope.report.findings import Finding
from manifoldscope.report.rows import Reals, class_accuracy, clean_geometry, of_measure, reals, strengths_of_classes

MOST_STUDIES = 8
MOST_NETWORKS = 4  # of two studies, beside each other
MOST_MEASURES = 8
_ALL_WITH_ALL = 4  # so many studies at most; of more, each is compared with the first
_SHOWN_FINDINGS = 3


@dataclass(frozen=True)
class Studied:
    """A finished study.

    Attributes:
        name: what it is called beside the others.
        study: the study file as nested tables.
        tables: by name.
        findings: the answer in words.
    """

    name: str
    study: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame]
    findings: Sequence[Finding] = ()


@dataclass(frozen=True)
class Answer:
    """The association across the classes of one network of a study, from its table `associations`.

    Attributes:
        study: its position.
        measure: in words.
        layer: where it was measured.
        under: the attack and its strength.
    """

    study: int
    network: str
    measure: str
    layer: str
    under: str
    coefficient: float
    low: float
    high: float
    p_adjusted: float
    n: int

    @property
    def asked(self) -> str:
        """What is set against what."""
        return f"{self.measure} in layer {self.layer} and robust accuracy, {self.under}"


@dataclass(frozen=True)
class Values:
    """One number of each class of one network, with its 95% interval where it is a share of images.

    Attributes:
        label: what it is.
        classes: their names.
        values: (n,).
        counts: successes and trials, where it is a share.
    """

    label: str
    classes: Sequence[str]
    values: Reals
    counts: tuple[Reals, Reals] | None = None


@dataclass(frozen=True)
class Compared:
    """One quantity of the classes that two networks share.

    Attributes:
        label: what it is.
        classes: their names.
        x, y: (n,) in the first and in the second study; shares in [0, 1] where `share`.
        share: whether it is a share of images.
        x_limits, y_limits: 95% Wilson intervals of shares.
        change: second less first.
        change_limits: its 95% interval (Newcombe), of shares.
        association: Spearman's rank correlation over these classes.
    """

    label: str
    classes: tuple[str, ...]
    x: Reals
    y: Reals
    share: bool
    x_limits: tuple[Reals, Reals] | None
    y_limits: tuple[Reals, Reals] | None
    change: Reals
    change_limits: tuple[Reals, Reals] | None
    association: Association


@dataclass(frozen=True)
class Beside:
    """A network of one study beside one of another.

    Attributes:
        studies: positions of both.
        networks: their names, the same where both studies have it.
        quantities: what both have of classes of the same names; empty where there is nothing.
        why: what is missing, where there is nothing; else what was left out.
    """

    studies: tuple[int, int]
    networks: tuple[str, str]
    quantities: tuple[Compared, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Comparison:
    """Studies side by side.

    Attributes:
        studies: as they were given.
        settings: fields that differ, by key: a text for each study, empty where it has none. What only some have as a
            whole, such as a network, is one of them.
        n_same: how many fields are the same in all.
        answers: associations by study and network.
        beside: networks of two studies.
        classes: of two studies or more, by name.
    """

    studies: tuple[Studied, ...]
    settings: Mapping[str, tuple[str, ...]]
    n_same: int
    answers: tuple[Answer, ...]
    beside: tuple[Beside, ...]
    classes: tuple[str, ...]

    def findings(self, study: int) -> list[Finding]:
        """The weightiest findings of a study."""
        return sorted(self.studies[study].findings, key=lambda finding: -finding.weight)[:_SHOWN_FINDINGS]


def compare(studies: Sequence[Studied]) -> Comparison:
    """What differs between studies, and what their classes have in common.

    Classes and networks are the same where their names are. Of two studies without a network in common, the first that
    is not at chance level of each is taken.

    Raises:
        StudyError: fewer than two studies, or too many, or two of one name.
    """
    if not 2 <= len(studies) <= MOST_STUDIES:
        told = words.count(len(studies), "study", "studies")
        raise StudyError(f"{told} cannot be compared; give 2 to {MOST_STUDIES} folders of results")
    names = [each.name for each in studies]
    if len(set(names)) < len(names):
        raise StudyError(
            f"two of the studies are called alike ({', '.join(names)}); give folders that have names of their own"
        )
    settings = dict(compared_settings([named(each.study) for each in studies]))
    contents = [gather(each.study, each.tables, ()) for each in studies]
    pairs = itertools.combinations(range(len(studies)), 2)
    chosen = [pair for pair in pairs if len(studies) <= _ALL_WITH_ALL or pair[0] == 0]
    beside = tuple(each for pair in chosen for each in _beside(pair, contents))
    shared = dict.fromkeys(name for each in beside for quantity in each.quantities for name in quantity.classes)
    return Comparison(
        studies=tuple(studies),
        settings={key: values for key, values in settings.items() if len(set(values)) > 1},
        n_same=sum(len(set(values)) == 1 for values in settings.values()),
        answers=tuple(_answers(contents)),
        beside=beside,
        classes=tuple(shared),
    )


def named(study: Mapping[str, Any], top: bool = True) -> dict[str, Any]:
    """A study file whose lists of tables, such as networks, are tables by the names of their items.

    Example:
        >>> named({"seed": 0, "layers": ["fc"], "models": [{"name": "cnn", "epochs": 3}]})
        {'seed': 0, 'layers': {'fc': {}}, 'models': {'cnn': {'epochs': 3}}}
    """
    found: dict[str, Any] = {}
    for key, value in study.items():
        if isinstance(value, Mapping):
            found[str(key)] = named(value, top=False)
        elif isinstance(value, list) and (
            any(isinstance(item, Mapping) for item in value) or (top and key in ("measures", "layers"))
        ):
            items: dict[str, Any] = {}
            for item in value:
                table = item if isinstance(item, Mapping) else {"name": item}
                name = table.get("name") or table.get("kind") or table.get("source")
                items[_unused(str(name), items)] = named({k: v for k, v in table.items() if k != "name"}, top=False)
            found[str(key)] = items
        else:
            found[str(key)] = value
    return found


def compared_settings(
    tables: Sequence[Mapping[str, Any] | None], path: str = ""
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each field by its dotted key, with a text for each study; a table that not all have is one field."""
    known = [table for table in tables if table is not None]
    for key in dict.fromkeys(itertools.chain(*known)):
        here = f"{path}.{key}" if path else key
        values = [None if table is None else table.get(key) for table in tables]
        if all(isinstance(value, Mapping) for value in values) and any(values):
            yield from compared_settings(values, here)
        else:
            yield here, tuple(_text(value) for value in values)


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    numbers = (name if number == 1 else f"{name} ({number})" for number in itertools.count(1))
    return next(each for each in numbers if each not in taken)


def _text(value: Any) -> str:
    """A field in one line; a table as its fields, and one without any as `yes`."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_text(each)}" for key, each in _fields(value)) or "yes"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _fields(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from _fields(value, here)
        else:
            yield here, value


# Answers -----------------------------------------------------------------------------------------------------------


def _answers(contents: Sequence[Contents]) -> Iterator[Answer]:
    """Of each network the association of the first measure, in the main layer, under the first attack."""
    common = [measure for measure in contents[0].measures if all(measure in each.measures for each in contents)]
    for place, each in enumerate(contents):
        measures = common or each.measures
        if not (measures and each.attacks and each.layers):
            continue
        (measure, parameters), attack, layer = measures[0], each.attacks[0], _main_layer(each.layers)
        iterate = each.iterate(attack)
        strengths = dict(
            strengths_of_classes(each.tables["robustness"], attack=attack, iterate=iterate)
            .select("model", "strength")
            .iter_rows()
        )
        rows = of_measure(each.tables["associations"], measure, parameters).filter(
            layer=layer, attack=attack, iterate=iterate, outcome="robust_accuracy", method="pearson"
        )
        for network in each.models:
            here = rows.filter(
                pl.col("model") == network,
                pl.col("controls").fill_null("") == "",
                (pl.col("strength") - strengths.get(network, float("nan"))).abs() < 1e-9,
            )
            if here.is_empty() or network in at_chance(each.tables["models"]):
                continue
            row = {key: float("nan") if value is None else value for key, value in here.row(0, named=True).items()}
            under = f"{words.attack(attack)} {words.at_strength(attack, strengths[network])}"
            r, low, high, p = (float(row[key]) for key in ("coefficient", "low", "high", "p_adjusted"))
            label = words.measure(measure, parameters)
            yield Answer(place, network, label, layer, under, r, low, high, p, int(row["n"]))


def _main_layer(layers: Sequence[str]) -> str:
    return "penultimate" if "penultimate" in layers else layers[0]


# Classes -----------------------------------------------------------------------------------------------------------


def _beside(pair: tuple[int, int], contents: Sequence[Contents]) -> Iterator[Beside]:
    one, other = (contents[place] for place in pair)
    names = [(name, name) for name in one.models if name in set(other.models)]
    if not names:
        firsts = [_first_above_chance(each) for each in (one, other)]
        if None in firsts:
            yield Beside(pair, ("", ""), why="One of the studies has no network.")
            return
        names = [(str(firsts[0]), str(firsts[1]))]
    for networks in names[:MOST_NETWORKS]:
        yield _compared(pair, networks, one, other, len(names))


def _first_above_chance(contents: Contents) -> str | None:
    left_out = at_chance(contents.tables["models"])
    return next((name for name in contents.models if name not in left_out), next(iter(contents.models), None))


def _compared(
    pair: tuple[int, int], networks: tuple[str, str], one: Contents, other: Contents, n_networks: int
) -> Beside:
    layers = [layer for layer in one.layers if layer in set(other.layers)]
    ways = _ways(networks, one, other, _main_layer(layers) if layers else None)
    found = []
    for way in ways:
        quantity = _quantity(*way)
        if quantity is not None:
            found.append(quantity)
    if not found:
        ours, theirs = (_class_names(each, network) for each, network in zip((one, other), networks, strict=True))
        if ours & theirs:
            why = "They measure or attack these classes in no common way: no measure, layer or strength is in both."
        else:
            why = "They share no class: no name of a class is in both."
        return Beside(pair, networks, why=why)
    weak = [
        f"{name} is at chance level in the {which} study."
        for which, name, each in zip(("first", "second"), networks, (one, other), strict=True)
        if name in at_chance(each.tables["models"])
    ]
    notes = [
        *weak,
        f"{n_networks - MOST_NETWORKS} further networks are in both." if n_networks > MOST_NETWORKS else "",
        f"Of the layers in both ({words.listing(layers, 4)}) the main one is shown." if len(layers) > 1 else "",
    ]
    return Beside(pair, networks, tuple(found), " ".join(filter(None, notes)))


def _class_names(contents: Contents, network: str) -> set[str]:
    tables = (clean_geometry(contents.tables["geometry"]), contents.tables["robustness"])
    return {name for table in tables for name in table.filter(pl.col("model") == network)["class_name"].drop_nulls()}


def _ways(
    networks: tuple[str, str], one: Contents, other: Contents, layer: str | None
) -> Iterator[tuple[Values, Values]]:
    """The same quantity in both: accuracies under the first common attack, when clean, and common measures."""
    both = tuple(zip((one, other), networks, strict=True))
    for attack in [name for name in one.attacks if name in set(other.attacks)][:1]:
        iterates = [iterate for iterate in ("last", "any") if all(_has(each, attack, iterate) for each, _ in both)]
        for iterate in iterates[:1]:
            strength = _common_strength(both, attack, iterate)
            if strength is not None:
                label = (
                    f"Robust accuracy, {words.attack(attack)} {words.at_strength(attack, strength)} "
                    f"({words.iterate(iterate)})"
                )
                first, second = (_accuracies(each, name, attack, iterate, strength, label) for each, name in both)
                yield first, second
    yield _clean(*both[0]), _clean(*both[1])
    if layer is not None:
        for measure in [each for each in one.measures if each in set(other.measures)][:MOST_MEASURES]:
            first, second = (_measured(each, name, layer, measure) for each, name in both)
            yield first, second


def _has(contents: Contents, attack: str, iterate: str) -> bool:
    return class_accuracy(contents.tables["robustness"], attack=attack, iterate=iterate).height > 0


def _common_strength(both: Sequence[tuple[Contents, str]], attack: str, iterate: str) -> float | None:
    """Of the strengths in both, the one where classes of the first differ most; else the middle one."""
    rows = [
        class_accuracy(each.tables["robustness"], attack=attack, iterate=iterate).filter(pl.col("model") == name)
        for each, name in both
    ]
    common = sorted(set(rows[0]["strength"]) & set(rows[1]["strength"]))
    attacked = [strength for strength in common if strength > 0] or common
    if not attacked:
        return None
    spread = (
        rows[0]
        .filter(pl.col("strength").is_in(attacked))
        .group_by("strength")
        .agg(pl.col("robust_accuracy").std().fill_null(0.0).round(9))
    )
    return float(spread.sort("robust_accuracy", "strength", descending=[True, False])["strength"][0])


def _accuracies(contents: Contents, network: str, attack: str, iterate: str, strength: float, label: str) -> Values:
    rows = class_accuracy(contents.tables["robustness"], attack=attack, iterate=iterate).filter(
        model=network, strength=strength
    )
    return _shares(rows, "n_robust", label)


def _clean(contents: Contents, network: str) -> Values:
    rows = contents.tables["robustness"].filter(pl.col("model") == network).unique("class_index", maintain_order=True)
    return _shares(rows.sort("class_index"), "n_clean_correct", "Clean accuracy")


def _shares(rows: pl.DataFrame, successes: str, label: str) -> Values:
    counts = reals(rows, successes), reals(rows, "n_images")
    shares = counts[0] / np.where(counts[1] > 0, counts[1], np.nan)
    return Values(label, rows["class_name"].fill_null("").to_list(), shares, counts)


def _measured(contents: Contents, network: str, layer: str, measure: tuple[str, str]) -> Values:
    rows = of_measure(clean_geometry(contents.tables["geometry"]), *measure).filter(model=network, layer=layer)
    label = f"{words.measure(*measure)}, layer {layer}"
    return Values(label, rows["class_name"].fill_null("").to_list(), reals(rows, "value"))


def _quantity(first: Values, second: Values) -> Compared | None:
    """The quantity in both, over the classes whose names are in both once."""
    places = [
        {name: place for place, name in enumerate(each.classes) if name and list(each.classes).count(name) == 1}
        for each in (first, second)
    ]
    classes = [name for name in places[0] if name in places[1]]
    if not classes:
        return None
    here, there = (np.array([each[name] for name in classes]) for each in places)
    x, y = first.values[here], second.values[there]
    counted = first.counts is not None and second.counts is not None
    x_limits = y_limits = limits = None
    if first.counts is not None and second.counts is not None:
        (k, n), (other_k, other_n) = ([each[where] for each in counts] for counts, where in (
            (first.counts, here), (second.counts, there)
        ))  # fmt: skip
        x_limits, y_limits = wilson(k, n), wilson(other_k, other_n)
        limits = difference(other_k, other_n, k, n)
    found = associate(x, y, method="spearman", names=("the first study", "the second study"))
    return Compared(first.label, tuple(classes), x, y, counted, x_limits, y_limits, y - x, limits, found)
