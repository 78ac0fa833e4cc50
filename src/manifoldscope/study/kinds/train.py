"""Train one network, and keep its weights; where that is asked for, also those after each of some epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import polars as pl

from manifoldscope.attacks.checks import Evaluated, Row, collapse_check, training_check
from manifoldscope.seeds import derive
from manifoldscope.study.context import Context, Tick
from manifoldscope.study.cost import SECONDS_OF_A_UNIT, Costs, Need
from manifoldscope.study.planning import PlannedNetwork, Planning
from manifoldscope.study.refs import NetworkRef, unkeyed
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Gradients, Payload, Unit, kind
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema, conform, parameters_text
from manifoldscope.training.fit import fit, state
from manifoldscope.training.objectives import OBJECTIVES
from manifoldscope.training.objectives.objective import TRAINING_PASS
from manifoldscope.training.recipe import recipe
from manifoldscope.training.saving import Saving, epoch_file, kept_epochs
from manifoldscope.vision.checkpoints import RECIPE
from manifoldscope.vision.memory import NOTHING
from manifoldscope.vision.network import Network

TRAINING = Schema(
    name="training",
    row="an epoch of a network's training, with robust images after it where attacks were run",
    columns={
        "model": TEXT,
        "epoch": INTEGER,
        "loss": REAL,
        "learning_rate": REAL,
        "n_classes": INTEGER,
        "epsilon": REAL,
        "n_images": INTEGER,
        "n_robust_fgsm": INTEGER,
        "n_robust_pgd": INTEGER,
        "gradient_participation_ratio": REAL,
    },
    identity=("model", "epoch"),
    optional=True,
)

COSTS = Schema(
    name="training_costs",
    row="a network that was trained here, with what that took (seconds differ from run to run)",
    columns={
        "model": TEXT,
        "objective": TEXT,
        "parameters": TEXT,
        "epochs": INTEGER,
        "n_parameters": INTEGER,
        "n_trained_images": INTEGER,
        "gradient_passes": REAL,
        "seconds": REAL,
        "device": TEXT,
    },
    identity=("model",),
    optional=True,
)


@kind("train", place=0)
@dataclass(frozen=True, kw_only=True)
class Train(Unit):
    """A checkpoint of one network.

    What a long training needs to go on is saved every half a minute; a training that was interrupted ends with the same
    weights as one that was not, on the same machine.

    Attributes:
        network: which, before it is trained.
        training: objective, its settings, and the schedule; of an objective that trains nothing, its name alone.
        images: a digest of those it is trained on; None where it is not.
        initialisation, seed: of the first weights, and of all else.
        passes: gradient passes of each image in an epoch, and `training_passes` how many of them in training mode.
        n_images: how many images pass in all epochs.
    """

    version = 4
    files = ("checkpoint.safetensors",)
    tables = (TRAINING, COSTS)
    trains = True

    network: NetworkRef
    training: Mapping[str, Any]
    images: str | None
    initialisation: int
    seed: int
    passes: float = unkeyed()
    training_passes: float = unkeyed(TRAINING_PASS)
    n_images: int = unkeyed()

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        training, seed = network.plan.training, planning.study.seed
        if training is None or network.seed is None:
            return
        objective = training.made()
        drawn = planning.draws["training"] if objective.trains else None
        told = training.model_dump(mode="json", exclude={"seeds", "n_classes"})  # the images and the network say these
        told["settings"] = {name: told.pop(name) for name in training.settings}
        version = OBJECTIVES[training.objective].version
        yield cls(
            network=network.ref,
            training={**(told if objective.trains else {"objective": training.objective})}
            | ({"version": version} if version != 1 else {}),
            images=None if drawn is None else drawn.digest,
            initialisation=derive(seed, "initialisation", network.seed),
            seed=derive(seed, "training", network.seed),
            passes=objective.passes,
            training_passes=objective.training_passes,
            n_images=0 if drawn is None else len(drawn.images) * training.epochs,
        )

    def compute(self, context: Context, tick: Tick) -> Payload:
        training = context.networks[self.network.name].plan.training
        assert training is not None
        network = context.untrained(self.network.name, seed=self.initialisation)
        objective = training.made()
        if not objective.trains:
            return Payload(tensors=state(network), metadata=self._metadata(context, network), facts={"history": []})
        images = context.shown(self.network.name, "training")
        saving = Saving(folder=context.store.unfinished(self), every=training.probe_every)
        history = fit(
            network,
            images,
            objective,
            epochs=training.epochs,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            optimiser=training.optimiser,
            weight_decay=training.weight_decay,
            augment=training.augment,
            seed=self.seed,
            saving=saving,
            on_progress=tick,
        )
        size = min(training.batch_size, len(images))
        return Payload(
            tensors=state(network),
            metadata=self._metadata(context, network),
            files={
                epoch_file(epoch): saving.folder / epoch_file(epoch)
                for epoch in kept_epochs(training.epochs, training.probe_every)
            },
            facts={
                "n_classes": len(images.classes),
                "history": [asdict(epoch) for epoch in history],
                "n_parameters": network.n_parameters,
                "n_trained_images": training.epochs * (len(images) // size) * size,
                "device": context.device.type,
            },
        )

    def _metadata(self, context: Context, network: Network) -> dict[str, str]:
        """What the file of weights says of itself."""
        images = None if self.images is None else context.shown(self.network.name, "training")
        training = {**self.training, "initialisation": self.initialisation, "seed": self.seed}
        told = recipe(network, source=self.network.identity, training=training, images=images, digest=self.images)
        return {RECIPE: told}

    @property
    def gradients(self) -> Gradients:
        return "own" if self.passes else "none"

    def need(self, costs: Costs) -> Need:
        """The images, weights with gradients and both moments, a batch, which cannot be smaller, and what is saved.

        A state holds the weights and both moments, and is twice in memory while it is read. Epochs that are kept lie in
        files, and take none.
        """
        network = costs.network
        if not self.n_images:
            return Need(network.weights, NOTHING, 1, "")
        n = len(costs.context.shown(self.network.name, "training"))
        held = 2 * network.image * n + (4 + 6) * network.weights
        shown = max(network.in_training, float(self.passes > self.training_passes))
        batch = shown * network.own.memory.of(min(self.training["batch_size"], n))
        return Need(held + batch, NOTHING, 1, "data.training.images_per_class, or the batch_size of the training")

    def seconds(self, costs: Costs, at_once: int) -> float:
        if not self.n_images:
            return SECONDS_OF_A_UNIT
        network = costs.network
        passes = self.passes - self.training_passes + network.in_training * self.training_passes
        return SECONDS_OF_A_UNIT + passes * network.own.seconds.of(self.n_images, self.training["batch_size"])

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, pl.DataFrame]:
        facts = [(unit, store.facts(unit)) for unit in units]
        history = conform(
            TRAINING,
            [
                {
                    "model": unit.network.name,
                    "n_classes": found.get("n_classes"),
                    **{name: value for name, value in epoch.items() if name != "seconds"},
                }
                for unit, found in facts
                for epoch in found.get("history", [])
            ],
        )
        return {
            "training": history,
            "training_costs": conform(COSTS, [unit._cost(found) for unit, found in facts if found.get("history")]),
            "checks": conform("checks", _checks(history)),
        }

    def _cost(self, facts: Mapping[str, Any]) -> Row:
        n_shown = int(facts["n_trained_images"])
        return {
            "model": self.network.name,
            "objective": self.training["objective"],
            "parameters": parameters_text(self.training["settings"]),
            "epochs": self.training["epochs"],
            "n_parameters": facts["n_parameters"],
            "n_trained_images": n_shown,
            "gradient_passes": self.passes * n_shown,
            "seconds": sum(epoch["seconds"] for epoch in facts["history"]),
            "device": facts["device"],
        }


def _checks(history: pl.DataFrame) -> list[Row]:
    """Rows for each network that was trained here: whether its loss fell, and for adversarial training its collapse."""
    rows = []
    for (model,), epochs in history.filter(pl.col("n_classes") > 1).group_by(["model"], maintain_order=True):
        rows.append({"model": model, **training_check(epochs["loss"].to_list(), int(epochs["n_classes"][0]))})
        evaluated = epochs.filter(pl.col("n_images") > 0)
        if len(evaluated):
            counts = evaluated.select(
                "epoch",
                "n_images",
                "gradient_participation_ratio",
                fgsm="n_robust_fgsm",
                pgd="n_robust_pgd",
            )
            rows.append({"model": model, **collapse_check([Evaluated(**row) for row in counts.iter_rows(named=True)])})
    return rows
