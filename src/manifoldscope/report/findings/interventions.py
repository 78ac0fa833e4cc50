"""What projecting directions of a layer out, or keeping them alone, does to robust accuracy, in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from manifoldscope.evidence.interventions import Control, Difference, Intervened, beside_random, interventions
from manifoldscope.report import words
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MOST_SPELLED_OUT, plural, some

_EXPECTED_BY_CHANCE = 0.05

_CAVEATS = (
    "Robust accuracy is at most clean accuracy: where the latter changes as well, the former need not have changed by "
    "itself.",
    "The intervals are of classes and images like these, and not of another training of the network.",
    "Directions rescaled to an equal change may be turned over: the column scale says by what the change is "
    "multiplied, and above 2 what lay along them changes its sign and grows.",
)
_TOLD = (
    "The directions of each class are chosen by the true class of the image, which no classifier knows: these "
    "accuracies compare with each other, and not with those of the untouched network."
)


@FINDINGS.register("interventions")
def found(tables: Tables) -> list[Finding]:
    """Whether leading directions of a layer matter more to robust accuracy than random ones: one for each layer."""
    facts = interventions(tables["interventions"], tables["robustness"], tables["models"])
    compared = beside_random(tables["interventions"])
    findings = []
    for (name, layer), group in groupby(
        sorted(facts, key=lambda fact: (fact.intervention, fact.layer)),
        key=lambda fact: (fact.intervention, fact.layer),
    ):
        mine = list(group)
        told = (_TOLD,) if any(fact.of == "class" for fact in mine) else ()
        findings.append(
            Finding(
                kind="interventions",
                title=_title(mine, layer),
                text="\n\n".join(_paragraphs(mine)),
                caveats=(*_CAVEATS, *told),
                numbers=tuple(compared.filter(intervention=name, layer=layer).iter_rows(named=True)),
                weight=44,
            )
        )
    return findings


def _title(facts: Sequence[Intervened], layer: str) -> str:
    differences = [control.robust_difference for fact in _counted(facts) for control in _random(fact)]
    if not differences:
        return f"No network is far enough above chance level for interventions on layer {layer} to be informative"
    if sum(each.clear for each in differences) <= _EXPECTED_BY_CHANCE * len(differences):
        return f"Robust accuracy does not clearly differ between leading and random directions of layer {layer}"
    values = sorted(100 * each.value for each in differences)
    by = " to ".join(dict.fromkeys(_signed(value) for value in (values[0], values[-1])))
    return f"With leading instead of random directions of layer {layer}, robust accuracy changes by {by} points"


def _paragraphs(facts: Sequence[Intervened]) -> list[str]:
    """One for each network, subspace and projection; of many, those of the smallest and the largest difference."""
    counted = _counted(facts)
    near_chance = sorted({fact.model for fact in facts if fact.at_chance})
    said = [_paragraph(fact) for fact in counted]
    differences = [control.robust_difference for fact in counted for control in fact.controls]
    clear = sum(each.clear for each in differences)
    told = (
        f"Of {len(differences)} differences of robust accuracy, {clear} {'has' if clear == 1 else 'have'} an interval "
        f"that leaves out 0, where chance alone would make about {_EXPECTED_BY_CHANCE * len(differences):.2g}."
    )
    if len(counted) > MOST_SPELLED_OUT:
        ordered = sorted(counted, key=lambda fact: fact.controls[0].robust_difference.value)
        said = [
            f"{told} The lowest and the highest difference from random directions:",
            _paragraph(ordered[0]),
            _paragraph(ordered[-1]),
        ]
    elif len(counted) > 1:
        said.append(told)
    if near_chance:
        said.append(f"Close to chance level without intervention: {some(near_chance)}.")
    return said


def _paragraph(fact: Intervened) -> str:
    numbers = words.listing([str(number) for number in fact.n_directions])
    whose = "each class" if fact.of == "class" else "all classes together"
    kept = "without" if fact.keep == "without" else "with only"
    at = words.at_strength(fact.attack, fact.strength)
    mean = f"means over {plural(fact.n_classes, 'class', 'es')}"
    mean += f" and {len(fact.n_directions)} numbers of directions" * (len(fact.n_directions) > 1)
    against = ", and ".join(
        f"{control.robust:.1%} {_control(control)}, a difference of {_points(control.robust_difference)}"
        for control in fact.controls
    )
    clean = ", and ".join(f"{control.clean:.1%}, {_points(control.clean_difference)}" for control in fact.controls)
    dimensions = " and ".join(words.number(control.dimension) for control in fact.controls)
    what = f"{kept} the {numbers} leading directions of {whose} ({words.attack(fact.attack)}, {at}; {mean})"
    text = (
        f"{fact.model}, {what}: robust accuracy is {fact.robust:.1%}, against {against}. Clean accuracy is "
        f"{fact.clean:.1%}, against {clean}. The PCA dimension of a class becomes {words.number(fact.dimension)}, "
        f"against {dimensions}."
    )
    if fact.untouched_robust is None or fact.untouched_clean is None:
        return text
    return f"{text} Untouched, the network has {fact.untouched_robust:.1%} robust and {fact.untouched_clean:.1%} clean."


def _counted(facts: Sequence[Intervened]) -> list[Intervened]:
    return [fact for fact in facts if not fact.at_chance and fact.controls]


def _random(fact: Intervened) -> list[Control]:
    return [control for control in fact.controls if control.directions == "random"]


def _control(control: Control) -> str:
    return "with random ones" if control.directions == "random" else "with random ones rescaled to an equal change"


def _points(change: Difference) -> str:
    """`+3.1 points (95%: -1.0 to 7.2)`, with real minus signs."""
    low, high = (f"{100 * bound:.1f}".replace("-", "\u2212") for bound in (change.low, change.high))
    return f"{_signed(100 * change.value)} points (95%: {low} to {high})"


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "\u2212")
