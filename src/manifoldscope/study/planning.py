"""From a study to its units of work: which networks it has, and what every kind of unit is asked of them.

A class is the grain, and where images are attacked some images of a class: a class or an image more costs little more
than what is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manifoldscope.errors import DataError, ModelError, StudyError
from manifoldscope.study.draws import CHUNK, Drawn, Role, of_classes
from manifoldscope.study.layers import measured_layers
from manifoldscope.study.plan import ModelPlan, Study, models_of
from manifoldscope.study.refs import ClassRef, NetworkRef
from manifoldscope.study.unit import Unit, canonical, kinds
from manifoldscope.vision.images import ImageSet, batches
from manifoldscope.vision.small import SMALL
from manifoldscope.vision.sources import SOURCES
from manifoldscope.vision.usercode import code_digest
from manifoldscope.vision.weights import file_digest

EXAMPLE_CLASSES = 4
"""For how many classes, the first by index, pictures are kept: example images, correlations of features.

Pictures change no number, and so are not in a key: a class that becomes an example later has none."""

WEIGHTS_FILES = (".bin", ".ckpt", ".npz", ".pkl", ".pt", ".pth", ".safetensors", ".tar")
"""How files of weights end."""

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
        labels: the classes that it is trained, measured and attacked on; None: on all of the study.
        gate: the keys of the units that must have succeeded before anything else is asked of it.
    """

    name: str
    plan: ModelPlan
    seed: int | None
    build: Mapping[str, Any]
    identity: Mapping[str, Any]
    labels: tuple[int, ...] | None = None
    checkpoint: str | None = None
    gate: tuple[str, ...] = ()

    @property
    def ref(self) -> NetworkRef:
        """The network as units name it."""
        return NetworkRef(self.identity, self.checkpoint, self.name, self.gate)


@dataclass
class Planning:
    """What units are planned from.

    Attributes:
        study: what is asked.
        draws: its images, by what they are for.
        others: what was drawn of other datasets, by their name.
        networks: those that are planned so far, by name.
        expanded: the layers by name of what was asked of a network.
    """

    study: Study
    draws: Mapping[Role, Drawn]
    others: Mapping[str, Drawn]
    networks: dict[str, PlannedNetwork] = field(default_factory=dict)
    expanded: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, network: PlannedNetwork) -> Planning:
        """The planning of one network: with the classes alone that it is trained on, where it is not on all."""
        if network.labels is None:
            return self
        draws = {role: of_classes(drawn, network.labels) for role, drawn in self.draws.items()}
        return replace(self, draws=draws)

    @property
    def labels(self) -> list[int]:
        """The classes, by index."""
        return self.draws["robustness"].images.classes

    def classes(self, role: Role) -> tuple[ClassRef, ...]:
        """The classes of the study, with the images that were drawn for something."""
        return tuple(self.class_of(self.draws[role], label) for label in self.labels)

    def class_of(self, drawn: Drawn, label: int) -> ClassRef:
        """The images of one class in a draw."""
        return ClassRef(
            digest=drawn.of_class(label),
            index=label,
            name=drawn.images.class_names[label],
            n_images=int((drawn.images.labels == label).sum()),
            split=drawn.images.split,
        )

    def chunks(self) -> Iterator[ClassRef]:
        """The images that are attacked, of every class `CHUNK` at a time: what is found of one rests on no other."""
        drawn = self.draws["robustness"]
        for images in self.classes("robustness"):
            for digest, part in zip(drawn.digests[images.index], batches(images.n_images, CHUNK), strict=True):
                yield replace(images, digest=digest, first=part.start, n_images=part.stop - part.start)

    def layers(self, network: PlannedNetwork) -> tuple[str, ...]:
        """The layers of a network that are measured, by name: see `measured_layers`."""
        asked = network.plan.layers or self.study.layers
        known = canonical([network.identity, asked])  # the same whatever the seed
        if known not in self.expanded:
            self.expanded[known] = measured_layers(network, asked, self.draws["robustness"].images)
        return self.expanded[known]

    def is_example(self, label: int) -> bool:
        """Whether pictures are kept of a class."""
        return label in self.labels[:EXAMPLE_CLASSES]


def plan_units(
    study: Study, draws: Mapping[Role, Drawn], others: Mapping[str, Drawn] | None = None
) -> tuple[list[Unit], dict[str, PlannedNetwork]]:
    """Every unit of a study, in an order in which they can run, and its networks by name.

    `others` holds what was drawn of other datasets, by their name; a study without any needs none.

    Two names for one network, or for one attack, give units with one key: they are computed once and read twice.

    Raises:
        StudyError: a network is to be trained on more classes than the study has.
        ModelError: a weights file is not there or cannot be read.
    """
    planning = Planning(study, draws, others or {})
    _require_weights(study)
    units: list[Unit] = []
    for name, plan, seed in models_of(study):
        network = _network(draws, name, plan, seed)
        for each in kinds():
            made = list(each.of_network(planning.of(network), network))
            units += made
            if made and each.trains:
                network = replace(network, checkpoint=made[-1].key)
            if each.gates:
                network = replace(network, gate=(*network.gate, *(unit.key for unit in made)))
        planning.networks[name] = network
    for each in kinds():
        units += each.of_study(planning)
    return units, planning.networks


def _require_weights(study: Study) -> None:
    """Refuse files of weights that are not there, before the first network is loaded.

    Raises:
        ModelError: naming them.
    """
    given = {plan.name: str(plan.settings["weights"]) for plan in study.models if plan.settings.get("weights")}
    missing = {name: file for name, file in given.items() if _is_path(file) and not Path(file).expanduser().is_file()}
    if missing:
        (name, file), *more = missing.items()
        others = ", ".join(repr(other) for _, other in more[:3]) + (", ..." if len(more) > 3 else "")
        raise ModelError(
            f"{name}: there is no file {file!r} of weights in {str(Path.cwd())!r}"
            + (f", and {len(more)} more networks are without theirs ({others})" if len(more) > 1 else "")
            + (f", and that of {more[0][0]} ({others}) is not there either" if len(more) == 1 else "")
            + "; download or train it first, or correct its path, which begins at the folder in which the command runs"
        )


def _is_path(weights: str) -> bool:
    """Whether weights are a file, and not a name that a source knows, such as IMAGENET1K_V1."""
    return "://" not in weights and ("/" in weights or Path(weights).suffix.lower() in WEIGHTS_FILES)


def _network(draws: Mapping[Role, Drawn], name: str, plan: ModelPlan, seed: int | None) -> PlannedNetwork:
    labels = _labels(draws, name, plan)
    build = _build_settings(draws, plan, labels)
    identity: dict[str, Any] = {"source": plan.source, "build": build}
    weights = plan.settings.get("weights")
    if weights is not None:
        file = Path(weights).expanduser()
        identity["weights"] = file_digest(file) if file.is_file() else weights
    if plan.source.startswith("python:"):
        identity["code"] = code_digest(plan.source.removeprefix("python:"))
    elif (version := SOURCES[plan.source.partition(":")[0]].version) != 1:
        identity["source_version"] = version
    small = plan.source.removeprefix("small:")
    if small != plan.source and small in SMALL.names() and (version := SMALL[small].version) != 1:
        identity["network_version"] = version
    if plan.defence is not None:
        identity["defence"] = plan.defence.identity
    return PlannedNetwork(name, plan, seed, build, identity, labels)


def _labels(draws: Mapping[Role, Drawn], name: str, plan: ModelPlan) -> tuple[int, ...] | None:
    """The first classes of the study, by index, where a network is trained on that many and not on all.

    Raises:
        StudyError: there are fewer.
    """
    n_classes = None if plan.training is None else plan.training.n_classes
    if n_classes is None:
        return None
    classes = draws["robustness"].images.classes
    if n_classes > len(classes):
        raise StudyError(
            f"{name} is to be trained on {n_classes} classes, but the study has {len(classes)}; lower n_classes in its "
            "training, or give data.classes more"
        )
    return tuple(classes[:n_classes])


def _build_settings(draws: Mapping[Role, Drawn], plan: ModelPlan, labels: Sequence[int] | None) -> dict[str, Any]:
    """The source's settings without the weights.

    A small network takes its shape from the images unless it is given, and whatever is trained here its classes.

    Raises:
        StudyError: fewer outputs are asked for than the classes that it is trained on need.
    """
    settings = {key: value for key, value in plan.settings.items() if key != "weights"}
    scheme, images = plan.source.partition(":")[0], draws["robustness"].images
    n_classes = 1 + max(images.class_names if labels is None else labels)
    last = max(images.classes if labels is None else labels)
    if plan.training is not None and settings.get("n_classes", n_classes) <= last:
        raise StudyError(
            f"{plan.name} has n_classes = {settings['n_classes']}, and the last class that it is trained on has the "
            f"index {last}; leave n_classes out, or, to train on some of the classes, give it in [models.training]"
        )
    if scheme == "small":
        return {**_shape(images, settings), "n_classes": n_classes, **settings}
    if plan.training is not None and "n_classes" in SOURCES[scheme].settings.model_fields:
        return {"n_classes": n_classes, **settings}
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
    return {"channels": max(shape[0] for shape in shapes), "size": max(sides)}
