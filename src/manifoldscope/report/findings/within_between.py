"""Within networks and between them, in words: short, as the order of networks has a finding of its own."""

from __future__ import annotations

from collections.abc import Sequence

from manifoldscope.evidence.networks_by_classes import Levels, NetworksByClasses, networks_by_classes
from manifoldscope.evidence.within_between import FEWEST_FOR_OTHERS
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import (
    MOST_SPELLED_OUT,
    MeasureWords,
    interval,
    listed,
    not_counted,
    p_value,
    signed,
)
from manifoldscope.report.words import attack_at


@FINDINGS.register("within_between")
def found(tables: Tables) -> list[Finding]:
    """Whether dimension goes with robustness within networks, and whether it turns round between them."""
    fact = networks_by_classes(tables)
    if fact is None:
        return []
    words = MeasureWords(fact.measure)
    return [
        Finding(
            kind="within_between",
            title=_title(fact, words),
            text="\n\n".join(filter(None, [_opening(fact), *_lines(fact.layers), not_counted(fact.at_chance)])),
            caveats=_caveats(fact),
            numbers=fact.rows,
            weight=65,
        )
    ]


def _title(fact: NetworksByClasses, words: MeasureWords) -> str:
    reversed_at = [each for each in fact.layers if each.reversal]
    if reversed_at:
        return f"Simpson's reversal at {_reversals(reversed_at, len(fact.layers))}"
    n = max(each.n_networks for each in fact.layers)
    seen = [each for each in fact.layers if each.within.seen]
    if not seen:
        if all(each.within.p_value is None for each in fact.layers):
            return f"Within these {n} networks, mean r of {words.name} and robust accuracy is {_range(fact.layers)}"
        return f"Within these {n} networks, no evidence that {words.name} goes with robust accuracy across classes"
    parts: list[str] = []
    for side, mine in (
        ("fewer", [each for each in seen if each.within.value < 0]),
        ("more", [each for each in seen if each.within.value >= 0]),
    ):
        if mine:
            amount = words.brief[side] if parts else f"classes with {words.full[side]}"
            where = "" if len(mine) == len(fact.layers) else f" at {_where(mine, len(fact.layers))}"
            parts.append(f"{amount}{where} (mean r {_range(mine)})")
    return f"Within these {n} networks, {' and '.join(parts)} are more robust"


def _reversals(found: Sequence[Levels], n_layers: int) -> str:
    if len(found) > 2:
        within, between = (_listed_range(values) for values in _values(found))
        return f"{len(found)} of {n_layers} layers: within networks r = {within}, between them {between}"
    first = found[0]
    assert first.between is not None
    told = f"within networks r = {_mean(first)}; between them {signed(first.between)}"
    if len(found) == 1:
        return f"{first.layer}: {told}"
    second = found[1]
    assert second.between is not None
    return f"{first.layer} ({told}) and {second.layer} ({_mean(second)}; {signed(second.between)})"


def _values(found: Sequence[Levels]) -> tuple[list[float], list[float]]:
    return [each.within.value for each in found], [each.between for each in found if each.between is not None]


def _listed_range(values: Sequence[float]) -> str:
    """`-0.75 to -0.45`."""
    low, high = f"{signed(min(values))}", f"{signed(max(values))}"
    return low if low == high else f"{low} to {high}"


def _range(found: Sequence[Levels]) -> str:
    return _mean(found[0]) if len(found) == 1 else _listed_range([each.within.value for each in found])


def _mean(fact: Levels) -> str:
    return f"{signed(fact.within.value)}{p_value(fact.within)}"


def _where(found: Sequence[Levels], n_layers: int) -> str:
    names = [each.layer for each in found]
    return listed(names) if len(names) <= 2 else f"{len(names)} of {n_layers} layers"


def _opening(fact: NetworksByClasses) -> str:
    return (
        f"Mean r over networks across their classes, and r of the means of networks ("
        f"{attack_at(fact.attack, fact.strength)}, {fact.iterate} iterate):"
    )


def _lines(layers: Sequence[Levels]) -> list[str]:
    """A line per layer; of many, those of the lowest and of the highest mean r."""
    if len(layers) <= MOST_SPELLED_OUT:
        return [of_layer(each) for each in layers]
    ordered = sorted(layers, key=lambda each: each.within.value)
    return [f"Of {len(layers)} layers, the lowest and the highest: {of_layer(ordered[0])} {of_layer(ordered[-1])}"]


def of_layer(fact: Levels) -> str:
    """One setting in words: within networks, and between them."""
    text = (
        f"{fact.layer}: within these {fact.n_networks} networks mean r = {_mean(fact)}, below 0 in {fact.n_negative}; "
        + ("no r between two networks" if fact.between is None else f"between networks r = {signed(fact.between)}")
    )
    if fact.within.low is not None:
        text += f"; for networks like these the 95% interval within is {interval(fact.within.low, fact.within.high)}"
    return f"{text}."


def _caveats(fact: NetworksByClasses) -> tuple[str, ...]:
    said = ["How hard classes are when clean is not held fixed, within networks or between them."]
    tested = "p within is of these networks, with the classes permuted in all of them together"
    if len(fact.layers) > 1:
        tested += f", and is adjusted for {len(fact.layers)} layers"
    said.append(f"{tested}; r between is not tested.")
    if any(each.within.low is None for each in fact.layers):
        said.append(f"Nothing is said of other networks: that takes at least {FEWEST_FOR_OTHERS}.")
    if any(each.reversal and not each.within.seen for each in fact.layers):
        said.append("Where r within is no evidence by itself, a reversal can be chance.")
    if fact.replicated:
        said.append("Replicates count as networks of their own within, and as one between and for networks like these.")
    return tuple(said)
