"""Attack the images of one class, or corrupt them, at one strength: an outcome per image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, cast

import polars as pl
import torch

from manifoldscope.attacks.checks import (
    Expected,
    Row,
    autoattack_check,
    failures_check,
    fast_path_check,
    feasibility,
    feasibility_check,
    outcome_checks,
)
from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.outcomes import OUTCOMES, ROBUSTNESS, Failures, FastPath, Outcomes, robustness_of
from manifoldscope.attacks.perturbation import Perturbation
from manifoldscope.attacks.saved import Form, gathered
from manifoldscope.pictures import Picture
from manifoldscope.seeds import derive
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import Costs, Need
from manifoldscope.study.expected import expected_of
from manifoldscope.study.measuring import named, shown
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import AttackRef, ClassRef, NetworkRef, unkeyed
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import conform
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network


@kind("attack", place=40)
@dataclass(frozen=True, kw_only=True)
class Attack(Unit):
    """One network, images of one class, one attack or corruption at one strength: classes are attacked together.

    Attributes:
        iterate: "both", or "any" alone.
        copy: whose gradients are taken (the study's `gradients`).
        save: whether the adversarial examples are saved, and as what.
        reuses: smaller strengths at which what was misclassified is not attacked again.
        weaker: the key of the unit at the next smaller strength, where it is reused.
        example: whether one attacked image is stored as a picture.
        n_together: how many images are attacked together at most, those of all classes.
        expected: the published accuracies of the network as the fields of `Expected`, where the study says any.
    """

    version = 7
    files = ("outcomes.parquet",)
    tables = (OUTCOMES, ROBUSTNESS)

    network: NetworkRef
    images: ClassRef
    attack: AttackRef
    iterate: str
    copy: str
    save: str
    reuses: tuple[float, ...]
    seed: int
    batch_size: int
    weaker: str | None = unkeyed(None)  # in the key as a need
    example: bool = unkeyed()
    n_together: int = unkeyed()
    expected: Mapping[str, Any] | None = unkeyed(None)

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        """A unit for each strength and chunk of images; where the sweep reuses outcomes, by strength."""
        study, expected = planning.study, expected_of(planning, network.plan)
        for plan in study.perturbations:
            attacks = plan.perturbations()
            reuse = plan.sweep == "reuse"
            if reuse:
                attacks.sort(key=lambda attack: attack.strength)
            weaker: dict[ClassRef, str] = {}  # the key of the unit of these images at the next smaller strength
            for place, attack in enumerate(attacks):
                for images in planning.chunks():
                    unit = cls(
                        network=network.ref,
                        images=images,
                        attack=AttackRef.of(attack, plan.name),
                        iterate=plan.iterate,
                        copy=study.gradients,
                        save=plan.save,
                        reuses=tuple(each.strength for each in attacks[:place]) if reuse else (),
                        seed=study.seed,
                        batch_size=study.batch_size,
                        weaker=weaker.get(images),
                        example=planning.is_example(images.index) and not images.first,
                        n_together=len(planning.draws["robustness"].images),
                        expected=expected,
                    )
                    yield unit
                    if reuse:
                        weaker[images] = unit.key

    @property
    def needs(self) -> tuple[str, ...]:
        return super().needs if self.weaker is None else (*super().needs, self.weaker)

    @property
    def parts(self) -> tuple[str, ...]:
        return (str(self.images), str(self.attack))

    @property
    def group(self) -> tuple[str, ...]:
        return (*super().group, self.attack.name, str(self.attack.strength))

    @property
    def together(self) -> tuple[Any, ...]:
        """Classes are attacked together, so that batches are full; no outcome depends on the others."""
        return (self.kind, self.network.name, self.attack.name, self.attack.strength)

    def compute(self, context: Context, tick: Tick) -> Payload:
        return self.compute_together([self], context, tick)[0]

    @classmethod
    def compute_together(cls, units: Sequence[Self], context: Context, tick: Tick) -> list[Payload]:
        first, drawn = units[0], context.shown(units[0].network.name, "robustness")
        plan, attack = context.study.attack(first.attack.name, first.attack.strength)
        network = context.network(first.network.name)
        images = shown(drawn, [unit.images for unit in units])
        weaker = [context.store.table(unit.weaker, "outcomes") for unit in units if unit.weaker is not None]
        misclassified = None
        if weaker:
            robust = dict(pl.concat(weaker).select("image", "robust_any").iter_rows())
            misclassified = torch.tensor([not robust.get(name, True) for name in images.names])
        kept = plan.save != "no" or (plan.iterate == "both" and any(unit.example for unit in units))
        outcomes = evaluate(
            network,
            images,
            attack,
            seed=derive(first.seed, "attack"),
            batch_size=first.batch_size,
            iterate=plan.iterate,
            keep_images=kept,
            fast=context.fast(network.name),
            misclassified=misclassified,
            clean_logits=context.logits(network.name, images),
            memory=context.memory,
        )
        payloads, begin = [], 0
        for unit in units:
            end = begin + unit.images.n_images
            where = slice(begin, end)
            payloads.append(unit._part(outcomes, images.subset(torch.arange(begin, end)), where, context, attack))
            begin = end
        if outcomes.fast is not None:  # of all together
            payloads[0].facts["fast"] = asdict(outcomes.fast)
        if outcomes.failures != Failures():
            payloads[0].facts["failures"] = asdict(outcomes.failures)
        return payloads

    def _part(
        self, outcomes: Outcomes, images: ImageSet, where: slice, context: Context, attack: Perturbation
    ) -> Payload:
        """What was found of the images of this unit, which are those of `where` among all."""
        network = context.network(self.network.name)
        mine = outcomes.table.filter(pl.col("image").is_in(list(images.names)))
        own = Outcomes(mine, tuple(found[where] for found in outcomes.adversarial))
        payload = Payload(tables={"outcomes": mine.drop("model", "attack")})
        if own.adversarial:
            payload.facts["feasibility"] = feasibility(network.pixels(images), own.adversarial[0], attack)
        if self.save != "no":
            payload.images = gathered(
                network, images, attack, own, as_=cast("Form", self.save), batch_size=context.at_once(network, images)
            )
            payload.facts["saved"] = {"as": self.save, "n_changed": payload.images.n_changed}
        if self.example and own.adversarial and self.iterate == "both":
            _keep_example(payload, network, images, own)
        return payload

    @property
    def gradients(self) -> Gradients:
        return "search" if self.attack.passes[1] else "none"

    def need(self, costs: Costs) -> Need:
        return costs.attacking(self.attack, self.n_together, kept=self.example or self.save != "no")

    def seconds(self, costs: Costs, at_once: int) -> float:
        return costs.attack_seconds(self.attack, self.images.n_images, self.n_together, at_once)

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, Any]:
        if not units:
            return {}
        whole = pl.concat(
            named(
                store.table(unit, "outcomes"),
                model=unit.network.name,
                attack=unit.attack.name,
                split=unit.images.split,
            )
            for unit in units
        )
        kinds = {unit.attack.name: unit.attack.attack for unit in units}
        reused = {unit.attack.name for unit in units if unit.weaker is not None}
        checks = [
            {"model": model, **row}
            for (model,), rows in whole.group_by(["model"], maintain_order=True)
            for row in outcome_checks(rows, kinds, reused)
        ]
        checks += [
            {"model": model, **autoattack_check(Expected(**expected), whole.filter(pl.col("model") == model), kinds)}
            for model, expected in {unit.network.name: unit.expected for unit in units}.items()
            if expected is not None and expected["autoattack"] is not None
        ]
        return {
            "robustness": robustness_of(whole, class_names(units)),
            "outcomes": whole.drop("split"),
            "checks": conform("checks", [*_noted(store, units), *checks]),
        }

    def pictures(self, store: Store) -> Iterator[Picture]:
        """One attacked image beside the clean one, where it was stored."""
        found = store.facts(self).get("example")
        if found is not None:
            names = {"model": self.network.name, "class_name": self.images.name}
            attack = {"attack": self.attack.name, "strength": self.attack.strength}
            yield Picture("example", {**names, **found, **attack}, store.arrays(self))


def class_names(units: Sequence[Any]) -> pl.DataFrame:
    """Index and name of every class of units of one class each."""
    names = {unit.images.index: unit.images.name for unit in units}
    return pl.DataFrame({"label": list(names), "class_name": list(names.values())})


def _noted(store: Store, units: Sequence[Attack]) -> list[Row]:
    """Rows for each network and attack, from what was noted class by class and strength by strength."""
    kept: dict[tuple[str, str], list[dict[str, Any]]] = {}
    fast: dict[tuple[str, str], list[FastPath]] = {}
    failures: dict[tuple[str, str], list[Failures]] = {}
    for unit in units:
        of, facts = (unit.network.name, unit.attack.name), store.facts(unit)
        if "feasibility" in facts:
            kept.setdefault(of, []).append(facts["feasibility"])
        if "fast" in facts:
            fast.setdefault(of, []).append(FastPath(**facts["fast"]))
        if "failures" in facts:
            failures.setdefault(of, []).append(Failures(**facts["failures"]))
    rows = [{"model": model, **feasibility_check(name, parts)} for (model, name), parts in kept.items()]
    rows += [{"model": model, **fast_path_check(name, parts)} for (model, name), parts in fast.items()]
    return rows + [{"model": model, **failures_check(name, parts)} for (model, name), parts in failures.items()]


def _keep_example(payload: Payload, network: Network, images: ImageSet, outcomes: Outcomes) -> None:
    """The first image that is misclassified at the last iterate, or else the first that was attacked."""
    rows = {row["image"]: row for row in outcomes.table.iter_rows(named=True)}
    attacked = [i for i, name in enumerate(images.names) if rows[name]["clean_prediction"] == int(images.labels[i])]
    if not attacked:
        return
    misclassified = [index for index in attacked if not rows[images.names[index]]["robust_last"]]
    chosen = (misclassified or attacked)[0]
    row = rows[images.names[chosen]]
    original = network.pixels(images, slice(chosen, chosen + 1))[0]
    payload.arrays = {
        "original": original.permute(1, 2, 0).numpy(),
        "adversarial": outcomes.adversarial[0][chosen].permute(1, 2, 0).numpy(),
    }
    names = network.class_names or [images.class_names.get(i, str(i)) for i in range(max(images.class_names) + 1)]
    payload.facts["example"] = {
        "image": images.names[chosen],
        "label": row["label"],
        "clean_prediction": row["clean_prediction"],
        "last_prediction": row["last_prediction"],
        "clean_name": names[row["clean_prediction"]] if row["clean_prediction"] < len(names) else "",
        "last_name": names[row["last_prediction"]] if 0 <= row["last_prediction"] < len(names) else "",
    }
