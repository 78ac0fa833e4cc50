"""The specification curve of each network: every coefficient by rank, and the choices of the analysis behind it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from manifoldscope.evidence.specification import CHOICES, CURVES, Cell, Curve, specification_curves
from manifoldscope.report import words
from manifoldscope.report.explore.cells import OUTCOMES
from manifoldscope.report.explore.numbers import short, shorts
from manifoldscope.report.explore.view import VIEWS, Explored
from manifoldscope.report.findings.phrases import not_counted
from manifoldscope.report.findings.specifications import of_curve

MOST_CELLS = 400
"""Of one curve in the page."""

MOST_OF_ALL = 9_000
"""Of all curves in the page together."""

_GIVEN = {"": "Nothing held fixed", "margin": "Given the margin", "clean_accuracy": "Given clean accuracy"}
_METHODS = {"pearson": "Pearson r", "two_draws": "r on two draws"}
_TITLES = {
    "measure": "Measure",
    "layer": "Layer",
    "attack": "Attack",
    "iterate": "Iterate",
    "outcome": "Outcome",
}

Places = dict[str, dict[Hashable, int]]


@VIEWS.register(
    "specifications",
    title="Every specification",
    caption=(
        "Each mark is the coefficient of a measure and an outcome across the classes of the chosen network under one "
        "choice of measure, layer, attack, iterate and outcome, by rank, with its 95% interval; it is filled where p, "
        "adjusted for all specifications, is below 0.05. Dashed is the median; its p is from permutations of the "
        "classes that are joint over all specifications. Below, a tick says which choice each one is. How many "
        "coefficients have one sign says nothing without the median and its p. Choose a specification to see its "
        "classes."
    ),
    place=40,
    script="specifications.js",
    missing="no network above chance level has four associations or more",
)
def specifications(page: Explored) -> dict[str, Any] | None:
    """Up to three curves of each network, by what is held fixed; of long ones as many ranks as fit, evenly.

    `choices` are the values of each choice, in order, with what they are in the page: positions, or none where the
    page does not hold them. Columns of a curve refer to them by position.
    """
    fact = specification_curves(page.contents.tables)
    curves = {} if fact is None else {name: fact.curves[name] for name in page.networks if name in fact.curves}
    if fact is None or not curves:
        return None
    places = _places(page, [curve for every in curves.values() for curve in every])
    most = min(MOST_CELLS, MOST_OF_ALL // sum(map(len, curves.values())))
    return {
        "choices": [
            {
                "name": choice,
                "title": _TITLES[choice],
                "labels": [_label(choice, value) for value in places[choice]],
                "at": [_at(page, choice, value) for value in places[choice]],
            }
            for choice in CHOICES
        ],
        "networks": {
            str(page.networks.index(name)): [_curve(curve, places, most) for curve in every]
            for name, every in curves.items()
        },
        "at_chance": not_counted({name: fact.at_chance[name] for name in page.networks if name in fact.at_chance}),
        "left_out": _left_out(curves, most),
    }


def _curve(curve: Curve, places: Places, most: int) -> dict[str, Any]:
    ranks = _ranks(len(curve.cells), most)
    cells = [curve.cells[rank] for rank in ranks]
    median = curve.median
    return {
        "given": _GIVEN[curve.control],
        "method": _METHODS[CURVES[curve.control]],
        "text": of_curve(curve),
        "answers": curve.answers,
        "n": len(curve.cells),
        "median": None if median is None else short(median.value, 4),
        "rank": None if len(ranks) == len(curve.cells) else [rank + 1 for rank in ranks],
        "r": shorts([cell.r.value for cell in cells], 4),
        "low": _numbers(cells, lambda cell: cell.r.low),
        "high": _numbers(cells, lambda cell: cell.r.high),
        "p": _numbers(cells, lambda cell: cell.r.p_value if cell.r.p_adjusted is None else cell.r.p_adjusted, 2),
        "seen": "".join(str(int(cell.r.seen)) for cell in cells),
        "chosen": {
            choice: [places[choice].get(getattr(cell.specification, choice), -1) for cell in cells]
            for choice in CHOICES
        },
    }


def _numbers(cells: Sequence[Cell], of: Callable[[Cell], float | None], digits: int = 3) -> list[float | None] | None:
    """A number of each; None where there is none of any."""
    found = [short(of(cell), digits) for cell in cells]
    return None if all(value is None for value in found) else found


def _ranks(n: int, most: int) -> list[int]:
    """Places among `n`, from 0: all, or that many evenly with both ends."""
    if n <= most:
        return list(range(n))
    return sorted({round(step * (n - 1) / max(1, most - 1)) for step in range(most)})


def _places(page: Explored, curves: Sequence[Curve]) -> Places:
    """The position of every value of each choice, in the order of the study file."""
    order: dict[str, list[Any]] = {
        "measure": list(page.contents.measures),
        "layer": list(page.contents.layers),
        "attack": list(page.contents.attacks),
        "iterate": ["last", "any"],
        "outcome": list(OUTCOMES),
    }

    def place(choice: str, value: Any) -> tuple[Any, ...]:
        known = {each: at for at, each in enumerate(order[choice])}
        if choice == "attack":
            name, strength = value
            return known.get(name, len(known)), name, strength or 0.0
        return known.get(value, len(known)), str(value)

    found: Places = {}
    for choice in CHOICES:
        values = [*{value for curve in curves for value in curve.values(choice)}]
        ordered = sorted((place(choice, value), at) for at, value in enumerate(values))
        found[choice] = {values[at]: position for position, (_, at) in enumerate(ordered)}
    return found


def _label(choice: str, value: Any) -> str:
    if choice == "measure":
        return words.measure(*value)
    if choice == "attack":
        name, strength = value
        return words.attack(name) if strength is None else f"{words.attack(name)}, {words.at_strength(name, strength)}"
    if choice == "iterate":
        return words.iterate(value)
    return OUTCOMES.get(value, value.replace("_", " ")) if choice == "outcome" else str(value)


def _at(page: Explored, choice: str, value: Any) -> dict[str, int | str] | None:
    """What is to be chosen in the page, an iterate by its name; None where it does not hold the value."""
    if choice == "iterate":
        return {"iterate": value}
    if choice == "attack":
        name, strength = value
        if name not in page.attacks or strength not in page.strengths(name):
            return None
        return {"attack": page.attacks.index(name), "strength": page.strengths(name).index(strength)}
    known: Sequence[Any] = {
        "measure": page.measures,
        "layer": page.layers,
        "outcome": tuple(OUTCOMES),
    }[choice]
    return {choice: known.index(value)} if value in known else None


def _left_out(curves: Mapping[str, Sequence[Curve]], most: int) -> str:
    longest = max(len(curve.cells) for every in curves.values() for curve in every)
    if longest <= most:
        return ""
    return (
        f"Of each curve at most {words.number(most)} specifications are in this page, evenly by rank; medians are of "
        "all, which the table associations has."
    )
