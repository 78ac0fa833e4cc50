"""Specification curves in words: the median over all choices of the analysis, with its p."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from manifoldscope.evidence.specification import CHOICES, Curve, specification_curves
from manifoldscope.report.findings.association import CONTROLS, GATES
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import (
    MOST_SPELLED_OUT,
    capital,
    listed,
    not_counted,
    p_value,
    plural,
    signed,
    some,
)

_PLURALS = {
    "measure": "measures",
    "layer": "layers",
    "attack": "attacks and strengths",
    "iterate": "iterates",
    "outcome": "outcomes",
}

_CAVEATS = (
    "Specifications share classes and images and go up and down together; p is from permutations of the classes that "
    "are joint over all of them. It is not adjusted for the number of networks or of controls.",
    "The median is over all measures, layers, attacks and outcomes of this study: those that point opposite ways "
    "cancel, and others could have been asked for.",
)
REMOVES = {
    "": "With nothing held fixed, how hard classes are when clean can make all of a median.",
    "margin": "Given the margin, a small p claims only that margins on two draws do not explain the median.",
    "clean_accuracy": "Given clean accuracy, a small p claims only that clean accuracies on two draws do not explain "
    "the median.",
}
"""What the p of a median claims, by what is held fixed."""

Curves = Mapping[str, Sequence[Curve]]


@FINDINGS.register("specifications")
def found(tables: Tables) -> list[Finding]:
    """What all specifications of a network say together: their median, with nothing held fixed and given a control."""
    fact = specification_curves(tables)
    if fact is None:
        return []
    curves = {model: each for model, each in fact.curves.items() if any(one.answers for one in each)}
    if not curves:
        return []
    answered = [control for control in REMOVES if any(each.answers for each in _of(curves, control))]
    return [
        Finding(
            kind="specifications",
            title=_title(curves),
            text="\n\n".join(filter(None, [*_paragraphs(curves), _gated(curves), not_counted(fact.at_chance)])),
            caveats=(*_CAVEATS, *(REMOVES[control] for control in answered)),
            numbers=fact.rows,
            weight=62,
        )
    ]


def _of(curves: Curves, control: str) -> list[Curve]:
    return [each for every in curves.values() for each in every if each.control == control]


def _given(control: str) -> str:
    return f"given {CONTROLS[control]}" if control else ""


def _title(curves: Curves) -> str:
    """The medians of one network; of several, in how many of them it is evidence."""
    if len(curves) == 1:
        ((model, every),) = curves.items()
        answering = [each for each in every if each.answers]
        first, *others = answering
        text = f"Over {len(first.cells)} specifications in {model} {_where(first)}the median r is {_median(first)}"
        return "; ".join([text, *(f"{_given(each.control)} it is {_median(each)}" for each in others)])
    parts: list[str] = []
    for control in REMOVES:
        answering = [each for each in _of(curves, control) if each.answers]
        if answering:
            seen = sum(each.seen for each in answering)
            who = f"in {seen} of {len(answering)}" if parts else f"p < 0.05 in {seen} of {len(answering)} networks"
            parts.append(f"{_where(answering[0])}{_extent(answering)} ({who})")
    return f"Over all specifications, the median r is {'; '.join(parts)}"


def _where(curve: Curve) -> str:
    return f"{_given(curve.control)} " if curve.control else ""


def _extent(curves: Sequence[Curve]) -> str:
    values = sorted(each.median.value for each in curves if each.median is not None)
    low, high = (f"{signed(values[place])}" for place in (0, -1))
    return low if low == high else f"{low} to {high}"


def _median(curve: Curve) -> str:
    assert curve.median is not None
    tested = p_value(curve.median).removeprefix(", ") or "chance was not tested"
    return f"{signed(curve.median.value)} ({tested})"


def _paragraphs(curves: Curves) -> list[str]:
    """One for each network; of many, those of the lowest and the highest median."""
    if len(curves) <= MOST_SPELLED_OUT:
        return [_paragraph(model, every) for model, every in curves.items()]
    answering = {model: next(each for each in every if each.answers) for model, every in curves.items()}
    ordered = sorted(answering, key=lambda model: answering[model].median.value)  # type: ignore[union-attr]  # it answers
    said = [_paragraph(model, curves[model]) for model in (ordered[0], ordered[-1])]
    return [f"Of {len(curves)} networks, those of the lowest and the highest median:", *said]


def _paragraph(model: str, every: Sequence[Curve]) -> str:
    first, *others = (each for each in every if each.answers)
    clauses = [f"{_where(first)}over {plural(len(first.cells), 'specification')} ({_among(first)}) the median r is"]
    clauses[0] += f" {_beside_signs(first)}"
    clauses += [f"{_given(each.control)}, over {len(each.cells)}, {_beside_signs(each)}" for each in others]
    return f"{model}: {'; '.join(clauses)}."


def of_curve(curve: Curve) -> str:
    """One curve in words: its median with what that claims, or why nothing can be said."""
    if curve.gates:
        why = listed([GATES[gate] for gate in curve.gates])
        return f"Given {CONTROLS[curve.control]}, nothing can be said of {curve.model}: {why}."
    if curve.median is None:
        return f"The median over {plural(len(curve.cells), 'specification')} was not tested."
    among = f" ({_among(curve)})" if _among(curve) else ""
    text = f"over {plural(len(curve.cells), 'specification')}{among} the median r is {_beside_signs(curve)}"
    return f"{capital(', '.join(filter(None, [_given(curve.control), text])))}. {REMOVES[curve.control]}"


def _beside_signs(curve: Curve) -> str:
    """The median with its p, and only beside them how many are below 0."""
    return f"{_median(curve)}, with {curve.n_negative} below 0"


def _among(curve: Curve) -> str:
    """`2 measures and 3 layers`: what is chosen."""
    chosen = {choice: len(curve.values(choice)) for choice in CHOICES}
    told = listed([f"{n} {_PLURALS[choice]}" for choice, n in chosen.items() if n > 1])
    return told if math.prod(chosen.values()) == len(curve.cells) or not told else f"{told}, not all combined"


def _gated(curves: Curves) -> str:
    """Where clean difficulty cannot be held fixed, and why."""
    gated = [each for every in curves.values() for each in every if each.gates]
    if not gated:
        return ""
    models: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for each in gated:
        models.setdefault((each.control, each.gates), []).append(each.model)
    controls: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (control, gates), which in models.items():
        controls.setdefault((gates, tuple(which)), []).append(CONTROLS[control])
    sentences = []
    for (gates, those), names in controls.items():
        who = "" if len(those) == len(curves) else f" of {some(those)}"
        why = listed([GATES[gate] for gate in gates])
        sentences.append(f"Given {' or '.join(names)}, nothing can be said{who}: {why}.")
    return " ".join(sentences)
