"""Robust accuracy class by class, as facts: the worst class, the spread over classes, and attack sinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.attacks import attacks_in, of_attacks, preferred_iterate, with_attack_name
from manifoldscope.evidence.confusion import confusions
from manifoldscope.evidence.proportions import wilson
from manifoldscope.evidence.simultaneous import simultaneous
from manifoldscope.evidence.sinks import Sinks, sinks
from manifoldscope.evidence.spread import Spread, spread
from manifoldscope.evidence.strengths import telling_attack, telling_strengths


@dataclass(frozen=True)
class Accuracy:
    """A share of images, with its 95% Wilson interval."""

    n_correct: int
    n_images: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """In [0, 1]."""
        return self.n_correct / self.n_images

    @classmethod
    def of(cls, n_correct: int | None, n_images: int | None) -> Accuracy | None:
        """That of counts; None where there is none, or there are no images."""
        if n_correct is None or not n_images:
            return None
        low, high = wilson(np.array([n_correct], dtype=np.float64), np.array([n_images], dtype=np.float64))
        return cls(n_correct, n_images, float(low[0]), float(high[0]))


@dataclass(frozen=True)
class Worst:
    """The class with the lowest robust accuracy.

    The lowest of many accuracies is biased downwards: it is chosen for its noise as well.

    Attributes:
        robust: its robust accuracy; the interval is that of a class named beforehand.
        low, high: a 95% interval that allows for the choice. It holds for this class, and for the lowest true accuracy
            of any class (see `simultaneous`).
        n_tied: other classes of the same accuracy.
    """

    class_index: int
    class_name: str
    robust: Accuracy
    low: float
    high: float
    n_tied: int


@dataclass(frozen=True)
class ClassByClass:
    """The classes of one network under one attack.

    Attributes:
        attack, strength, iterate: under which its classes differ most.
        n_settings: attacks and strengths among which these were chosen.
        sinks: None where no outcomes per image are known.
        targeted: whether the attack chooses as which class an image is to be misclassified.
        class_names: by class index, of the classes that were attacked.
    """

    model: str
    attack: str
    strength: float
    iterate: str
    n_settings: int
    n_classes: int
    n_images: int
    worst: Worst
    spread: Spread
    sinks: Sinks | None
    targeted: bool
    class_names: Mapping[int, str]

    def named(self, class_index: int) -> str:
        """The name of a class; `class 17` where it was not attacked."""
        return self.class_names.get(class_index, f"class {class_index}")


@dataclass(frozen=True)
class Networks:
    """The networks of a study, class by class.

    Attributes:
        at_chance: networks that are left out, with their clean accuracy.
        networks: those that are counted.
    """

    at_chance: Mapping[str, float]
    networks: tuple[ClassByClass, ...]


def class_by_class(tables: Mapping[str, pl.DataFrame]) -> Networks | None:
    """The worst class, the spread over classes and the attack sinks of each network; None where nothing was attacked.

    Each network is taken under the attack and at the strength where its classes differ most, as in `across_classes`.
    Networks at chance level are left out, and named.

    Args:
        tables: by name, as in `manifoldscope.tables`: models, robustness and outcomes.
    """
    rows = telling_classes(tables["robustness"])
    if rows.is_empty():
        return None
    excluded = {name: value for name, value in at_chance(tables["models"]).items() if name in set(rows["model"])}
    outputs = dict(tables["models"].select("model", "n_classes").iter_rows())
    counted = rows.filter(~pl.col("model").is_in(list(excluded)))
    found = (
        _network(each, tables["outcomes"], outputs.get(each["model"][0]))
        for each in counted.partition_by("model", maintain_order=True)
    )
    return Networks(excluded, tuple(found))


def telling_classes(robustness: pl.DataFrame) -> pl.DataFrame:
    """A row per network and class, under the attack and at the strength that tell the classes of the network apart.

    Args:
        robustness: the table.

    Returns:
        Columns model, attack (with what tells its runs apart), strength, iterate, class_index, class_name, n_images,
        n_clean_correct, n_robust, robust_accuracy and n_settings: attacks and strengths among which these were chosen.
    """
    named = with_attack_name(robustness).with_columns(attack="attack_name")
    searching = attacks_in(named)
    judged = named.filter(
        (pl.col("strength") > 0) & (pl.col("n_images") > 0) & pl.col("robust_accuracy").is_finite(),
        pl.col("n_robust").is_between(0, pl.col("n_images")),
    )
    rows = preferred_iterate(of_attacks(judged, searching))
    chosen = [_chosen(each) for each in rows.partition_by("model", maintain_order=True)]
    columns = ("model", "attack", "strength", "iterate", "class_index", "class_name")
    counts = ("n_images", "n_clean_correct", "n_robust", "robust_accuracy", "n_settings")
    found = pl.concat(chosen) if chosen else rows.with_columns(n_settings=pl.lit(0))
    return (
        found.with_columns(pl.col("class_name").fill_null(pl.format("class {}", "class_index")))
        .select(*columns, *counts)
        .sort("model", "class_index")
    )


def _chosen(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of one network that count."""
    attack = telling_attack(rows)
    mine = rows.filter(pl.col("attack") == attack)
    strength = telling_strengths(mine)["strength"][0]
    n_settings = rows.select("attack", "strength").n_unique()
    return mine.filter(pl.col("strength") == strength).with_columns(n_settings=pl.lit(n_settings))


def outcomes_under(outcomes: pl.DataFrame, *, model: str, attack: str, strength: float) -> pl.DataFrame:
    """The outcomes of one network at one strength of an attack.

    Args:
        outcomes: the table.
        attack: with what tells its runs apart.
    """
    settings = ("attack", "parameters", "norm", "n_steps", "strength")
    named = with_attack_name(outcomes.select(settings).unique(maintain_order=True))
    chosen = named.filter(attack_name=attack, strength=strength)
    return outcomes.filter(model=model).join(chosen, on=settings, how="semi", nulls_equal=True)


def _network(rows: pl.DataFrame, outcomes: pl.DataFrame, n_outputs: int | None) -> ClassByClass:
    first = rows.row(0, named=True)
    where = {name: first[name] for name in ("model", "attack", "strength")}
    here = outcomes_under(outcomes, **where)
    robust, images = (rows[name].cast(pl.Float64).to_numpy() for name in ("n_robust", "n_images"))
    found = None
    if here["last_prediction"].is_not_null().any():
        confused = confusions(here)
        seen = {*rows["class_index"], *(label for label in confused["other_class_index"] if label >= 0)}
        found = sinks(confused, max(n_outputs or 0, len(seen)))
    return ClassByClass(
        **where,
        iterate=first["iterate"],
        n_settings=first["n_settings"],
        n_classes=rows.height,
        n_images=int(images.sum()),
        worst=_worst(rows),
        spread=spread(robust, images, n_settings=first["n_settings"]),
        sinks=found,
        targeted=bool(here["targeted"].fill_null(False).any()),
        class_names=dict(rows.select("class_index", "class_name").iter_rows()),
    )


def _worst(rows: pl.DataFrame) -> Worst:
    robust, images = (rows[name].cast(pl.Float64).to_numpy() for name in ("n_robust", "n_images"))
    accuracies = robust / images
    place = int(np.argmin(accuracies))
    low, high = simultaneous(robust, images)
    accuracy = Accuracy.of(int(robust[place]), int(images[place]))
    assert accuracy is not None
    return Worst(
        class_index=rows["class_index"][place],
        class_name=rows["class_name"][place],
        robust=accuracy,
        # The lowest true accuracy is at most that of this class, and may be that of a class with fewer images.
        low=float(low.min()),
        high=float(high[place]),
        n_tied=int((accuracies == accuracies[place]).sum()) - 1,
    )
