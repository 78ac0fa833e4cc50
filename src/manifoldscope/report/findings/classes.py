"""Robust accuracy class by class, in words: the worst class, the spread over classes and attack sinks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from manifoldscope.evidence.cards import Card, cards
from manifoldscope.evidence.class_by_class import Accuracy, ClassByClass, class_by_class
from manifoldscope.evidence.sinks import Sink
from manifoldscope.report import words
from manifoldscope.report.findings.finding import FINDINGS, Finding, Tables
from manifoldscope.report.findings.phrases import MOST_SPELLED_OUT, listed, not_counted, plural

_MOST_CLASSES = 3
_MOST_SINKS = 3

_CAVEATS = (
    "Attack and strength are those under which the classes differ most: elsewhere they differ less. The p-value allows "
    "for that; the expected noise does not.",
    "The lowest of many accuracies is lower than the true one of its class on average; other images would give a "
    "higher one.",
    "One training of a network tells nothing of the classes that another training would make fragile.",
)
_OF_SINKS = (
    "Equal shares are a yardstick and no claim about an unbiased network: classes that look alike are confused more "
    "often. Classes with many misclassified images count more.",
)
_TARGETED = (
    "The attack chooses as which class an image is to be misclassified, so sinks may be its choice and not the "
    "network's.",
)


@FINDINGS.register("classes")
def found(tables: Tables) -> list[Finding]:
    """The worst class of each network, how far its classes lie apart beside noise, and as which it misclassifies."""
    fact = class_by_class(tables)
    if fact is None or (not fact.networks and not fact.at_chance):
        return []
    networks = fact.networks
    shown = _shown(networks)
    paragraphs = [_paragraph(each, list(islice(cards(tables, model=each.model), _MOST_CLASSES))) for each in shown]
    if len(shown) < len(networks):
        paragraphs.insert(0, _range(networks))
    with_sinks = any(each.sinks is not None for each in networks)
    return [
        Finding(
            kind="classes",
            title=_title(networks),
            text="\n\n".join(filter(None, [*paragraphs, not_counted(fact.at_chance)])),
            caveats=(
                *(_CAVEATS if networks else ()),
                *(_OF_SINKS if with_sinks else ()),
                *(_TARGETED if with_sinks and any(each.targeted for each in networks) else ()),
            ),
            numbers=tuple(map(_numbers, networks)),
            weight=55,
        )
    ]


def _shown(networks: Sequence[ClassByClass]) -> Sequence[ClassByClass]:
    """All of few networks; of many, those with the lowest and the highest worst-class accuracy."""
    if len(networks) <= MOST_SPELLED_OUT:
        return networks
    ordered = sorted(networks, key=lambda each: each.worst.robust.value)
    return ordered[0], ordered[-1]


def _title(networks: Sequence[ClassByClass]) -> str:
    if not networks:
        return "No network is far enough above chance level to say which classes are fragile"
    if len(networks) == 1:
        (only,) = networks
        return (
            f"{_percent(only.worst.robust.value)} of the images of the worst class of {only.model} are robust, and "
            f"{_percent(only.spread.accuracy)} of all images"
        )
    if len(networks) <= MOST_SPELLED_OUT:
        apart = len({(each.attack, each.strength) for each in networks}) > 1
        told = listed([_worst_beside_all(each, at=apart) for each in networks])
        return f"Worst-class robust accuracy is {told}"
    worst = [each.worst.robust.value for each in networks]
    return (
        f"Worst-class robust accuracy goes from {_percent(min(worst))} to {_percent(max(worst))} over "
        f"{len(networks)} networks"
    )


def _worst_beside_all(fact: ClassByClass, *, at: bool) -> str:
    """With the attack and its strength, where networks are not told at the same one."""
    worst, every = _percent(fact.worst.robust.value), _percent(fact.spread.accuracy)
    under = f" under {words.attack_at(fact.attack, fact.strength)}" if at else ""
    return f"{worst} in {fact.model}{under} ({every} over all classes)"


def _range(networks: Sequence[ClassByClass]) -> str:
    seen = sum(each.spread.seen for each in networks)
    return (
        f"The classes of {seen} of {len(networks)} networks differ by more than binomial noise. The networks with the "
        "lowest and the highest worst-class accuracy:"
    )


def _paragraph(fact: ClassByClass, fragile: Sequence[Card]) -> str:
    sentences = [_worst(fact), *_spread(fact), *_sinks(fact)]
    if fact.n_classes > 1:
        named = "; ".join(_card(card) for card in fragile)
        sentences.insert(2, f"The most fragile {'class is' if len(fragile) == 1 else 'classes are'} {named}.")
    return " ".join(sentences)


def _worst(fact: ClassByClass) -> str:
    worst = fact.worst
    under = f"{words.attack(fact.attack)}, {words.at_strength(fact.attack, fact.strength)}, {fact.iterate} iterate"
    tied = f" ({plural(worst.n_tied, 'other class', 'es')} as few)" if worst.n_tied else ""
    text = (
        f"{fact.model} ({under}): {_of(worst.robust)} of the worst class, {worst.class_name}, are robust{tied}, "
        f"{_percent(worst.robust.value)} (95%: {_interval(worst.robust.low, worst.robust.high)}"
    )
    if fact.n_classes == 1:
        return f"{text})."
    return (
        f"{text}; as the worst of {fact.n_classes}, chosen after looking, {_interval(worst.low, worst.high)}). Of the "
        f"{words.number(fact.n_images)} images of all classes {_percent(fact.spread.accuracy)} are."
    )


def _spread(fact: ClassByClass) -> Iterator[str]:
    if fact.n_classes == 1:
        return
    spread, noise = fact.spread, fact.spread.noise
    p = f"{'adjusted ' * (fact.n_settings > 1)}{_p(spread.p_adjusted)}"
    more = "more than" if spread.seen else "no clear difference from"
    yield (
        f"Maximum less minimum is {100 * spread.max_minus_min:.1f} points and the Gini coefficient "
        f"{spread.gini:.2f}; if all classes had the same accuracy, binomial noise alone would give about "
        f"{100 * noise.max_minus_min:.1f} points (below {100 * noise.max_minus_min_high:.1f} in 19 of 20 studies), "
        f"{noise.gini:.2f} and a worst class of {_percent(noise.minimum)}: {more} noise ({p})."
    )


def _card(card: Card) -> str:
    """`8 (24.0%, 14.3% to 37.4%, rank 1 to 4; clean 90.0%; as 1 in 20 of 34 misclassified images)`."""
    parts = [f"{_percent(card.robust.value)}, {_interval(card.robust.low, card.robust.high)}"]
    ranks = f"{card.first_rank} to {card.last_rank}" if card.first_rank < card.last_rank else str(card.first_rank)
    parts[0] += f", rank {ranks} of {card.n_classes}" * (card.n_classes > 1)
    if card.clean is not None:
        parts.append(f"clean {_percent(card.clean.value)}")
    if card.taken_for:
        most = card.taken_for[0]
        parts.append(f"most often misclassified as {most.class_name}: {most.n_into} of {card.n_misclassified} images")
    return f"{card.class_name} ({'; '.join(parts)})"


def _sinks(fact: ClassByClass) -> Iterator[str]:
    if fact.sinks is None or not fact.sinks.into or fact.sinks.n_classes < 3:
        return
    every = f"{words.number(fact.sinks.n_misclassified)} misclassified images"
    if not fact.sinks.found:
        most = fact.sinks.into[0]
        yield (
            f"No class takes clearly more than an equal share of the {every}; the most, "
            f"{fact.named(most.class_index)}, takes {_shares(most)}."
        )
        return
    many = len(fact.sinks.found)
    shown = "; ".join(_sink(fact, sink) for sink in fact.sinks.found[:_MOST_SINKS])
    head = "Attack sinks" if many <= _MOST_SINKS else f"The {_MOST_SINKS} largest of {many} attack sinks"
    yield f"{head}, of {every}: {shown}."


def _sink(fact: ClassByClass, sink: Sink) -> str:
    source = fact.named(sink.largest_source)
    whose = f"{sink.n_from_largest} of {sink.n_into} from {source}"
    whose += ", without which nothing is seen" if sink.of_one_class else f", the others from {sink.n_sources - 1} more"
    return f"{fact.named(sink.class_index)} takes {_shares(sink)} ({whose})"


def _shares(sink: Sink) -> str:
    return (
        f"{_percent(sink.share)}, where an equal share would be {_percent(sink.equal_share)}, "
        f"with adjusted {_p(sink.p_adjusted)}"
    )


def _numbers(fact: ClassByClass) -> dict[str, Any]:
    """The row of a network."""
    worst, spread = fact.worst, fact.spread
    most = fact.sinks.into[0] if fact.sinks is not None and fact.sinks.into else None
    return {
        "model": fact.model,
        "attack": fact.attack,
        "strength": fact.strength,
        "iterate": fact.iterate,
        "n_classes": fact.n_classes,
        "robust_accuracy": spread.accuracy,
        "worst_class": worst.class_name,
        "worst_class_accuracy": worst.robust.value,
        "low": worst.robust.low,
        "high": worst.robust.high,
        "low_as_worst": worst.low,
        "high_as_worst": worst.high,
        "max_minus_min": spread.max_minus_min,
        "max_minus_min_by_noise": spread.noise.max_minus_min,
        "gini": spread.gini,
        "gini_by_noise": spread.noise.gini,
        "p_adjusted": spread.p_adjusted,
        "n_sinks": None if fact.sinks is None else len(fact.sinks.found),
        "largest_share_of": None if most is None else fact.named(most.class_index),
        "largest_share": None if most is None else most.share,
        "equal_share": None if most is None else most.equal_share,
    }


def _of(accuracy: Accuracy) -> str:
    return f"{accuracy.n_correct} of {accuracy.n_images} images"


def _p(p_value: float) -> str:
    return "p < 1e-10" if p_value < 1e-10 else f"p = {p_value:.2g}"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _interval(low: float, high: float) -> str:
    return f"{low:.1%} to {high:.1%}"
