"""Measure and attack a network as it was after one epoch of its training, so that one can watch manifolds form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import polars as pl

from manifoldscope.attacks.evaluation import evaluate
from manifoldscope.attacks.pgd import PGD
from manifoldscope.errors import ModelError
from manifoldscope.geometry import ClassManifold, Cloud
from manifoldscope.recordings.rows import Row, class_rows, joint_rows
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import POINTS, SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.measuring import by_scaling, frame, measures_of, of_layer, of_places, points_of
from manifoldscope.study.measuring_cost import class_seconds, is_joint, joint_seconds
from manifoldscope.study.plan import Study, TrainingPlan
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import AttackRef, ClassRef, NetworkRef, unkeyed
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema
from manifoldscope.training.saving import epoch_file, kept_epochs
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.memory import NOTHING
from manifoldscope.vision.network import Network, logits, predicted
from manifoldscope.vision.weights import fit as fit_weights

PROBES = Schema(
    name="training_probes",
    row="a measure of one class manifold (class_index -1: of a whole layer) after an epoch of training",
    columns={
        "model": TEXT,
        "epoch": INTEGER,
        "layer": TEXT,
        "class_index": INTEGER,
        "class_name": TEXT,
        "measure": TEXT,
        "parameters": TEXT,
        "value": REAL,
        "n_points": INTEGER,
        "n_features": INTEGER,
        "ceiling": REAL,
        "describes_sample": BOOLEAN,
        "split": TEXT,
        "note": TEXT,
    },
    identity=("model", "layer", "measure", "parameters", "class_index", "epoch"),
    optional=True,
)

ACCURACY = Schema(
    name="training_accuracy",
    row="a class after an epoch of training, with how many of its images are classified correctly, clean and attacked",
    columns={
        "model": TEXT,
        "epoch": INTEGER,
        "class_index": INTEGER,
        "class_name": TEXT,
        "n_images": INTEGER,
        "n_clean_correct": INTEGER,
        "n_robust": INTEGER,
        "attack": TEXT,
        "parameters": TEXT,
        "epsilon": REAL,
        "split": TEXT,
    },
    identity=("model", "class_index", "epoch"),
    optional=True,
)

STEPS = 10
"""Of the PGD by which a network is attacked on its way."""


@kind("training_probe", place=35)
@dataclass(frozen=True, kw_only=True)
class TrainingProbe(Unit):
    """One network after one epoch of its training: measures of its classes in every layer, and its accuracy.

    Values have no standard errors; those of the trained network are in the tables of the whole study.

    Attributes:
        epoch: after which; 0: before the first.
        classes: with the images that geometry is measured on.
        images: a digest of those that are attacked, `n_images` of them.
        measures: of one class and joint ones, with their settings and versions.
        attack: None where none is known: then the network is asked about clean images alone.
    """

    version = 1
    files = ("training_probes.parquet", "training_accuracy.parquet")
    tables = (PROBES, ACCURACY)

    network: NetworkRef
    epoch: int
    classes: tuple[ClassRef, ...]
    images: str
    layers: tuple[str, ...]
    measures: tuple[Mapping[str, Any], ...]
    attack: AttackRef | None
    seed: int
    batch_size: int
    n_images: int = unkeyed()

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        study, training, drawn = planning.study, network.plan.training, planning.draws["robustness"]
        if training is None or not training.made().trains:
            return
        attack = attack_of(study, training)
        for epoch in kept_epochs(training.epochs, training.probe_every):
            yield cls(
                network=network.ref,
                epoch=epoch,
                classes=planning.classes("geometry"),
                images=drawn.digest,
                layers=planning.layers(network),
                measures=(*measures_of(study, joint=False), *measures_of(study, joint=True)),
                attack=None if attack is None else AttackRef.of(attack, attack.kind),
                seed=study.seed,
                batch_size=study.batch_size,
                n_images=len(drawn.images),
            )

    @property
    def parts(self) -> tuple[str, ...]:
        return (f"epoch {self.epoch}",)

    def compute(self, context: Context, tick: Tick) -> Payload:
        """The measures of the study, without halves or nulls, and which images are robust at any iterate."""
        name = self.network.name
        network = self._network(context)
        manifolds = points_of(context, network, context.shown(name, "geometry"), self.layers) if self.measures else []
        rows: list[Row] = []
        for place, layer in enumerate(self.layers):
            tick(0.5 * place / len(self.layers))
            rows += self._measured(context.study, [each for each in manifolds if each.layer == layer])
        tick(0.5)
        accuracy = list(self._accuracy(context, network, context.shown(name, "robustness")))
        return Payload(
            tables={
                "training_probes": frame([{"epoch": self.epoch, **row} for row in rows], "training_probes", "place"),
                "training_accuracy": frame(accuracy, "training_accuracy", "place"),
            }
        )

    def _network(self, context: Context) -> Network:
        """The network with the weights of its epoch."""
        name, checkpoint = self.network.name, self.network.checkpoint
        assert checkpoint is not None
        network = context.untrained(name)
        path, digest = context.store.checkpoint(checkpoint, epoch_file(self.epoch))
        if fit_weights(network.module, path, f"the weights of {name} after epoch {self.epoch}").digest != digest:
            raise ModelError(f"{path} has changed since it was written; run the study again")
        return network

    def _measured(self, study: Study, manifolds: Sequence[ClassManifold]) -> Iterator[Row]:
        """The measures of one layer; of joint ones those of classes and of the whole."""
        for scaling, wanted in by_scaling(study.measures, joint=False).items():
            for place, manifold in enumerate(manifolds):
                found = class_rows(
                    Cloud(manifold, scaling=scaling), wanted, label=manifold.label, split_halves=0, seed=self.seed
                )
                yield from of_layer(manifold, [{"place": place, **row} for row in found])
        for scaling, wanted in by_scaling(study.measures, joint=True).items():
            joint = joint_rows(manifolds, wanted, scaling=scaling, split_halves=0, seed=self.seed)
            yield from of_layer(manifolds[0], [row for row in joint if row["other_place"] is None])

    def _accuracy(self, context: Context, network: Network, images: ImageSet) -> Iterator[Row]:
        """How many images of each class are classified correctly, when clean and at every iterate."""
        training = context.networks[self.network.name].plan.training
        attack = None if training is None else attack_of(context.study, training)
        if attack is None:
            correct = predicted(logits(network, images, batch_size=context.at_once(network, images))) == images.labels
            outcomes = pl.DataFrame({"label": images.labels.numpy(), "clean": correct.numpy()})
        else:
            outcomes = evaluate(
                network,
                images,
                attack,
                seed=self.seed,
                batch_size=self.batch_size,
                iterate="any",
                fast=False,
                memory=context.memory,
            ).table.select("label", clean=pl.col("clean_prediction") == pl.col("label"), robust="robust_any")
        for place, label in enumerate(images.classes):
            mine = outcomes.filter(label=label)
            yield {
                "place": place,
                "epoch": self.epoch,
                "n_images": mine.height,
                "n_clean_correct": int(mine["clean"].sum()),
                "n_robust": None if attack is None else int(mine["robust"].sum()),
            }

    @property
    def gradients(self) -> Gradients:
        return "none" if self.attack is None else "own"

    @property
    def measured_layers(self) -> tuple[str, ...]:
        return self.layers if self.measures else ()

    @property
    def _n_measured(self) -> int:
        return sum(each.n_images for each in self.classes)

    def need(self, costs: Costs) -> Need:
        """As for all layers of the trained network, which may be in memory beside the one that is probed."""
        widths = costs.widths(self.measured_layers)
        points = costs.measuring(self._n_measured, widths, may_lie_in_file=True) if widths else 0.0
        return costs.passing(
            max(self._n_measured, self.n_images),
            gradient=NOTHING if self.attack is None else costs.network.own.memory,
            n_attacked=0 if self.attack is None else self.n_images,
            fixed=points + costs.network.weights,
            widths=widths,
            reduce=POINTS,
        )

    def seconds(self, costs: Costs, at_once: int) -> float:
        seconds = SECONDS_OF_A_UNIT + costs.network.loading + costs.forward_seconds(self.n_images, at_once)
        if self.attack is not None:
            seconds += self.attack.passes[1] * costs.gradient_seconds(self.n_images, at_once)
        if not self.measures:
            return seconds
        widths = costs.widths(self.measured_layers)
        seconds += costs.forward_seconds(self._n_measured, at_once)
        n_classes = len(self.classes)
        n_points = self._n_measured // n_classes
        single = [measure for measure in self.measures if not is_joint(measure)]
        joint = [measure for measure in self.measures if is_joint(measure)]
        seconds += n_classes * class_seconds(single, {}, n_points, widths)
        return seconds + joint_seconds(joint, {}, n_points, n_classes, widths)

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        return {
            table: [of_places(store.table(unit, table), unit.classes, **unit._names(table)) for unit in units]
            for table in ("training_probes", "training_accuracy")
        }

    def _names(self, table: str) -> dict[str, object]:
        names: dict[str, object] = {"model": self.network.name, "split": self.classes[0].split}
        if table == "training_accuracy" and self.attack is not None:
            attack = self.attack
            names |= {"attack": attack.attack, "parameters": attack.parameters, "epsilon": attack.strength}
        return names


def attack_of(study: Study, training: TrainingPlan) -> PGD | None:
    """PGD of ten steps, in the ball of the training; where it has none, in the largest of the study's first attack."""
    radius = training.made().radius
    if radius:
        return PGD(epsilon=radius, steps=STEPS)
    for plan in study.attacks:
        found = [attack for attack in plan.perturbations() if attack.norm is not None and attack.asks_gradients]
        if found:
            largest = max(found, key=lambda attack: attack.strength)
            return PGD(epsilon=largest.strength, norm="l2" if largest.norm == "l2" else "linf", steps=STEPS)
    return None
