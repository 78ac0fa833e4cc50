"""A diagnosis card in sentences: how fragile a class is, how hard when clean, and how sure this is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import polars as pl

from manifoldscope.evidence import Card, cards
from manifoldscope.evidence.class_by_class import telling_classes
from manifoldscope.report import words
from manifoldscope.report.explore.view import Explored

MOST_PER_NETWORK = 60
"""Classes of each network whose card is told in words."""

MOST_BYTES = 220_000
"""Of all sentences in the page."""

_ABOUT = 500  # bytes of the sentences of a card


def told(page: Explored) -> tuple[dict[str, str], int | None]:
    """The sentences by network and class ("n.c"): of each network its most fragile classes, as many as there is room.

    Returns:
        The sentences, and of how many classes of each network; None where of all.
    """
    tables = page.contents.tables
    robustness = tables["robustness"].filter(pl.col("model").is_in(page.networks))
    networks = telling_classes(robustness)["model"].unique(maintain_order=True).to_list()
    most = min(MOST_PER_NETWORK, max(1, MOST_BYTES // (_ABOUT * max(1, len(networks)))))
    found = {}
    for name in networks:
        for card in islice(cards(_of_network(tables, name), model=name), most):
            if card.class_index in page.class_position:
                place = page.class_position[card.class_index]
                found[f"{page.networks.index(name)}.{place}"] = " ".join(sentences(card))
    return found, most if most < len(page.classes) and found else None


def sentences(card: Card) -> Iterator[str]:
    """What is known of the class, sentence by sentence."""
    if card.at_chance:
        yield f"{card.model} is at chance level when clean: its accuracies say nothing of the class."
        return
    yield _fragile(card)
    yield from _beside_all(card)
    yield from _hard(card)
    yield from _taken_for(card)


def _fragile(card: Card) -> str:
    robust, under = card.robust, f"{words.attack(card.attack)}, {words.at_strength(card.attack, card.strength)}"
    share = f"{robust.n_correct} of {robust.n_images} images are robust"
    text = f"Under {under} ({words.iterate(card.iterate)}), where the classes differ most, {share}: "
    if card.n_classes == 1:
        return f"{text}{_percent(robust.value)} (95%: {_percent(robust.low)} to {_percent(robust.high)})."
    ranks = f"{card.first_rank} to {card.last_rank}" if card.first_rank < card.last_rank else str(card.first_rank)
    return (
        f"{text}{_percent(robust.value)} (95% for all {card.n_classes} classes together: {_percent(card.low)} to "
        f"{_percent(card.high)}), which leaves rank {ranks} of {card.n_classes}, 1 being the most fragile."
    )


def _beside_all(card: Card) -> Iterator[str]:
    found = card.difference
    if found is None:
        return
    interval = f"95%: {_points(found.low)} to {_points(found.high)} points"
    if found.clear:
        side = "below" if found.value < 0 else "above"
        yield f"That is {_points(abs(found.value))} points {side} the images of all classes ({interval})."
    else:
        yield f"That is no clear difference from the images of all classes ({_points(found.value)}; {interval})."


def _hard(card: Card) -> Iterator[str]:
    if card.clean is not None:
        yield f"Clean accuracy of the same images is {_percent(card.clean.value)}."
    for each in card.hardness:
        if each.draw == "robustness" and each.margin is not None and each.rank is not None:
            place = f", rank {each.rank} of {each.n_classes} from the smallest" * (each.n_classes > 1)
            yield f"Its mean margin of the logits when clean is {words.number(each.margin)}{place}."


def _taken_for(card: Card) -> Iterator[str]:
    if card.n_misclassified == 0:
        yield "No image that is correct when clean is misclassified at the last iterate."
    elif card.taken_for and card.n_misclassified:
        named = [f"{each.n_into} as {each.class_name}" for each in card.taken_for]
        yield (
            f"Of {words.count(card.n_misclassified, 'image')} that {'is' if card.n_misclassified == 1 else 'are'} "
            f"correct when clean and misclassified at the last iterate, {words.listing(named)}."
        )


def _of_network(tables: Mapping[str, pl.DataFrame], model: str) -> dict[str, pl.DataFrame]:
    """The tables that the sentences need, of one network."""
    own = {name: tables[name].filter(pl.col("model") == model) for name in ("robustness", "outcomes", "margins")}
    return {"models": tables["models"], **own}


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _points(share: float) -> str:
    return words.number(float(f"{100 * share:.1f}"))
