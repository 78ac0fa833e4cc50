"""What speaks against reading more into an association across classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from manifoldscope.evidence.across_classes import RELIABLE, AcrossClasses, Pair
from manifoldscope.evidence.significance import smallest_detectable
from manifoldscope.report.findings.phrases import (
    MOST_SPELLED_OUT,
    MeasureWords,
    found_four_times_in_five,
    interval,
    some,
)

FEW_CLASSES = 20
"""With fewer classes than this, a finding says how strong an association had to be to be seen."""


def caveats(fact: AcrossClasses) -> tuple[str, ...]:
    """Each said once, however many pairs there are; none where there is no coefficient."""
    if not fact.asked:
        return ()
    pairs = [pair for pair, _ in fact.asked]
    said = [
        _power(fact),
        _border([f"{pair.model} at {pair.layer}" for pair, r in fact.asked if r.at_border]),
        _of_sample(fact),
        _attenuated(pairs, MeasureWords(fact.measure).name),
        _noted(pairs),
        _difficulty(pairs),
        _networks(fact),
        ""
        if fact.attacked
        else "Nothing in this study searches for adversarial examples: what is measured is not adversarial robustness.",
        "An association across classes is not a cause: what differs between classes may move both.",
    ]
    return tuple(filter(None, said))


def _power(fact: AcrossClasses) -> str:
    fewest = min(pair.n for pair, _ in fact.asked)
    if fewest >= FEW_CLASSES and all(r.seen for _, r in fact.asked):
        return ""
    return (
        f"{found_four_times_in_five(fewest, 'classes', smallest_detectable(fewest))}"
        f"{_for_many_cells(fact, fewest)}; a weaker association can be "
        "neither seen nor excluded."
    )


def _for_many_cells(fact: AcrossClasses, fewest: int) -> str:
    """How much larger it has to be, where p is adjusted for many cells."""
    if fact.n_cells < 2:
        return ""
    return (
        f" (up to {smallest_detectable(fewest, n_cells=fact.n_cells):.2f}, as p is adjusted over {fact.n_cells} cells)"
    )


def _border(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"The interval and the adjusted p disagree about zero for {some(names)}: evidence at the border."


def _of_sample(fact: AcrossClasses) -> str:
    if not fact.n_of_sample:
        return ""
    return (
        f"{fact.n_of_sample} of {fact.n_values} values are close to the largest value that so many points and features "
        "can give, or decrease when half of the points are taken: they describe the sample, or the width of the layer."
    )


def _attenuated(pairs: Sequence[Pair], measure: str) -> str:
    """That other images would say something else of the classes.

    A correlation with what is measured is, on average, that with the value without noise times the root of the
    reliability (Spearman 1904).
    """
    low = sorted(
        (pair.reliability.value, pair.model, pair.layer, pair.reliability)
        for pair in pairs
        if pair.reliability is not None and pair.unreliable
    )
    if not low:
        return ""
    named = [
        f"{model} at {layer} ({value:.2f}" + ("" if found.low is None else f", {interval(found.low, found.high)}") + ")"
        for value, model, layer, found in low
    ]
    worst = low[0][0]
    left = f"about {math.sqrt(worst):.2f} of" if worst > 0 else "hardly anything of"
    return (
        f"The reliability of the {measure} across classes is estimated below {RELIABLE:g} for {some(named)}: other "
        f"images would rank the classes otherwise. An association with it is attenuated, at worst to {left} what it is "
        "without that noise."
    )


def _noted(pairs: Sequence[Pair]) -> str:
    """What the associations say of their classes themselves, such as that one of them carries a coefficient."""
    notes = [f"{pair.model} at {pair.layer}: {pair.note}" for pair in pairs if pair.note]
    if not notes:
        return ""
    more = f"; and {len(notes) - MOST_SPELLED_OUT} more" if len(notes) > MOST_SPELLED_OUT else ""
    return f"{'; '.join(notes[:MOST_SPELLED_OUT])}{more}."


def _difficulty(pairs: Sequence[Pair]) -> str:
    """What holding difficulty fixed assumes."""
    if not any(pair.beyond in ("holds", "margin_only", "gone") for pair in pairs):
        return ""
    return (
        "How hard a class is when clean is held fixed by its margins on two draws of images (mean, square of the mean, "
        "spread): this assumes that they are all that makes classes differ in difficulty."
    )


def _networks(fact: AcrossClasses) -> str:
    n_models = len({pair.model for pair, _ in fact.asked})
    if n_models < 2 or not any(r.seen for _, r in fact.asked):
        return ""
    return f"p is adjusted for the tests within a network, not for there being {n_models} networks."
