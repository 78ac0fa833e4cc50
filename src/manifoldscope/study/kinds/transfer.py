"""Evaluate the adversarial examples of one network on every other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import polars as pl

from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.transfer import TRANSFER, counts, evaluated_on
from manifoldscope.seeds import derive
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import Costs, Need
from manifoldscope.study.measuring import named
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import Planning
from manifoldscope.study.refs import AttackRef, ClassRef, NetworkRef
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind


@kind("transfer", place=60)
@dataclass(frozen=True, kw_only=True)
class Transfer(Unit):
    """One network, one attack at one strength: its adversarial examples, evaluated on every network.

    Attributes:
        network: the source model.
        targets: the target models.
        copy: whose gradients are taken (the study's `gradients`).
    """

    version = 5
    files = ("transfer.parquet",)
    tables = (TRANSFER,)

    network: NetworkRef
    targets: tuple[NetworkRef, ...]
    images: tuple[ClassRef, ...]
    attack: AttackRef
    copy: str
    seed: int
    batch_size: int

    @classmethod
    def fits(cls, study: Study) -> None:
        n_classes = {plan.training and plan.training.n_classes for plan in study.models}
        if len(n_classes) > 1 and any(plan.transfer for plan in study.perturbations):
            raise ValueError(
                "transfer asks every network about the images of every other, but these networks are trained on "
                "different numbers of classes (n_classes); give transfer = false, or one number of classes"
            )

    @classmethod
    def of_study(cls, planning: Planning) -> Iterator[Self]:
        study = planning.study
        networks = tuple(network.ref for network in planning.networks.values())
        for plan in study.perturbations:
            for attack in plan.perturbations() if plan.transfer else ():
                for source in networks:
                    yield cls(
                        network=source,
                        targets=networks,
                        images=planning.classes("robustness"),
                        attack=AttackRef.of(attack, plan.name),
                        copy=study.gradients,
                        seed=study.seed,
                        batch_size=study.batch_size,
                    )

    @property
    def networks(self) -> tuple[NetworkRef, ...]:
        return (self.network, *self.targets)

    @property
    def parts(self) -> tuple[str, ...]:
        return (str(self.attack),)

    @property
    def group(self) -> tuple[str, ...]:
        return (*super().group, self.attack.name, str(self.attack.strength))

    def compute(self, context: Context, tick: Tick) -> Payload:
        """The images that the attack units of one network make, evaluated on every network.

        Raises:
            AttackError: two networks bring the images to other pixels.
        """
        _, attack = context.study.attack(self.attack.name, self.attack.strength)
        images = context.shown(self.network.name, "robustness")
        source = context.network(self.network.name)
        attacked = evaluate(
            source,
            images,
            attack,
            seed=derive(self.seed, "attack"),
            batch_size=self.batch_size,
            keep_images=True,
            fast=context.fast(source.name),
            memory=context.memory,
        ).adversarial[0]
        own = evaluated_on(source, source, images, attacked, batch_size=context.at_once(source, images))
        rows = []
        for place, ref in enumerate(self.targets):
            target = context.network(ref.name)
            said = evaluated_on(target, source, images, attacked, batch_size=context.at_once(target, images))
            rows.append({"place": place, **counts(own, said)})
        return Payload(tables={"transfer": pl.DataFrame(rows)})

    @property
    def gradients(self) -> Gradients:
        return "search" if self.attack.passes[1] else "none"

    @property
    def _n_images(self) -> int:
        return sum(each.n_images for each in self.images)

    def need(self, costs: Costs) -> Need:
        target = costs.network.weights
        return costs.attacking(self.attack, self._n_images, kept=True, fixed=target)

    def seconds(self, costs: Costs, at_once: int) -> float:
        evaluating = 2 * (len(self.targets) + 1)
        return costs.attack_seconds(self.attack, self._n_images, self._n_images, at_once, more=evaluating)

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        return {"transfer": [unit._rows(store.table(unit, "transfer")) for unit in units]}

    def _rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """Rows of several networks, under today's names: a unit knows them by their place in its list."""
        targets = {place: ref.name for place, ref in enumerate(self.targets)}
        return named(
            table.with_columns(target_model=pl.col("place").replace_strict(targets, return_dtype=pl.String)).drop(
                "place"
            ),
            source_model=self.network.name,
            attack=self.attack.name,
            parameters=self.attack.parameters,
            strength=self.attack.strength,
        )
