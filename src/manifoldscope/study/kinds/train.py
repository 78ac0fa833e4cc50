"""Train one network, and keep its weights."""

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
from manifoldscope.tables import INTEGER, REAL, TEXT, Schema, conform
from manifoldscope.training.fit import fit, state
from manifoldscope.training.objectives import OBJECTIVES
from manifoldscope.vision.memory import NOTHING

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
    },
    identity=("model", "epoch"),
    optional=True,
)


@kind("train", place=0)
@dataclass(frozen=True, kw_only=True)
class Train(Unit):
    """A checkpoint of one network.

    Attributes:
        network: which, before it is trained.
        training: objective and schedule; of an objective that trains nothing, its name alone.
        images: a digest of those it is trained on; None where it is not.
        initialisation, seed: of the first weights, and of all else.
        passes: gradient passes of each image in an epoch.
        n_images: how many images pass in all epochs.
    """

    version = 3
    files = ("checkpoint.safetensors",)
    tables = (TRAINING,)
    trains = True

    network: NetworkRef
    training: Mapping[str, Any]
    images: str | None
    initialisation: int
    seed: int
    passes: float = unkeyed()
    n_images: int = unkeyed()

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterator[Self]:
        training, seed = network.plan.training, planning.study.seed
        if training is None or network.seed is None:
            return
        objective = training.made()
        drawn = planning.draws["training"] if objective.trains else None
        schedule = training.model_dump(mode="json", exclude={"seeds"})
        version = OBJECTIVES[training.objective].version
        yield cls(
            network=network.ref,
            training={**(schedule if objective.trains else {"objective": training.objective})}
            | ({"version": version} if version != 1 else {}),
            images=None if drawn is None else drawn.digest,
            initialisation=derive(seed, "initialisation", network.seed),
            seed=derive(seed, "training", network.seed),
            passes=objective.passes,
            n_images=0 if drawn is None else len(drawn.images) * training.epochs,
        )

    def compute(self, context: Context, tick: Tick) -> Payload:
        training = context.networks[self.network.name].plan.training
        assert training is not None
        network = context.untrained(self.network.name, seed=self.initialisation)
        objective = training.made()
        if not objective.trains:
            return Payload(tensors=state(network), facts={"history": []})
        images = context.draws["training"].images
        history = fit(
            network,
            images,
            objective,
            epochs=training.epochs,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            seed=self.seed,
            on_progress=tick,
        )
        facts = {"n_classes": len(images.classes), "history": [asdict(epoch) for epoch in history]}
        return Payload(tensors=state(network), facts=facts)

    @property
    def gradients(self) -> Gradients:
        return "own" if self.passes else "none"

    def need(self, costs: Costs) -> Need:
        """The images, the gradients and both moments of the weights, and a batch, which cannot be made smaller."""
        network = costs.network
        if not self.n_images:
            return Need(network.weights, NOTHING, 1, "")
        n = len(costs.context.draws["training"].images)
        held = 2 * network.image * n + 4 * network.weights
        batch = network.own.memory.of(min(self.training["batch_size"], n))
        return Need(held + batch, NOTHING, 1, "data.training.images_per_class, or the batch_size of the training")

    def seconds(self, costs: Costs, at_once: int) -> float:
        if not self.n_images:
            return SECONDS_OF_A_UNIT
        return SECONDS_OF_A_UNIT + self.passes * costs.network.own.seconds.of(
            self.n_images, self.training["batch_size"]
        )

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> dict[str, pl.DataFrame]:
        facts = [(unit.network.name, store.facts(unit)) for unit in units]
        history = conform(
            TRAINING,
            [
                {"model": model, "n_classes": found.get("n_classes"), **epoch}
                for model, found in facts
                for epoch in found.get("history", [])
            ],
        )
        return {"training": history, "checks": conform("checks", _checks(history))}


def _checks(history: pl.DataFrame) -> list[Row]:
    """Rows for each network that was trained here: whether its loss fell, and for adversarial training its collapse."""
    rows = []
    for (model,), epochs in history.filter(pl.col("n_classes") > 1).group_by(["model"], maintain_order=True):
        rows.append({"model": model, **training_check(epochs["loss"].to_list(), int(epochs["n_classes"][0]))})
        evaluated = epochs.filter(pl.col("n_images") > 0)
        if len(evaluated):
            counts = evaluated.select("epoch", "n_images", fgsm="n_robust_fgsm", pgd="n_robust_pgd")
            rows.append({"model": model, **collapse_check([Evaluated(**row) for row in counts.iter_rows(named=True)])})
    return rows
