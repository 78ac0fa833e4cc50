"""The main question, as facts: within one network, are the classes with fewer dimensions more robust?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from manifoldscope.evidence.association import nearly_constant
from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.attacks import attacks_in, of_attacks, preferred_iterate, with_attack_name
from manifoldscope.evidence.measures import describes_sample, main_measure, of_classes, of_measure
from manifoldscope.evidence.significance import Coefficient, finite
from manifoldscope.evidence.strengths import telling_attack, telling_strengths
from manifoldscope.evidence.two_draws import CONTROLS

RELIABLE = 0.7
"""With a reliability across classes below this, an association is attenuated."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class NoCoefficient:
    """Why there is no coefficient.

    Attributes:
        reason: "few": fewer than four classes; "constant": the `what` of every class is `value`; "nearly_constant": it
            is but for `n_others` classes; "unknown": one of the two does not vary.
        what: "measure" or "accuracy".
    """

    reason: Literal["few", "constant", "nearly_constant", "unknown"]
    what: Literal["measure", "accuracy"] = "measure"
    value: float | None = None
    n_others: int = 0


@dataclass(frozen=True)
class Reliability:
    """How well another sample of the images would agree on the classes, with its 95% interval where there is one."""

    value: float
    low: float | None
    high: float | None


Beyond = Literal["holds", "margin_only", "gone", "cannot_be_answered"]


@dataclass(frozen=True)
class Given:
    """What is left of an association where clean difficulty is held fixed by one control, measured on both draws.

    Attributes:
        control: "margin" or "clean_accuracy".
        n: classes: those of the pair that have a number on both draws, and an image that is correct when clean.
        coefficient: of the measure and the log-odds of being robust among images that are correct when clean; None
            where there is none.
        gates: why clean difficulty cannot be held fixed with these data; empty where it can.
        reliability: of the control, from one draw to the other.
        vanishes_at: how reliable the control would have to be for the coefficient to vanish.
    """

    control: str
    n: int
    coefficient: Coefficient | None
    gates: tuple[str, ...]
    reliability: float | None
    vanishes_at: float | None

    def same_sign(self, other: Coefficient) -> bool:
        """Whether what is left has the sign of another coefficient."""
        return self.coefficient is not None and self.coefficient.value * other.value > 0

    @property
    def seen(self) -> bool:
        """Whether something is left, by a test that these data allow."""
        return not self.gates and self.coefficient is not None and self.coefficient.seen


@dataclass(frozen=True)
class Pair:
    """A network and a layer: the association across its classes, with and without clean difficulty held fixed.

    Attributes:
        attack, strength, iterate: under which the classes of the network differ most.
        method: "pearson" or "spearman".
        n: classes.
        plain: None where there is a `reason`.
        given: what is left given the margin, the primary test, and given clean accuracy; empty where not asked for.
        note: what the association itself says of its classes, such as that one of them carries it.
    """

    model: str
    layer: str
    attack: str
    strength: float
    iterate: str
    method: str
    n: int
    plain: Coefficient | None
    given: tuple[Given, ...]
    reason: NoCoefficient | None
    reliability: Reliability | None
    note: str

    @property
    def beyond(self) -> Beyond | None:
        """Whether the association goes beyond clean difficulty; a strong claim needs both controls. None: not asked."""
        by_control = {each.control: each for each in self.given}
        margin, accuracy = (by_control.get(name) for name in ("margin", "clean_accuracy"))
        if margin is None or (margin.coefficient is not None and margin.coefficient.p_value is None):
            return None
        if margin.gates or margin.coefficient is None:
            return "cannot_be_answered"
        if not margin.seen:
            return "gone"
        return "holds" if accuracy is not None and accuracy.seen and self._agree(margin, accuracy) else "margin_only"

    def _agree(self, one: Given, other: Given) -> bool:
        """Whether two coefficients have one sign."""
        return (
            one.coefficient is not None
            and other.coefficient is not None
            and (one.coefficient.value * other.coefficient.value > 0)
        )

    @property
    def unreliable(self) -> bool:
        """Whether the measure's reliability across classes is too low for its association not to be attenuated."""
        return self.reliability is not None and self.reliability.value < RELIABLE


@dataclass(frozen=True)
class AcrossClasses:
    """What the associations across classes say, over all networks and layers.

    Attributes:
        measure, parameters: of which they are.
        attacks: of which there are associations.
        attacked: whether any of them searches for adversarial examples: noise and corruptions do not.
        at_chance: networks that are left out, with their clean accuracy.
        pairs: those that are counted.
        n_cells: over how many cells p is adjusted in the network that has most; 1 where that is not known.
        n_values, n_of_sample: values that coefficients rest on, and how many of these describe the sample.
        rows: of the table `associations`.
    """

    measure: str
    parameters: str | None
    attacks: tuple[str, ...]
    attacked: bool
    at_chance: Mapping[str, float]
    pairs: tuple[Pair, ...]
    n_cells: int
    n_values: int
    n_of_sample: int
    rows: tuple[Row, ...]

    @property
    def asked(self) -> tuple[tuple[Pair, Coefficient], ...]:
        """The pairs that have a coefficient, with it."""
        return tuple((pair, pair.plain) for pair in self.pairs if pair.plain is not None)


def across_classes(tables: Mapping[str, pl.DataFrame]) -> AcrossClasses | None:
    """Whether the classes with fewer dimensions are more robust; None where nothing was asked.

    The measure is the PCA dimension where there is one. Of each network it takes the attack with the most strengths,
    at the strength where the robust accuracies of its classes differ most. Networks at chance level are left out, and
    named.

    Args:
        tables: by name, as in `manifoldscope.tables`, all of them.
    """
    # the plain association is that of robust accuracy; difficulty is held fixed for its log-odds
    told = (pl.col("outcome") == "robust_accuracy") & (pl.col("method") != "two_draws")
    told |= (pl.col("outcome") == "log_odds") & (pl.col("method") == "two_draws")
    rows = tables["associations"].filter((pl.col("model") != "*") & (pl.col("strength") > 0) & told)
    named = with_attack_name(tables["robustness"]).with_columns(attack="attack_name").filter(pl.col("strength") > 0)
    attacks = attacks_in(named)
    if rows.is_empty() or (rows := of_attacks(rows, attacks)).is_empty():
        return None
    rows = preferred_iterate(main_measure(rows))
    accuracies = preferred_iterate(named)
    excluded = {model: found for model, found in at_chance(tables["models"]).items() if model in set(rows["model"])}
    counted = [_telling(mine, accuracies) for mine in rows.partition_by("model") if mine["model"][0] not in excluded]
    chosen = pl.concat(counted) if counted else rows.clear()
    pairs = [
        _pair(found.to_dicts(), tables, accuracies)
        for found in chosen.partition_by("model", "layer")
        if set(found["method"]) & {"pearson", "spearman"}
    ]
    if not pairs and not excluded:
        return None
    like = rows.select("measure", "parameters").row(0, named=True)
    values = of_measure(of_classes(tables["geometry"]), like)
    asked = [pair for pair in pairs if pair.plain]
    used = [values.filter((pl.col("model") == pair.model) & (pl.col("layer") == pair.layer)) for pair in asked]
    kept = {(pair.model, pair.layer) for pair in pairs}
    return AcrossClasses(
        **like,
        attacks=tuple(sorted(set(rows["attack"]))),
        attacked=bool(attacks),
        at_chance=excluded,
        pairs=tuple(pairs),
        n_cells=_n_cells(tables, [pair.model for pair in asked]),
        n_values=sum(map(len, used)),
        n_of_sample=sum(len(each.filter(describes_sample())) for each in used),
        rows=tuple(row for row in chosen.to_dicts() if (row["model"], row["layer"]) in kept),
    )


def _n_cells(tables: Mapping[str, pl.DataFrame], models: Sequence[str]) -> int:
    told = tables["specifications"].filter(pl.col("model").is_in(list(models)) & (pl.col("method") == "pearson"))
    return max(told["n_cells"].to_list(), default=1)


def _telling(rows: pl.DataFrame, accuracies: pl.DataFrame) -> pl.DataFrame:
    """The rows of one network under the attack and at the strength that tell its classes apart."""
    keys = ("model", "attack", "strength")
    judged = (
        rows.select(keys)
        .unique()
        .join(accuracies.drop("attack_name"), on=keys, how="left")
        .rename({"attack": "attack_name"})
    )
    attack = telling_attack(judged)
    strength = telling_strengths(judged.filter(pl.col("attack_name") == attack))["strength"][0]
    return rows.filter((pl.col("attack") == attack) & (pl.col("strength") == strength))


def _pair(rows: Sequence[Row], tables: Mapping[str, pl.DataFrame], accuracies: pl.DataFrame) -> Pair:
    by_method = {row["method"]: row for row in rows}
    row = by_method.get("pearson") or by_method["spearman"]
    plain = Coefficient.of(row)
    return Pair(
        model=row["model"],
        layer=row["layer"],
        attack=row["attack"],
        strength=row["strength"],
        iterate=row["iterate"],
        method=row["method"],
        n=row["n"],
        plain=plain,
        given=tuple(
            _given(each)
            for control in CONTROLS
            for each in rows
            if each["method"] == "two_draws" and each["controls"] == control
        ),
        reason=_why_none(row, tables["geometry"], accuracies) if plain is None else None,
        reliability=_reliability(row, tables["reliability"]),
        note=row["note"] or "",
    )


def _given(row: Row) -> Given:
    return Given(
        control=row["controls"],
        n=row["n"],
        coefficient=Coefficient.of(row),
        gates=tuple((row["gate"] or "").split()),
        reliability=finite(row["control_reliability"]),
        vanishes_at=finite(row["vanishes_at"]),
    )


def _why_none(row: Row, geometry: pl.DataFrame, accuracies: pl.DataFrame) -> NoCoefficient:
    if row["n"] < 4:
        return NoCoefficient("few")
    of_network = (pl.col("model") == row["model"]) & (pl.col("layer") == row["layer"])
    values = of_measure(of_classes(geometry).filter(of_network), row)["value"].drop_nulls()
    if values.n_unique() == 1:
        return NoCoefficient("constant", "measure", values[0])
    if few := nearly_constant(values):
        return NoCoefficient("nearly_constant", "measure", values.mode()[0], few)
    here = accuracies.filter(
        *(pl.col(name) == row[name] for name in ("model", "attack", "strength")),
        pl.col("robust_accuracy").is_not_null(),
    )
    if here["robust_accuracy"].n_unique() == 1:
        return NoCoefficient("constant", "accuracy", here["robust_accuracy"][0])
    return NoCoefficient("unknown")


def _reliability(row: Row, reliability: pl.DataFrame) -> Reliability | None:
    rows = reliability.filter(
        *(pl.col(name) == row[name] for name in ("model", "layer", "measure")),
        pl.col("parameters").fill_null("") == (row["parameters"] or ""),
    ).to_dicts()
    value = finite(rows[0]["reliability"]) if rows else None
    return None if value is None else Reliability(value, finite(rows[0]["low"]), finite(rows[0]["high"]))
