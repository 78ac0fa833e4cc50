"""What is measured against the number of classes that a network is trained on, in words."""

from __future__ import annotations

from manifoldscope.evidence.number_of_classes import NumberOfClasses, numbers_of_classes
from manifoldscope.report import words
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MeasureWords, plural

_CAVEATS = (
    "More classes also bring more training images and more steps: the number of classes is not all that changes.",
    "The interval is over classes like these; one training of each network does not show how much seeds matter.",
)


@FINDINGS.register("number_of_classes")
def found(tables: Tables) -> list[Finding]:
    """Whether the measure grows with the number of classes: one finding for each recipe and layer."""
    return [
        Finding(
            kind="number_of_classes",
            title=_title(fact),
            text=_text(fact),
            caveats=_CAVEATS if all(each.n_networks == 1 for each in fact.trained) else _CAVEATS[:1],
            numbers=tuple(fact.rows),
            weight=86,
        )
        for fact in numbers_of_classes(tables)
    ]


def _title(fact: NumberOfClasses) -> str:
    fewest, most = fact.trained[0], fact.trained[-1]
    name = MeasureWords(fact.measure).name
    clear = fact.change_low is not None and fact.change_high is not None and fact.change_low * fact.change_high > 0
    if not clear:
        return (
            f"No clear change of {name} at {fact.layer} from {fewest.n_classes} to {most.n_classes} training classes "
            f"({fact.recipe})"
        )
    way = "grows" if fact.change > 0 else "falls"
    return (
        f"From {fewest.n_classes} to {most.n_classes} training classes {name} at {fact.layer} {way} from "
        f"{fewest.value:.3g} to {most.value:.3g} ({fact.recipe})"
    )


def _text(fact: NumberOfClasses) -> str:
    values = ", ".join(
        f"{each.value:.3g} with {each.n_classes} classes ({_limits(each.low, each.high)}"
        + (f"; {plural(each.n_networks, 'network')})" if each.n_networks > 1 else ")")
        for each in fact.trained
    )
    return words.real_minus(
        f"Mean over the {fact.n_common} classes that all of these networks know, on the same images: {values}. From "
        f"the fewest to the most the mean changes by {fact.change:+.3g} "
        f"({_limits(fact.change_low, fact.change_high)}, over classes); it is larger for {fact.n_rising} of "
        f"{fact.n_common}."
    )


def _limits(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"95%: {low:.3g} to {high:.3g}"
