"""Accuracy on other images of the same classes, in words."""

from __future__ import annotations

from collections.abc import Sequence

from manifoldscope.evidence.shifts import EXPECTED_BY_CHANCE, Change, Shift, Shifted, shifts
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MOST_SPELLED_OUT, plural, some

_CAVEATS = (
    "The lowest class is the lowest of several: part of its change is chance.",
    "The intervals take the images of the two datasets as independent, and not as the same photographs.",
    "A change may come from the images or from how they were labelled, sized and stored.",
)


@FINDINGS.register("shifts")
def found(tables: Tables) -> list[Finding]:
    """By how much accuracy differs on each other dataset of the same classes."""
    return [
        Finding(
            kind="shifts",
            title=_title(fact),
            text=" ".join(_sentences(fact.networks)),
            caveats=_CAVEATS,
            numbers=fact.rows,
            weight=45,
        )
        for fact in shifts(tables["shifts"], tables["models"])
    ]


def _title(fact: Shifted) -> str:
    judged = [network.change for network in fact.networks if not network.at_chance]
    changes = [100 * change.value for change in judged]
    if not changes:
        return f"No network is far enough above chance level for its accuracy on {fact.dataset} to be informative"
    if len(changes) == 1:
        if not judged[0].low * judged[0].high > 0:
            return f"On {fact.dataset} accuracy does not clearly change: {_points(judged[0])}"
        direction = "lower" if changes[0] < 0 else "higher"
        return f"On {fact.dataset} accuracy is {abs(changes[0]):.1f} points {direction}"
    return f"On {fact.dataset} accuracy changes by {_signed(min(changes))} to {_signed(max(changes))} points"


def _sentences(networks: Sequence[Shift]) -> list[str]:
    """One sentence per network; of many, those of the networks whose accuracy changes least and most."""
    if len(networks) <= MOST_SPELLED_OUT:
        return [_sentence(network) for network in networks]
    judged = sorted(
        (network for network in networks if not network.at_chance), key=lambda network: network.change.value
    )
    near_chance = [network.model for network in networks if network.at_chance]
    said = [f"Of {plural(len(judged), 'network')}, those whose accuracy drops most and least."] if judged else []
    said += [_sentence(network) for network in dict.fromkeys(judged[:1] + judged[-1:])]
    if near_chance:
        said.append(f"Close to chance level on the study's own images: {some(near_chance)}.")
    return said


def _sentence(network: Shift) -> str:
    if network.at_chance:
        return f"{network.model} is close to chance level on the study's own images."
    return (
        f"{network.model}: {network.accuracy:.1%} of {network.n_images} images, against {network.clean_accuracy:.1%} "
        f"of {network.n_clean} of the study's own: a change of {_points(network.change)}. Of {network.n_classes} "
        f"classes, {network.n_clear} {'has' if network.n_clear == 1 else 'have'} an interval that leaves out 0, where "
        f"chance alone would make about {EXPECTED_BY_CHANCE * network.n_classes:.2g}; lowest is {network.worst_class}, "
        f"{_points(network.worst)}."
    )


def _points(change: Change) -> str:
    """`+3.1 points (95%: -1.0 to 7.2)`, with real minus signs."""
    low, high = (f"{100 * bound:.1f}".replace("-", "\u2212") for bound in (change.low, change.high))
    return f"{_signed(100 * change.value)} points (95%: {low} to {high})"


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "\u2212")
