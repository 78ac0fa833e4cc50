"""What each kind of unit does. A function takes the unit and the bench, and returns what it found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import polars as pl
import torch

from manifoldscope.errors import DataError, ModelError
from manifoldscope.robustness.checks import chance, check, feasibility, network_checks
from manifoldscope.robustness.evaluation import evaluate
from manifoldscope.robustness.foreign import accuracy_by_class, detection
from manifoldscope.robustness.kept import gathered
from manifoldscope.robustness.selftest import attack_checks
from manifoldscope.robustness.smallest import smallest_perturbation
from manifoldscope.robustness.threat import Threat
from manifoldscope.robustness.transfer import counts, judged
from manifoldscope.robustness.verdicts import Failures, Verdicts
from manifoldscope.seeds import derive
from manifoldscope.study.bench import Bench, Tick
from manifoldscope.study.challenges import ThreatPlan
from manifoldscope.study.measuring import displacement, geometry, layer
from manifoldscope.study.unit import Payload, Unit
from manifoldscope.study.units import PlannedNetwork
from manifoldscope.training.fit import fit, state
from manifoldscope.vision.activations import n_features
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, logits, predicted


def train(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """Train a network and keep its weights."""
    name = unit.names["model"]
    training = bench.networks[name].plan.training
    assert training is not None
    network = bench.untrained(name, seed=unit.inputs["initialisation"])
    history = []
    facts: dict[str, Any] = {}
    objective = training.made()
    if objective.passes:
        facts["n_classes"] = len(bench.draws["training"].images.classes)
        history = fit(
            network,
            bench.draws["training"].images,
            objective,
            epochs=training.epochs,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            seed=unit.inputs["seed"],
            on_progress=tick,
        )
    return Payload(tensors=state(network), facts={**facts, "history": [asdict(epoch) for epoch in history]})


def inspect(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """Clean accuracy and the checks that need no attack; a loaded network near chance stops here.

    Raises:
        ModelError: loaded weights classify no better than chance: something is wrong with how they are used.
    """
    name = unit.names["model"]
    planned, network = bench.networks[name], bench.network(name)
    images = bench.draws["robustness"].images
    outputs = logits(network, images, batch_size=bench.at_once(network, images))
    n_classes = outputs.shape[1]
    if int(images.labels.max()) >= n_classes:
        raise ModelError(
            f"{name} has {n_classes} outputs, but the dataset has a class {int(images.labels.max())}; "
            "the network and the dataset do not fit"
        )
    checks = network_checks(network, images, batch_size=bench.study.batch_size, memory=bench.memory)
    n_correct = int((predicted(outputs) == images.labels).sum())
    training = planned.plan.training
    learned = training is not None and training.made().passes > 0
    n_known = len(bench.draws["training"].images.classes) if learned else n_classes
    verdict = chance(n_correct, len(images), n_known)
    if verdict.guesses and planned.checkpoint is None:
        raise ModelError(
            f"{name} is near chance: {verdict.text}. Look at the order of the labels, the preprocessing (mean, std, "
            "crop) and whether these weights belong to this network; nothing else was computed for it"
        )
    if unit.inputs["trained_for"] != "random":
        checks.append(check("above chance", not verdict.near, n_correct / len(images), verdict.expected, verdict.text))
    model = {
        "source": planned.plan.source,
        "n_parameters": network.n_parameters,
        "dataset": images.source,
        "n_classes": n_classes,
        "clean_accuracy": n_correct / len(images),
        "provenance": json.dumps(_provenance(planned, network), sort_keys=True),
    }
    return Payload(
        tables={
            "models": pl.DataFrame([model]),
            "checks": _rows(checks),
        },
        facts={"bfloat16": bench.fast(name).proposer is not None} if bench.study.gradients == "auto" else {},
    )


def _rows(checks: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        checks,
        schema={
            "check": pl.String,
            "passed": pl.Boolean,
            "value": pl.Float64,
            "expected": pl.String,
            "note": pl.String,
        },
    )


def _provenance(planned: PlannedNetwork, network: Network) -> dict[str, Any]:
    """Where a network is from: its source and weights, or how it was trained."""
    training = planned.plan.training
    if training is None:
        return dict(network.provenance)
    return {
        "source": planned.plan.source,
        "training": training.model_dump(mode="json", exclude={"seeds"}),
        "seed": planned.seed,
        "checkpoint": planned.checkpoint,
    }


def check_attack(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """What stronger attacks find on a sample of the images, as checks of the study's own."""
    threat = bench.study.checked_threat
    assert threat is not None
    found = attack_checks(
        bench.network(unit.names["model"]),
        bench.draws["robustness"].images,
        threat,
        seed=derive(bench.study.seed, "check"),
        n_images=unit.inputs["n_images"],
        batch_size=bench.study.batch_size,
        memory=bench.memory,
    )
    return Payload(
        tables={"checks": _rows(found.rows)}, facts={"convergence": [asdict(curve) for curve in found.curves]}
    )


def attack(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """Verdicts on the images of one class under one threat at one strength.

    The attacked images stand beside them where they are kept, and for some classes an example.
    """
    label = unit.names["class_index"]
    plan, threat = _threat(unit, bench)
    images = bench.images("robustness", label)
    network = bench.network(unit.names["model"])
    example = bool(unit.names["example"]) and plan.iterate == "both"
    fallen = None
    if "reuses" in unit.inputs:  # the last unit that it needs judged the same images at the next smaller strength
        before = bench.store.verdicts(unit.needs[-1])
        survived = dict(before.select("image", "survived_any").iter_rows())
        fallen = torch.tensor([not survived[name] for name in images.names])
    verdicts = evaluate(
        network,
        images,
        threat,
        seed=derive(bench.study.seed, "attack", label),
        batch_size=bench.study.batch_size,
        iterate=plan.iterate,
        keep_images=example or plan.keep != "no",
        fast=bench.fast(network.name),
        fallen=fallen,
        memory=bench.memory,
    )
    payload = Payload(tables={"verdicts": verdicts.table.drop("model", "threat")})
    if verdicts.fast is not None:
        payload.facts["fast"] = asdict(verdicts.fast)
    if verdicts.failures != Failures():
        payload.facts["failures"] = asdict(verdicts.failures)
    if verdicts.adversarial:
        payload.facts["feasibility"] = feasibility(network.pixels(images), verdicts.adversarial[0], threat)
    if plan.keep != "no":
        payload.images = gathered(
            network, images, threat, verdicts, as_=plan.keep, batch_size=bench.at_once(network, images)
        )
        payload.facts["kept"] = {"as": plan.keep, "n_changed": payload.images.n_changed}
    if example:
        _keep_example(payload, network, images, verdicts)
    return payload


def smallest(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """The smallest perturbation found for each image of one class."""
    label = unit.names["class_index"]
    plan = next(plan for plan in bench.study.smallest if plan.name == unit.names["threat"])
    found = smallest_perturbation(
        bench.network(unit.names["model"]),
        bench.images("robustness", label),
        **asdict(plan.search()),
        seed=derive(bench.study.seed, "smallest", label),
        batch_size=bench.study.batch_size,
        memory=bench.memory,
    )
    return Payload(tables={"smallest": found.drop("model", "threat")})


def transfer(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """The images that the attack units of one network make, judged by every network.

    Raises:
        ThreatError: two networks bring the images to other pixels.
    """
    _, threat = _threat(unit, bench)
    batch_size = bench.study.batch_size
    drawn = bench.draws["robustness"].images
    images = drawn.subset(drawn.labels.argsort(stable=True))  # class by class, as they are attacked
    maker = bench.network(unit.names["model"])
    attacked = torch.cat(
        [
            evaluate(
                maker,
                bench.images("robustness", label),
                threat,
                seed=derive(bench.study.seed, "attack", label),
                batch_size=batch_size,
                keep_images=True,
                fast=bench.fast(maker.name),
                memory=bench.memory,
            ).adversarial[0]
            for label in drawn.classes
        ]
    )
    own = judged(maker, maker, images, attacked, batch_size=bench.at_once(maker, images))
    rows = []
    for place, name in enumerate(unit.names["judges"]):
        judge = bench.network(name)
        said = judged(judge, maker, images, attacked, batch_size=bench.at_once(judge, images))
        rows.append({"place": place, **counts(own, said)})
    return Payload(tables={"transfer": pl.DataFrame(rows)})


def shifted(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """Accuracy class by class on another dataset of the same classes, beside that on the images of the study.

    Raises:
        DataError: the images reach the network in another shape.
    """
    network = bench.network(unit.names["model"])
    known, other = bench.draws["robustness"].images, bench.foreign[unit.names["dataset"]].images
    _refuse_other_shapes(network, known, other)
    batch_size = bench.at_once(network, known if len(known) > len(other) else other)
    clean = accuracy_by_class(network, known, batch_size=batch_size)
    tick(len(known) / (len(known) + len(other)))
    found = accuracy_by_class(network, other, batch_size=batch_size).join(
        clean.select("class_index", n_clean="n_images", n_clean_correct="n_correct", clean_accuracy="accuracy"),
        on="class_index",
        how="left",
    )
    places = {label: place for place, (label, _) in enumerate(unit.names["classes"])}
    return Payload(
        tables={
            "shifted": found.with_columns(
                place=pl.col("class_index").replace_strict(places, return_dtype=pl.Int64)
            ).drop("class_index", "class_name")
        }
    )


def detect(unit: Unit, bench: Bench, tick: Tick) -> Payload:
    """How well scores tell the images of a foreign dataset from known ones; those of geometry say where classes lie.

    Raises:
        DataError: the images reach the network in another shape.
    """
    network = bench.network(unit.names["model"])
    known, other = bench.draws["robustness"].images, bench.foreign[unit.names["dataset"]].images
    _refuse_other_shapes(network, known, other)
    layer, measured = unit.inputs["layer"], bench.draws["geometry"].images
    widths = n_features(network, [layer], network.pixels(known, slice(0, 1)))
    batch_size = bench.at_once(network, max(measured, known, other, key=len), widths=list(widths.values()))
    found = detection(network, measured, known, other, layer, batch_size=batch_size)
    return Payload(tables={"detection": found})


def _refuse_other_shapes(network: Network, known: ImageSet, other: ImageSet) -> None:
    """Images of another size would be told apart by it, and a network made for one size may not take another."""
    shapes = [tuple(network.pixels(images, slice(0, 1)).shape[2:]) for images in (known, other)]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"images of {other.source} reach {network.name} with {shapes[1][0]} x {shapes[1][1]} pixels, those of the "
            f"study with {shapes[0][0]} x {shapes[0][1]}; bring both to one size, as with crop = {min(shapes[0])} in "
            "its table of [[models]]"
        )


def _threat(unit: Unit, bench: Bench) -> tuple[ThreatPlan, Threat]:
    """The threat of a unit, as the study plans it and at the unit's strength."""
    plan = next(plan for plan in bench.study.threats if plan.name == unit.names["threat"])
    return plan, next(threat for threat in plan.threats() if threat.strength == unit.inputs["strength"])


def _keep_example(payload: Payload, network: Network, images: ImageSet, verdicts: Verdicts) -> None:
    """The first image that fell at the last iterate, or else the first that was attacked, for the report."""
    rows = {row["image"]: row for row in verdicts.table.iter_rows(named=True)}
    attacked = [i for i, name in enumerate(images.names) if rows[name]["clean_prediction"] == int(images.labels[i])]
    if not attacked:
        return
    fell = [index for index in attacked if not rows[images.names[index]]["survived_last"]]
    chosen = (fell or attacked)[0]
    row = rows[images.names[chosen]]
    original = network.pixels(images, slice(chosen, chosen + 1))[0]
    payload.arrays = {
        "original": original.permute(1, 2, 0).numpy(),
        "adversarial": verdicts.adversarial[0][chosen].permute(1, 2, 0).numpy(),
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


WORK: Mapping[str, Callable[[Unit, Bench, Tick], Payload]] = {
    "train": train,
    "inspect": inspect,
    "geometry": geometry,
    "layer": layer,
    "displacement": displacement,
    "attack": attack,
    "check": check_attack,
    "transfer": transfer,
    "shifted": shifted,
    "detection": detect,
    "smallest": smallest,
}
