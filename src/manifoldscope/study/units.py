"""From a study to its units of work: what is computed, on what it depends, and what names it.

    train      a checkpoint of one network                                   (needs nothing)
    inspect    one network on clean images: accuracy, checks, and the gate   (needs its checkpoint)
    geometry   one network and one class: every layer, measures of a class   (after inspect)
    layer      one network and one layer: what needs all classes together    (after inspect)
    attack     one network, one class, one threat at one strength            (after inspect)
    check      one network: stronger attacks on a sample, where asked for     (after inspect)
    displacement  one network, one threat at one strength: where attacked images move   (after inspect)
    smallest   one network, one class, one search for smallest perturbations   (after inspect)
    transfer   one network, one threat at one strength: its images judged by every network   (after all inspect)
    shifted    one network, another dataset of the same classes: accuracy class by class     (after inspect)
    detection  one network, a dataset of other classes, one layer: are its images noticed    (after inspect)

A class is the grain: a killed run loses one class of one attack, and a class more costs that class alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifoldscope.errors import DataError
from manifoldscope.geometry.estimate import MEASURES
from manifoldscope.robustness.selftest import N_ATTACKS, QUERIES, SAMPLE, installed_library
from manifoldscope.robustness.threat import THREATS, Threat
from manifoldscope.seeds import derive
from manifoldscope.study.challenges import ForeignPlan, SmallestPlan, ThreatPlan
from manifoldscope.study.draws import Drawn, Role
from manifoldscope.study.plan import ModelPlan, Study, models_of
from manifoldscope.study.unit import Unit
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.sources import code_digest
from manifoldscope.vision.weights import file_digest

VERSIONS = {
    "train": 1,
    "inspect": 3,
    "geometry": 4,
    "layer": 3,
    "attack": 4,
    "displacement": 5,
    "check": 3,
    "transfer": 2,
    "shifted": 1,
    "detection": 1,
    "smallest": 3,
}
"""Raise a number when the code of that kind of unit comes to give another answer."""

EXAMPLE_CLASSES = 4
"""For how many classes, the first by index, pictures are kept: example images, correlations of features.

Pictures change no number, and so are not in a key: a class that becomes an example later has none."""


SHAPE_IMAGES = 64
"""How many images are looked at for the shape of a small network."""


@dataclass(frozen=True)
class PlannedNetwork:
    """A network as the plan knows it: by name, before anything is loaded.

    Attributes:
        name: what tables call it.
        plan: its part of the study file.
        seed: its training seed; None where it is loaded.
        build: settings with which its source is called (without files).
        identity: everything that says which network it is, as JSON values.
        checkpoint: the key of the unit that trains it; None where it is loaded.
    """

    name: str
    plan: ModelPlan
    seed: int | None
    build: Mapping[str, Any]
    identity: Mapping[str, Any]
    checkpoint: str | None


def plan_units(
    study: Study, draws: Mapping[Role, Drawn], foreign: Mapping[str, Drawn] | None = None
) -> tuple[list[Unit], dict[str, PlannedNetwork]]:
    """Every unit of a study, in an order in which they can run, and its networks by name.

    `foreign` holds what was drawn of each foreign dataset, by its name; a study without any needs none.

    Two names for one network, or for one threat, give units with one key: they are computed once and read twice.

    Raises:
        ModelError: a weights file cannot be read.
    """
    units: list[Unit] = []
    networks: dict[str, PlannedNetwork] = {}
    for name, plan, seed in models_of(study):
        train = _train_unit(study, draws, name, plan, seed) if seed is not None else None
        network = _network(draws, name, plan, seed, train)
        networks[name] = network
        if train is not None:
            units.append(train)
        units += _units_of_network(study, draws, network)
        inspect = next(unit for unit in reversed(units) if unit.kind == "inspect")
        for other in study.foreign:
            units += _foreign_units(study, draws, other, (foreign or {})[other.name], network, inspect)
    inspects = tuple(unit.key for unit in units if unit.kind == "inspect")
    units += [
        _transfer_unit(study, draws, maker, list(networks.values()), threat_plan, threat, inspects)
        for threat_plan in study.threats
        if threat_plan.transfer
        for threat in threat_plan.threats()
        for maker in networks.values()
    ]
    return units, networks


def _build_settings(draws: Mapping[Role, Drawn], plan: ModelPlan) -> dict[str, Any]:
    """The source's settings without the weights; a small network takes its shape from the images unless it is given."""
    settings = {key: value for key, value in plan.settings.items() if key != "weights"}
    if plan.source.startswith("small:"):
        settings = {**_shape(draws["robustness"].images, settings), **settings}
    return settings


def _shape(images: ImageSet, given: Mapping[str, Any]) -> dict[str, int]:
    """The shape of a network for these images, as far as it is not given: colour if any of them has it.

    Raises:
        DataError: images of several sizes, or not square, and no size given.
    """
    some = range(0, len(images), -(-len(images) // SHAPE_IMAGES))
    shapes = {tuple(images.read(index).shape) for index in some}
    sides = {side for shape in shapes for side in shape[1:]}
    if "size" not in given and len(sides) > 1:
        raise DataError(
            f"images of {images.source} have sides of {min(sides)} to {max(sides)} pixels; say to which size a small "
            "network shall bring them, with size = ... in its table of [[models]]"
        )
    return {
        "channels": max(shape[0] for shape in shapes),
        "size": max(sides),
        "n_classes": max(images.class_names) + 1,
    }


def _train_unit(study: Study, draws: Mapping[Role, Drawn], name: str, plan: ModelPlan, seed: int) -> Unit:
    training = plan.training
    assert training is not None
    objective = training.made()
    schedule = (
        training.model_dump(mode="json", exclude={"seeds"}) if objective.passes else {"objective": training.objective}
    )
    drawn = draws["training"] if objective.passes else None
    inputs = {
        "version": VERSIONS["train"],
        "source": plan.source,
        "build": _build_settings(draws, plan),
        "training": schedule,
        "images": None if drawn is None else drawn.digest,
        "initialisation": derive(study.seed, "initialisation", seed),
        "seed": derive(study.seed, "training", seed),
    }
    return Unit(
        "train",
        inputs,
        names={"model": name},
        n_images=0 if drawn is None else len(drawn.images) * training.epochs,
        passes=(0.0, objective.passes),
        files=("checkpoint.safetensors",),
    )


def _network(
    draws: Mapping[Role, Drawn], name: str, plan: ModelPlan, seed: int | None, train: Unit | None
) -> PlannedNetwork:
    build = _build_settings(draws, plan)
    identity: dict[str, Any] = {"source": plan.source, "build": build}
    weights = plan.settings.get("weights")
    if weights is not None:
        file = Path(weights).expanduser()
        identity["weights"] = file_digest(file) if file.is_file() else weights
    if plan.source.startswith("python:"):
        identity["code"] = code_digest(plan.source.removeprefix("python:"))
    return PlannedNetwork(name, plan, seed, build, identity, train.key if train is not None else None)


def inspect_unit(study: Study, drawn: Drawn, network: PlannedNetwork) -> Unit:
    """The unit that looks at a network before any other does."""
    training = network.plan.training
    return Unit(
        "inspect",
        {
            "version": VERSIONS["inspect"],
            "network": network.identity,
            "images": drawn.digest,
            "batch_size": study.batch_size,
            "trained_for": None if training is None else training.objective,
        },
        needs=(network.checkpoint,) if network.checkpoint is not None else (),
        names={"model": network.name} | ({} if network.seed is None else {"replicate_of": network.plan.name}),
        n_images=len(drawn.images),
        passes=(3.0, 1.0),  # accuracy, and the checks of (at most) one batch
        files=("models.parquet", "checks.parquet"),
    )


def _units_of_network(study: Study, draws: Mapping[Role, Drawn], network: PlannedNetwork) -> list[Unit]:
    needs = (network.checkpoint,) if network.checkpoint is not None else ()
    robustness, geometry = draws["robustness"], draws["geometry"]
    inspect = inspect_unit(study, robustness, network)
    units = [inspect, *_check_units(study, robustness, network, inspect)]
    classes = robustness.images.classes
    examples = set(classes[:EXAMPLE_CLASSES])
    layers = network.plan.layers or study.layers
    single, joint = _measures(study, joint=False), _measures(study, joint=True)
    for label in classes if study.sensitivity or single else ():
        units.append(
            Unit(
                "geometry",
                {
                    "version": VERSIONS["geometry"],
                    "network": network.identity,
                    "images": geometry.digests[label],
                    "layers": layers,
                    "measures": single,
                    "sampling": _sampling(study, "halvings", "null", "curve", "extrapolate") if single else {},
                    "sensitivity": study.sensitivity,
                    "seed": study.seed,
                    "batch_size": study.batch_size,
                },
                needs=needs,
                after=(inspect.key,),
                names={**_names(network, geometry, label), "example": label in examples},
                n_images=int((geometry.images.labels == label).sum()),
                passes=(1.0, float(study.sensitivity * len(layers))),
                files=("geometry.parquet", "curves.parquet"),
            )
        )
    splits = study.sampling.reliability
    if joint or splits:
        units += [
            Unit(
                "layer",
                {
                    "version": VERSIONS["layer"],
                    "network": network.identity,
                    "images": [geometry.digests[label] for label in classes],
                    "layer": layer,
                    "measures": joint,
                    "sampling": _sampling(study, "halvings", "null", "curve") if joint else {},
                    "reliability": {"splits": splits, "measures": single} if splits else None,
                    "seed": study.seed,
                    "batch_size": study.batch_size,
                },
                needs=needs,
                after=(inspect.key,),
                names={**_layer_names(network, geometry, classes), "layer": layer},
                n_images=sum(int((geometry.images.labels == label).sum()) for label in classes),
                passes=(1.0, 0.0),
                files=("geometry.parquet", "pairs.parquet", "curves.parquet", "reliability.parquet"),
            )
            for layer in layers
        ]
    for threat_plan in study.threats:
        units += _attack_units(study, robustness, network, threat_plan, inspect)
        if threat_plan.displacement:
            units += [
                _displacement_unit(study, draws, network, threat_plan, threat, inspect, layers)
                for threat in threat_plan.threats()
            ]
    units += [
        _smallest_unit(study, robustness, network, plan, label, inspect) for plan in study.smallest for label in classes
    ]
    return units


def _smallest_unit(
    study: Study, drawn: Drawn, network: PlannedNetwork, plan: SmallestPlan, label: int, inspect: Unit
) -> Unit:
    search = plan.search()
    return Unit(
        "smallest",
        {
            "version": VERSIONS["smallest"],
            "network": network.identity,
            "images": drawn.digests[label],
            "attack": search.attack,
            "norm": search.norm,
            "parameters": search.parameters,
            "largest": search.largest,
            "seed": study.seed,
            "batch_size": study.batch_size,
        },
        needs=inspect.needs,
        after=(inspect.key,),
        names={**_names(network, drawn, label), "threat": plan.name, "strength": search.largest},
        n_images=int((drawn.images.labels == label).sum()),
        passes=(1.0 + search.passes[0], float(search.passes[1])),
        files=("smallest.parquet",),
    )


def _attack_units(
    study: Study, drawn: Drawn, network: PlannedNetwork, threat_plan: ThreatPlan, inspect: Unit
) -> list[Unit]:
    """A unit for each strength and class, in an order in which they can run.

    Where the sweep reuses verdicts, a unit needs that of the same class at the next smaller strength.
    """
    units: list[Unit] = []
    classes = drawn.images.classes
    threats = threat_plan.threats()
    reuse = threat_plan.sweep == "reuse"
    if reuse:
        threats.sort(key=lambda threat: threat.strength)
    weaker: dict[int, str] = {}  # the key of the unit of each class at the next smaller strength
    for place, threat in enumerate(threats):
        for label in classes:
            unit = Unit(
                "attack",
                {
                    "version": VERSIONS["attack"],
                    "network": network.identity,
                    "images": drawn.digests[label],
                    "threat": threat.kind,
                    "threat_version": THREATS[threat.kind].traits.get("version", 1),
                    "parameters": threat.parameters,
                    "strength": threat.strength,
                    "iterate": threat_plan.iterate,
                    "seed": study.seed,
                    "batch_size": study.batch_size,
                    **_gradients(study),
                    **({} if threat_plan.keep == "no" else {"keep": threat_plan.keep}),
                    **({"reuses": [each.strength for each in threats[:place]]} if label in weaker else {}),
                },
                needs=(*inspect.needs, *([weaker[label]] if label in weaker else [])),
                after=(inspect.key,),
                names={
                    **_names(network, drawn, label),
                    "threat": threat_plan.name,
                    "strength": threat.strength,
                    "example": label in classes[:EXAMPLE_CLASSES],
                },
                n_images=int((drawn.images.labels == label).sum()),
                passes=(1.0 + threat.passes[0], float(threat.passes[1])),
                files=("verdicts.parquet",),
            )
            units.append(unit)
            if reuse:
                weaker[label] = unit.key
    return units


def _check_units(study: Study, drawn: Drawn, network: PlannedNetwork, inspect: Unit) -> list[Unit]:
    """The unit that attacks a sample harder, where the study asks for full checks."""
    threat = study.checked_threat
    if study.checks != "full" or threat is None:
        return []
    square = THREATS["square"]
    return [
        Unit(
            "check",
            {
                "version": VERSIONS["check"],
                "network": network.identity,
                "images": drawn.digest,
                "n_images": SAMPLE,
                "threat": threat.kind,
                "threat_version": THREATS[threat.kind].traits.get("version", 1),
                "parameters": threat.parameters,
                "strength": threat.strength,
                "gradient_free": [installed_library(), square.traits.get("version", 1)],
                "seed": study.seed,
                "batch_size": study.batch_size,
            },
            needs=inspect.needs,
            after=(inspect.key,),
            names={"model": network.name, "threat": study.checked_threat_name, "strength": threat.strength},
            n_images=min(SAMPLE, len(drawn.images)),
            passes=(float(N_ATTACKS + QUERIES), float(N_ATTACKS * threat.passes[1])),
            files=("checks.parquet",),
        )
    ]


def _gradients(study: Study) -> dict[str, Any]:
    """What a key says of whose gradients attacks take."""
    return {} if study.gradients == "auto" else {"gradients": study.gradients}


def _displacement_unit(
    study: Study,
    draws: Mapping[Role, Drawn],
    network: PlannedNetwork,
    threat_plan: ThreatPlan,
    threat: Threat,
    inspect: Unit,
    layers: list[str],
) -> Unit:
    robustness, geometry = draws["robustness"], draws["geometry"]
    classes = robustness.images.classes
    return Unit(
        "displacement",
        {
            "version": VERSIONS["displacement"],
            "network": network.identity,
            "images": [robustness.digests[label] for label in classes],
            "measured": [geometry.digests[label] for label in classes],
            "layers": layers,
            "threat": threat.kind,
            "threat_version": THREATS[threat.kind].traits.get("version", 1),
            "parameters": threat.parameters,
            "strength": threat.strength,
            "seed": study.seed,
            "batch_size": study.batch_size,
            **_gradients(study),
        },
        needs=inspect.needs,
        after=(inspect.key,),
        names={
            **_layer_names(network, robustness, classes),
            "threat": threat_plan.name,
            "strength": threat.strength,
        },
        n_images=len(robustness.images),
        passes=(3.0 + threat.passes[0], float(threat.passes[1])),  # clean and attacked once more, and those measured
        files=("geometry.parquet",),
    )


def _transfer_unit(
    study: Study,
    draws: Mapping[Role, Drawn],
    maker: PlannedNetwork,
    judges: Sequence[PlannedNetwork],
    threat_plan: ThreatPlan,
    threat: Threat,
    inspects: tuple[str, ...],
) -> Unit:
    robustness = draws["robustness"]
    checkpoints = dict.fromkeys(network.checkpoint for network in (maker, *judges))
    return Unit(
        "transfer",
        {
            "version": VERSIONS["transfer"],
            "network": [maker.identity, maker.checkpoint],
            "judges": [[judge.identity, judge.checkpoint] for judge in judges],
            "images": [robustness.digests[label] for label in robustness.images.classes],
            "threat": threat.kind,
            "threat_version": THREATS[threat.kind].traits.get("version", 1),
            "parameters": threat.parameters,
            "strength": threat.strength,
            "seed": study.seed,
            "batch_size": study.batch_size,
            **_gradients(study),
        },
        needs=tuple(key for key in checkpoints if key is not None),
        after=inspects,
        names={
            "model": maker.name,
            "judges": [judge.name for judge in judges],
            "threat": threat_plan.name,
            "strength": threat.strength,
        },
        n_images=len(robustness.images),
        passes=(1.0 + threat.passes[0] + 2 * (len(judges) + 1), float(threat.passes[1])),
        files=("transfer.parquet",),
    )


def _foreign_units(
    study: Study,
    draws: Mapping[Role, Drawn],
    plan: ForeignPlan,
    drawn: Drawn,
    network: PlannedNetwork,
    inspect: Unit,
) -> list[Unit]:
    """What one network is asked of one foreign dataset."""
    robustness, geometry = draws["robustness"], draws["geometry"]
    classes = robustness.images.classes
    names = {
        "model": network.name,
        "dataset": plan.name,
        "classes": [[label, robustness.images.class_names[label]] for label in classes],
    }
    inputs = {"network": network.identity, "known": [robustness.digests[label] for label in classes]}
    n_images = len(robustness.images) + len(drawn.images)
    if plan.same_classes:
        return [
            Unit(
                "shifted",
                {
                    "version": VERSIONS["shifted"],
                    **inputs,
                    "images": [drawn.digests[label] for label in classes],
                    "batch_size": study.batch_size,
                },
                needs=inspect.needs,
                after=(inspect.key,),
                names=names,
                n_images=n_images,
                passes=(1.0, 0.0),
                files=("shifted.parquet",),
            )
        ]
    return [
        Unit(
            "detection",
            {
                "version": VERSIONS["detection"],
                **inputs,
                "known_train": [geometry.digests[label] for label in classes],
                "images": drawn.digest,
                "layer": layer,
                "batch_size": study.batch_size,
            },
            needs=inspect.needs,
            after=(inspect.key,),
            names={**names, "layer": layer},
            n_images=n_images + len(geometry.images),
            passes=(2.0, 0.0),  # activations, and outputs of all but those measured
            files=("detection.parquet",),
        )
        for layer in network.plan.layers or study.layers
    ]


def _measures(study: Study, *, joint: bool) -> list[dict[str, Any]]:
    """The measures of one class, or the joint ones, as they enter a key."""
    return [
        {**measure.model_dump(mode="json"), "version": MEASURES[measure.name].traits.get("version", 1)}
        for measure in study.measures
        if measure.joint is joint
    ]


def _sampling(study: Study, *names: str) -> dict[str, Any]:
    """Some settings of `[sampling]`, as they enter a key."""
    return {name: getattr(study.sampling, name) for name in names}


def _layer_names(network: PlannedNetwork, drawn: Drawn, classes: Sequence[int]) -> dict[str, Any]:
    return {
        "model": network.name,
        "classes": [[label, drawn.images.class_names[label]] for label in classes],
        "split": drawn.images.split,
    }


def _names(network: PlannedNetwork, drawn: Drawn, label: int) -> dict[str, Any]:
    return {
        "model": network.name,
        "class_name": drawn.images.class_names[label],
        "class_index": label,
        "split": drawn.images.split,
    }
