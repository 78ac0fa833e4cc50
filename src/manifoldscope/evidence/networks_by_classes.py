"""Networks by classes, as facts: the association within networks beside that between them, in one setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.attacks import attacks_in, of_attacks, with_attack_name
from manifoldscope.evidence.measures import main_measure, of_classes, of_measure
from manifoldscope.evidence.replicates import replicates
from manifoldscope.evidence.significance import Coefficient, finite
from manifoldscope.evidence.strengths import compared_networks, telling_attack, telling_strengths


@dataclass(frozen=True)
class Levels:
    """The two associations at one layer.

    Attributes:
        n_networks: replicates count as networks of their own.
        within: the mean over networks across their classes, by Fisher's z; its p is for these networks (adjusted for
            the layers where there are several), and its interval, which takes eight networks, for networks like these.
        n_negative: networks whose coefficient is below 0.
        between: of the means of networks, which is not tested; None of two networks.
        reversal: the two have opposite signs, and neither is small.
    """

    layer: str
    n_networks: int
    n_classes: int
    within: Coefficient
    n_negative: int
    between: float | None
    reversal: bool


@dataclass(frozen=True)
class NetworksByClasses:
    """Robust accuracy against the main measure, at the strength that tells the networks apart.

    Attributes:
        layers: at least one.
        networks: under which name each model that is above chance level counts, as `replicates` gives them.
        at_chance: networks that are left out, with their clean accuracy.
        rows: of the table `within_between`.
    """

    measure: str
    parameters: str | None
    attack: str
    strength: float
    iterate: str
    layers: tuple[Levels, ...]
    networks: Mapping[str, str]
    at_chance: Mapping[str, float]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def replicated(self) -> bool:
        """Whether some networks were trained more than once."""
        return len(set(self.networks.values())) < len(self.networks)


def networks_by_classes(tables: Mapping[str, pl.DataFrame]) -> NetworksByClasses | None:
    """The association within networks beside that between them; None where fewer than two networks have one.

    Of the attacks and strengths at which most networks have an association, it takes those that tell the networks
    apart. The choice looks at accuracies alone.

    Args:
        tables: by name, as in `manifoldscope.tables`, all of them.
    """
    plain = (pl.col("controls").fill_null("") == "") & (pl.col("outcome") == "robust_accuracy")
    every = tables["within_between"].filter(plain & (pl.col("strength") > 0) & pl.col("within").is_finite())
    every = of_attacks(every, _attacks(tables["robustness"]))
    if every.is_empty():
        return None
    other = pl.col("iterate") != "last"
    rows = main_measure(every).filter(other == other.min().over("attack"))
    like = rows.select("measure", "parameters").row(0, named=True)
    most = rows.filter(pl.col("n_networks") == pl.col("n_networks").max())
    setting = _setting(tables, most, like)
    if setting is None:
        return None
    attack, strength = setting
    rows = rows.filter((pl.col("attack") == attack) & (pl.col("strength") == strength))
    left_out, names = at_chance(tables["models"]), replicates(tables["models"])
    measured = set(of_measure(of_classes(tables["geometry"]), like)["model"])
    return NetworksByClasses(
        **like,
        attack=attack,
        strength=strength,
        iterate=rows["iterate"][0],
        layers=tuple(levels_of(row, len(rows)) for row in rows.iter_rows(named=True)),
        networks={model: network for model, network in names.items() if model in measured - set(left_out)},
        at_chance={model: accuracy for model, accuracy in left_out.items() if model in measured},
        rows=tuple(rows.iter_rows(named=True)),
    )


def _attacks(robustness: pl.DataFrame) -> list[str]:
    """The attacks that search for a failure, as `with_attack_name` names them."""
    return attacks_in(with_attack_name(robustness).with_columns(attack="attack_name"))


def _setting(
    tables: Mapping[str, pl.DataFrame], rows: pl.DataFrame, like: Mapping[str, Any]
) -> tuple[str, float] | None:
    """Attack and strength, of those in `rows`, at which the networks differ most."""
    models, measured = tables["models"], of_measure(of_classes(tables["geometry"]), like)
    keys = {"attack_name": "attack", "strength": "strength", "iterate": "iterate"}
    accuracies = (
        with_attack_name(tables["robustness"])
        .filter(pl.col("robust_accuracy").is_finite())
        .join(measured, on="model", how="semi")
        .join(rows, left_on=list(keys), right_on=list(keys.values()), how="semi")
    )
    if accuracies.is_empty():
        return None
    compared = compared_networks(accuracies, replicates(models), left_out=at_chance(models))
    attack = telling_attack(compared)
    here = compared.filter(pl.col("attack_name") == attack)
    return attack, float(telling_strengths(here, within=["attack_name"])["strength"][0])


def levels_of(row: Mapping[str, Any], n_layers: int) -> Levels:
    """A row of the table `within_between`, with its p adjusted for that many layers."""
    p = finite(row["within_p"])
    adjusted = None if p is None or n_layers == 1 else min(1.0, p * n_layers)  # Bonferroni, over the layers
    return Levels(
        layer=row["layer"],
        n_networks=row["n_networks"],
        n_classes=row["n_classes"],
        within=Coefficient(row["within"], finite(row["within_low"]), finite(row["within_high"]), p, adjusted),
        n_negative=row["n_within_negative"],
        between=finite(row["between"]),
        reversal=bool(row["reversal"]),
    )
