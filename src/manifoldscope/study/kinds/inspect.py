"""Look at one network before anything else is asked of it: accuracy on clean images, checks, and the gate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import polars as pl

from manifoldscope.attacks.checks import (
    Expected,
    chance,
    channel_order_checks,
    check,
    clean_check,
    network_checks,
    normalisation_checks,
)
from manifoldscope.attacks.checks.differences import DIRECTIONS, FEW, MANY
from manifoldscope.attacks.checks.independence import ALONE
from manifoldscope.attacks.checks.network import AT_BOUNDS
from manifoldscope.attacks.checks.normalisation import N_IMAGES, N_PASSES
from manifoldscope.errors import ModelError
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.expected import expected_of
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import NetworkRef, unkeyed
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema, conform, parameters_text
from manifoldscope.vision.depth import places
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.multiply_adds import multiply_adds
from manifoldscope.vision.network import Network, predicted

BETTER_OTHERWISE = ("usual normalisations", "label order")
"""The checks that say how a network at chance level would do better."""

MODELS = Schema(
    name="models",
    row="a network",
    columns={
        "model": TEXT,
        "source": TEXT,
        "n_parameters": INTEGER,
        "multiply_adds": INTEGER,
        "defence": TEXT,
        "defence_parameters": TEXT,
        "objective": TEXT,
        "dataset": TEXT,
        "n_classes": INTEGER,
        "n_trained_classes": INTEGER,
        "recipe": TEXT,
        "clean_accuracy": REAL,
        "provenance": TEXT,
    },
    identity=("model",),
)

LAYERS = Schema(
    name="layers",
    row="a layer that a network executes, in the order of execution, with the points that it gives",
    columns={
        "model": TEXT,
        "place": INTEGER,
        "depth": REAL,
        "layer": TEXT,
        "type": TEXT,
        "shape": TEXT,
        "n_features": INTEGER,
        "pool": TEXT,
        "left_out": TEXT,
    },
    identity=("model", "place"),
    optional=True,
)


@kind("inspect", place=10)
@dataclass(frozen=True, kw_only=True)
class Inspect(Unit):
    """One network on clean images; a loaded network at chance level stops here.

    Attributes:
        images: a digest of all images that are attacked, `n_images` of them.
        at_chance: what is done with loaded weights that classify no better than chance.
        trained_for: the objective that it is trained for here; None where it is loaded.
        replicate_of: the model of which it is one of several seeds; None where it is loaded.
        recipe: source and training, but for seed and number of classes; None where it is loaded.
        n_trained_classes: on how many classes it is trained here; None where it is not.
        expected: the published accuracies of the network as the fields of `Expected`, where the study says any.
        defence, defence_parameters: its defence and the settings of that; None where it has none.
    """

    version = 14
    files = ("models.parquet", "checks.parquet", "layers.parquet")
    tables = (MODELS, LAYERS)
    gates = True

    network: NetworkRef
    images: str
    batch_size: int
    trained_for: str | None
    at_chance: str
    replicate_of: str | None = unkeyed()
    recipe: str | None = unkeyed(None)
    n_trained_classes: int | None = unkeyed(None)
    expected: Mapping[str, Any] | None = unkeyed(None)
    defence: str | None = unkeyed(None)
    defence_parameters: str | None = unkeyed(None)
    n_images: int = unkeyed()

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        drawn, training, defence = planning.draws["robustness"], network.plan.training, network.plan.defence
        behind = "" if defence is None else f" {parameters_text({'defence': defence.name, **defence.settings})}"
        yield cls(
            network=network.ref,
            images=drawn.digest,
            batch_size=planning.study.batch_size,
            trained_for=None if training is None else training.objective,
            at_chance=network.plan.at_chance,
            replicate_of=None if network.seed is None else network.plan.name,
            recipe=None if training is None else f"{network.plan.source} {training.recipe}{behind}",
            n_trained_classes=len(drawn.images.classes) if training is not None and training.made().trains else None,
            defence=None if defence is None else defence.name,
            defence_parameters=None if defence is None else parameters_text(defence.settings),
            expected=expected_of(planning, network.plan),
            n_images=len(drawn.images),
        )

    def compute(self, context: Context, tick: Tick) -> Payload:
        """Clean accuracy and the checks that need no attack.

        Raises:
            ModelError: loaded weights classify no better than chance: something is wrong with how they are used.
        """
        name = self.network.name
        planned, network = context.networks[name], context.network(name)
        images = context.shown(name, "robustness")
        at_once = context.at_once(network, images)
        outputs = context.logits(name, images)
        n_classes = outputs.shape[1]
        if int(images.labels.max()) >= n_classes:
            raise ModelError(
                f"{name} has {n_classes} outputs, but the dataset has a class {int(images.labels.max())}; "
                "the network and the dataset do not fit"
            )
        checks = network_checks(network, images, batch_size=context.study.batch_size, memory=context.memory)
        if not self._normalisation_is_known(context, network):
            checks += normalisation_checks(network, images, batch_size=at_once)
        n_correct = int((predicted(outputs) == images.labels).sum())
        training = planned.plan.training
        learned = training is not None and training.made().trains
        n_trained = len(context.shown(name, "training").classes) if learned else n_classes
        outcome = chance(n_correct, len(images), n_trained)
        if outcome.at_chance and planned.checkpoint is None and self.at_chance == "refuse":
            better = [row for row in checks if row["check"] in BETTER_OTHERWISE and row["passed"] is False]
            found = "".join(f"{row['note'][:1].upper()}{row['note'][1:]}. " for row in better)
            raise ModelError(
                f"{name} is near chance: {outcome.text}. {found}Look at the order of the labels, the preprocessing "
                "(mean, std, crop) and whether these weights belong to this network; nothing else was computed for it. "
                "To measure it all the same, give its table at_chance = 'measure'"
            )
        if training is None:
            checks += channel_order_checks(network, images, batch_size=at_once)
        if training is None or learned:
            share = n_correct / len(images)
            checks.append(check("above chance", not outcome.near, share, outcome.expected, outcome.text))
        model = {
            "source": planned.plan.source,
            "n_parameters": network.n_parameters,
            "multiply_adds": multiply_adds(network, network.pixels(images, slice(0, 1))),
            "dataset": images.source,
            "n_classes": n_classes,
            "clean_accuracy": n_correct / len(images),
            "provenance": json.dumps(self._provenance(context, network), sort_keys=True),
        }
        return Payload(
            tables={
                "models": pl.DataFrame([model]),
                "checks": conform("checks", checks).drop("model"),
                "layers": _layers(network, images),
            },
        )

    def _provenance(self, context: Context, network: Network) -> dict[str, Any]:
        """Where a network is from: its source and weights, or how it was trained."""
        planned = context.networks[self.network.name]
        training = planned.plan.training
        if training is None:
            return dict(network.provenance)
        return {
            "source": planned.plan.source,
            "training": training.model_dump(mode="json", exclude={"seeds"}),
            "seed": planned.seed,
            "checkpoint": planned.checkpoint,
        }

    def _normalisation_is_known(self, context: Context, network: Network) -> bool:
        """Whether mean and std are those of the training here, of the file of weights, or of the weights' source."""
        plan = context.networks[self.network.name].plan
        if plan.training is not None:
            return True
        if any(plan.settings.get(what) is not None for what in ("mean", "std")):
            return False
        in_file = "normalisation" in network.provenance
        return in_file or not ("weights_sha256" in network.provenance or plan.source.startswith("python:"))

    @property
    def gradients(self) -> Gradients:
        return "own"

    def need(self, costs: Costs) -> Need:
        return costs.passing(self.n_images, gradient=costs.network.own.memory, n_attacked=self.n_images)

    def seconds(self, costs: Costs, at_once: int) -> float:
        n_checked = min(self.n_images, self.batch_size)
        passes = costs.forward_seconds(self.n_images, at_once)  # accuracy
        passes += 5 * costs.forward_seconds(n_checked, at_once) + costs.forward_seconds(ALONE, 1)
        if self.trained_for is None:
            n_shown = N_PASSES + 2  # normalisations, and the two orders of channels
            passes += n_shown * costs.forward_seconds(min(self.n_images, N_IMAGES), at_once)
        passes += 8 * DIRECTIONS * costs.forward_seconds(FEW, at_once) + 2 * costs.forward_seconds(MANY, at_once)
        gradient = costs.gradient_seconds(n_checked, at_once) + 3 * costs.gradient_seconds(AT_BOUNDS, at_once)
        gradient += costs.gradient_seconds(FEW, at_once) + costs.gradient_seconds(MANY, at_once)
        return SECONDS_OF_A_UNIT + passes + gradient + costs.network.loading

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, list[pl.DataFrame]]:
        return {
            "models": [unit._model(store.table(unit, "models")) for unit in units],
            "checks": [unit._checks(store) for unit in units],
            "layers": [store.table(unit, "layers").with_columns(model=pl.lit(unit.network.name)) for unit in units],
        }

    def _checks(self, store: Store) -> pl.DataFrame:
        """The checks of a network, and whether its clean accuracy is the published one."""
        found = store.table(self, "checks").with_columns(model=pl.lit(self.network.name))
        if self.expected is None or self.expected["clean"] is None:
            return found
        n_correct = round(self.n_images * float(store.table(self, "models")["clean_accuracy"][0]))
        row = {"model": self.network.name, **clean_check(Expected(**self.expected), n_correct, self.n_images)}
        return pl.concat([conform("checks", found), conform("checks", [row])])

    def _model(self, table: pl.DataFrame) -> pl.DataFrame:
        """The row of a network; its provenance says of which network it is a retraining, under today's names."""
        known = json.loads(table["provenance"][0])
        if self.replicate_of is not None:
            known["replicate_of"] = self.replicate_of
        return table.with_columns(
            model=pl.lit(self.network.name),
            n_trained_classes=pl.lit(self.n_trained_classes, dtype=pl.Int64),
            recipe=pl.lit(self.recipe, dtype=pl.String),
            objective=pl.lit(self.trained_for, dtype=pl.String),
            defence=pl.lit(self.defence, dtype=pl.String),
            defence_parameters=pl.lit(self.defence_parameters, dtype=pl.String),
            provenance=pl.lit(json.dumps(known, sort_keys=True)),
        )


def _layers(network: Network, images: ImageSet) -> pl.DataFrame:
    """Every layer that is executed: its place, and its depth from 0, the first to finish, to 1, the last."""
    found = places(network, network.pixels(images, slice(0, 2)))
    rows = [
        {
            "place": at,
            "depth": at / max(1, len(found) - 1),
            "layer": place.name,
            "type": place.type,
            "shape": " x ".join(map(str, place.shape)),
            "n_features": place.n_features,
            "pool": place.pool,
            "left_out": place.left_out,
        }
        for at, place in enumerate(found)
    ]
    return conform("layers", rows).drop("model")
