"""Across networks in words: do the more robust ones have fewer dimensions?"""

from __future__ import annotations

from collections.abc import Sequence

from manifoldscope.evidence.across_networks import AcrossNetworks, Order, across_networks
from manifoldscope.evidence.association_table import FEWEST_NETWORKS
from manifoldscope.evidence.significance import smallest_detectable
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import (
    MOST_SPELLED_OUT,
    MeasureWords,
    capital,
    every,
    found_four_times_in_five,
    interval,
    listed,
    not_counted,
    p_value,
    signed,
)
from manifoldscope.report.words import attack_at


@FINDINGS.register("networks")
def found(tables: Tables) -> list[Finding]:
    """Whether dimension goes with robustness from network to network: one answer for all layers."""
    fact = across_networks(tables)
    if fact is None:
        return []
    words = MeasureWords(fact.measure)
    opening = (
        f"From the least to the most robust under {attack_at(fact.attack, fact.strength)}, where the networks "
        f"differ most (mean {words.name} of the classes; robust accuracy):"
    )
    text = [opening, *_lines(fact.layers), not_counted(fact.at_chance)]
    compared = fact.compared
    return [
        Finding(
            kind="networks",
            title=comparison(compared, words) if compared else _nothing_to_compare(fact.layers),
            text="\n\n".join(filter(None, text)),
            caveats=_caveats(fact) if compared else (),
            numbers=fact.rows,
            weight=88 if compared else 55,
        )
    ]


def _lines(layers: Sequence[Order]) -> list[str]:
    """A line per layer; of many the range of their tests, and the layer at which the measure goes furthest."""
    if len(layers) <= MOST_SPELLED_OUT:
        return [_line(order) for order in layers]
    tested = [(order, order.test) for order in layers if order.test is not None]
    if tested:
        values = [test.value for _, test in tested]
        strongest = max(tested, key=lambda one: abs(one[1].value))[0]
        return [
            f"Over {len(tested)} layers the rank correlation goes from {signed(min(values))} to {signed(max(values))}. "
            f"The strongest: {_line(strongest)}"
        ]
    widest = max(layers, key=_relative_extent)
    return [f"Of {len(layers)} layers, the one in which the networks differ most: {_line(widest)}"]


def _relative_extent(order: Order) -> float:
    values = [each.value for each in order.networks]
    size = sum(map(abs, values)) / len(values)
    return (max(values) - min(values)) / size if size else 0.0


def _line(order: Order) -> str:
    networks = [f"{each.network} ({each.value:.3g}; {each.robust_accuracy:.1%})" for each in order.networks]
    line = f"{order.layer}: {', '.join(networks)}."
    if order.test is None:
        return line
    test = order.test
    return f"{line} Rank correlation {signed(test.value)} ({interval(test.low, test.high)}){p_value(test)}."


def comparison(order: Sequence[Order], words: MeasureWords) -> str:
    """The answer at a glance, over the networks that are counted."""
    n = len({each.network for one in order for each in one.counted})
    if all(len({each.robust_accuracy for each in one.counted}) == 1 for one in order):
        return f"{capital(every(n))} networks are equally robust: {words.name} cannot be compared with robustness"
    layers: dict[str, list[str]] = {"more": [], "fewer": [], "same": [], "none": []}
    for each in order:
        layers[each.trend].append(each.layer)
    if len(layers["none"]) == len(order):
        if all(each.test is not None for each in order):
            return f"Across {n} networks, no evidence that {words.name} goes with robust accuracy"
        return f"Across {n} networks, {words.name} has no consistent relation to robust accuracy"
    least, most = order[0].counted[0].network, order[0].counted[-1].network
    who = f"The more robust network, {most}, has" if n == 2 else f"Across {n} networks, the more robust have"
    undecided = "no evidence of either" if any(each.test for each in order) else "no one order"
    parts: list[str] = []
    for trend, where in layers.items():
        if where:
            than = f" {'as' if trend == 'same' else 'than'} {least}" if n == 2 else ""
            amount = words.brief.get(trend, undecided) if parts else f"{words.full[trend]}{than}"
            parts.append(f"{amount} at {_where(where, len(order))}")
    return f"{who} {', '.join(parts)}"


def _where(layers: Sequence[str], n_layers: int) -> str:
    """Some of the layers that were asked about: by name where they are few."""
    if len(layers) == n_layers > 1:
        return f"{every(n_layers)} layers"
    return listed(layers) if len(layers) <= 2 else f"{len(layers)} of {n_layers} layers"


def _nothing_to_compare(layers: Sequence[Order]) -> str:
    better = sorted({each.network for order in layers for each in order.counted})
    if not better:
        return "Networks cannot be compared: every one of them is at chance level"
    if len(better) == 1:
        return f"Networks cannot be compared: only {better[0]} is above chance level"
    return "Networks cannot be compared: no layer has two that are above chance level"


def _caveats(fact: AcrossNetworks) -> tuple[str, ...]:
    said = [_tested(fact.compared)]
    if fact.single:
        said.append("Each network was made once; another seed of its training could change the order.")
    if any(order.tied for order in fact.compared):
        said.append("Some networks have the same accuracy, and their order among each other means nothing.")
    said.append("Networks that differ in more than their robustness cannot show what the difference is due to.")
    return tuple(said)


def _tested(compared: Sequence[Order]) -> str:
    tested = [order.n_tested for order in compared if order.test is not None]
    most = max(len(order.counted) for order in compared)
    if tested:
        n = min(tested)
        return f"{found_four_times_in_five(n, 'networks', smallest_detectable(n))}."
    if most < FEWEST_NETWORKS:
        return f"{most} networks are too few for a p-value: this is an order, not a test."
    return "No association across these networks is in the tables, so chance was not tested."
