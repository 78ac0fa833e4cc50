"""Across networks, as facts: do the more robust ones have fewer dimensions?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import polars as pl

from manifoldscope.evidence.association_table import FEWEST_NETWORKS
from manifoldscope.evidence.at_chance import at_chance, networks_at_chance
from manifoldscope.evidence.attacks import attacks_in, of_attacks, preferred_iterate, with_attack_name
from manifoldscope.evidence.measures import main_measure, of_classes, of_measure
from manifoldscope.evidence.replicates import replicates
from manifoldscope.evidence.significance import Coefficient
from manifoldscope.evidence.strengths import compared_networks, telling_attack, telling_strengths

Trend = Literal["more", "fewer", "same", "none"]


@dataclass(frozen=True)
class Placed:
    """A network at one layer: the mean over its classes, and over its replicates, of the measure and of accuracy."""

    network: str
    value: float
    robust_accuracy: float
    at_chance: bool


@dataclass(frozen=True)
class Order:
    """The networks at one layer, from the least to the most robust.

    Attributes:
        test: the rank correlation over `n_tested` networks; None where there are fewer than five.
    """

    layer: str
    networks: tuple[Placed, ...]
    test: Coefficient | None
    n_tested: int = 0

    @property
    def counted(self) -> tuple[Placed, ...]:
        """The networks above chance level."""
        return tuple(each for each in self.networks if not each.at_chance)

    @property
    def trend(self) -> Trend:
        """Where the measure goes as robust accuracy rises; of fewer than five networks, in which order they stand."""
        if self.test is not None:
            return "none" if not self.test.seen else "more" if self.test.value > 0 else "fewer"
        steps = [later.value - earlier.value for earlier, later in pairwise(self.counted)]
        if len(steps) == 1 and steps[0] == 0:
            return "same"
        return "more" if all(step > 0 for step in steps) else "fewer" if all(step < 0 for step in steps) else "none"

    @property
    def tied(self) -> bool:
        """Whether some of the networks that are counted have the same accuracy."""
        return len({each.robust_accuracy for each in self.counted}) < len(self.counted)


@dataclass(frozen=True)
class AcrossNetworks:
    """What the networks of a study show beside each other, under the attack and strength that tell them apart most.

    Attributes:
        measure, parameters: that is set against accuracy.
        layers: one order each, at least one.
        at_chance: networks that are shown and not counted, with their clean accuracy.
        single: each network was made once.
        rows: layer, network, attack, strength, accuracy, measure, value, at_chance.
    """

    measure: str
    parameters: str | None
    attack: str
    strength: float
    layers: tuple[Order, ...]
    at_chance: Mapping[str, float]
    single: bool
    rows: tuple[Mapping[str, Any], ...]

    @property
    def compared(self) -> tuple[Order, ...]:
        """The layers at which at least two networks are counted."""
        return tuple(order for order in self.layers if len(order.counted) >= 2)


def across_networks(tables: Mapping[str, pl.DataFrame]) -> AcrossNetworks | None:
    """Whether dimension goes with robustness from network to network; None where fewer than two can be compared.

    Args:
        tables: by name, as in `manifoldscope.tables`, all of them.
    """
    geometry = of_classes(tables["geometry"])
    robustness = (
        with_attack_name(tables["robustness"]).with_columns(attack="attack_name").filter(pl.col("strength") > 0)
    )
    if geometry.is_empty() or robustness.is_empty():
        return None
    geometry = main_measure(geometry)
    names = replicates(tables["models"])
    excluded = networks_at_chance(tables["models"], names)
    values = _values_of_networks(geometry, names)
    attacked = preferred_iterate(of_attacks(robustness, attacks_in(robustness)))
    measured = attacked.join(geometry, on="model", how="semi").filter(pl.col("robust_accuracy").is_finite())
    if measured.is_empty():
        return None
    compared = compared_networks(measured, names, left_out=at_chance(tables["models"]))
    attack = telling_attack(compared)
    strength = telling_strengths(compared.filter(pl.col("attack_name") == attack), within=["attack_name"])["strength"][
        0
    ]
    here = compared_networks(
        measured.filter((pl.col("attack_name") == attack) & (pl.col("strength") == strength)), names
    ).rename({"attack_name": "attack"})
    shared = (
        values.join(here, on="network")
        .filter(pl.len().over("layer") >= 2)
        .with_columns(measure=pl.lit(geometry["measure"][0]), at_chance=pl.col("network").is_in(list(excluded)))
        .sort("robust_accuracy", "network")
        .select("layer", "network", "attack", "strength", "robust_accuracy", "measure", "value", "at_chance")
    )
    if shared.is_empty():
        return None
    like = geometry.select("measure", "parameters").row(0, named=True)
    tests = _tests(of_measure(tables["associations"], like), attack, strength)
    layers = [name for name in geometry["layer"].unique(maintain_order=True) if name in set(shared["layer"])]
    orders = [
        Order(
            layer,
            tuple(
                Placed(**row)
                for row in shared.filter(pl.col("layer") == layer)
                .select("network", "value", "robust_accuracy", "at_chance")
                .iter_rows(named=True)
            ),
            *tests.get(layer, (None, 0)),
        )
        for layer in layers
    ]
    place = {layer: place for place, layer in enumerate(layers)}
    return AcrossNetworks(
        **like,
        attack=attack,
        strength=strength,
        layers=tuple(orders),
        at_chance={name: accuracy for name, accuracy in excluded.items() if name in set(shared["network"])},
        single=len(names) == len(set(names.values())),
        rows=tuple(sorted(shared.to_dicts(), key=lambda row: place[row["layer"]])),
    )


def _values_of_networks(geometry: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The mean over classes, then over replicates of one network: network, layer, value."""
    finite = geometry.filter(pl.col("value").is_finite())
    each = finite.group_by("model", "layer", maintain_order=True).agg(pl.col("value").mean())
    named = each.with_columns(network=pl.col("model").replace(dict(names)))
    return named.group_by("network", "layer", maintain_order=True).agg(pl.col("value").mean())


def _tests(associations: pl.DataFrame, attack: str, strength: float) -> dict[str, tuple[Coefficient, int]]:
    """The rank correlation across networks at each layer, where there are enough of them."""
    across = associations.filter(
        (pl.col("model") == "*")
        & (pl.col("attack") == attack)
        & (pl.col("strength") == strength)
        & (pl.col("method") == "spearman")
        & (pl.col("outcome") == "robust_accuracy")
        & (pl.col("n") >= FEWEST_NETWORKS)
    )
    found = {}
    for row in preferred_iterate(across).iter_rows(named=True):
        if (test := Coefficient.of(row)) is not None:
            found[row["layer"]] = (test, row["n"])
    return found
