"""Perturbation: what may be done to an image, at one strength, in pure steps; and the registries of all there are.

An attack only proposes. It has no loop of its own: it says where images start, what a step makes of them once the
network has been asked, and when they are finished. Whoever asks the network (`engine`), and whoever counts
(`evaluation`), is somebody else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from manifoldscope.attacks.ball import Generators
from manifoldscope.errors import AttackError, StudyError, shortened, unknown
from manifoldscope.registry import Entry, Registry
from manifoldscope.settings import check_settings
from manifoldscope.tables import parameters_text
from manifoldscope.vision.network import Network, not_dense

ATTACKS = Registry("attack", package="manifoldscope.attacks")
"""Every attack: a frozen dataclass derived from `Perturbation`, whose fields are its settings."""
CORRUPTIONS = Registry("corruption", package="manifoldscope.attacks.corruptions")
"""Every common corruption, likewise: it knows nothing of the network."""

State = dict[str, Tensor]
"""What an attack remembers of n images: tensors of n rows, by name. "images" are what the network is shown next."""

Outcome = Literal["last", "any", "both"]
"""Which images count: those that a run ends with, all that the network is shown, or each for an outcome of its own."""


Iterates = Literal["both", "any"]
"""Which outcomes are asked for of an attack with iterates: of the last and of any, or of any alone."""


TENSORS = ("place", "run", "clean", "labels", "logits")
"""The tensors of `Rows`."""


@dataclass(frozen=True, eq=False)
class Rows:
    """n images under attack.

    Attributes:
        place: (n,) which they are of all images.
        run: (n,) which run of the attack it is, counted from 0.
        clean: (n, channels, height, width) in [0, 1].
        labels: (n,)
        logits: (n, n_classes) what the network says of the clean images; without columns where nobody asked.
        streams: random numbers, a stream for each image, so that what one draws depends on no other.
    """

    place: Tensor
    run: Tensor
    clean: Tensor
    labels: Tensor
    logits: Tensor
    streams: Generators

    def __len__(self) -> int:
        return len(self.place)

    def select(self, where: Tensor) -> Rows:
        """Those of `where` (k,)."""
        streams = self.streams
        if not isinstance(streams, torch.Generator):
            streams = [streams[row] for row in where.tolist()]
        return replace(self, **{name: getattr(self, name).index_select(0, where) for name in TENSORS}, streams=streams)

    def joined(self, others: Rows) -> Rows:
        """These and others."""
        streams = self.streams
        if not isinstance(streams, torch.Generator) and not isinstance(others.streams, torch.Generator):
            streams = [*streams, *others.streams]
        both = {name: torch.cat([getattr(self, name), getattr(others, name)]) for name in TENSORS}
        return replace(self, **both, streams=streams)


@dataclass(frozen=True, eq=False)
class Seen:
    """What the network said of the images of n rows.

    Attributes:
        logits: (n, n_classes)
        loss: (n,) what the attack's `loss_of` makes of them.
        gradient: like the images, of that loss; zero where the network gives NaN or infinity for it, and empty where
            the attack asks for none.
        misclassified: (n,) whether each is classified as another class than its label, or as none.
    """

    logits: Tensor
    loss: Tensor
    gradient: Tensor
    misclassified: Tensor

    def select(self, where: Tensor) -> Seen:
        """Of those of `where` (k,)."""
        gradient = self.gradient.index_select(0, where) if len(self.gradient) else self.gradient
        return Seen(self.logits[where], self.loss[where], gradient, self.misclassified[where])


class Perturbation(ABC):
    """What may be done to an image, at one strength.

    A subclass is a frozen, keyword-only dataclass that names its strength, proposes images, and bounds its budget. One
    that proposes a single image in each run needs no more than `start` and `excess`.
    """

    kind: ClassVar[str]
    """The registered name."""
    strength_setting: ClassVar[str]
    """The field that a study sweeps ("epsilon"); its plural with an s is the study file's key for a list of values."""
    counts: ClassVar[Outcome] = "last"
    """Which of its images count."""
    asks_gradients: ClassVar[bool] = False
    """Whether it asks the network for gradients."""
    alone: ClassVar[bool] = True
    """Whether what it makes of an image depends on no other image."""
    bounded: ClassVar[bool] = True
    """Whether all that it shows lies within its budget; otherwise what lies outside does not count."""
    nested: ClassVar[bool] = False
    """Whether what a smaller strength allows, a larger one allows as well."""
    ordered: ClassVar[bool] = True
    """Whether a larger strength is meant to misclassify more images."""
    norm: str | None = None
    """Of the ball that holds what it makes: "linf" or "l2"; None for what is no ball."""

    def __post_init__(self) -> None:
        """Raise AttackError where a setting is not of its type; a subclass that checks more calls it first."""
        check_settings(AttackError, self)

    # --- what it is -----------------------------------------------------------------------------------------------

    @property
    def iterative(self) -> bool:
        """Whether it has iterates, so that "last" and "any" can differ."""
        return self.counts == "both"

    @property
    def strength(self) -> float:
        """The swept value."""
        return float(getattr(self, self.strength_setting))

    @property
    def parameters(self) -> str:
        """What else defines it, as canonical text."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]  # a dataclass
        return parameters_text({k: v for k, v in settings.items() if k != self.strength_setting})

    @property
    def n_steps(self) -> int | None:
        """Gradient steps of one run; None for what is not told by their number."""
        return None

    @property
    def targeted(self) -> bool:
        """Whether it aims at a class of its choice, and not just away from the label."""
        return False

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and gradient passes an image costs at most, beside the clean one: what a forecast needs."""
        return (1, 0)

    @property
    def stages(self) -> Sequence[Perturbation]:
        """What is done one after the other, each to the images that are still robust; itself alone, as a rule."""
        return (self,)

    def n_runs(self, n_classes: int) -> int:
        """How many runs an image must be robust to."""
        return 1

    def refuse(self, shape: torch.Size, n_classes: int) -> None:  # noqa: B027  # most can be run on anything
        """Raise AttackError where it cannot be run on images of this shape, or with so few classes."""

    def prepared(self, network: Network) -> Perturbation:
        """What attacks this network; itself, as a rule."""
        return self

    # --- what it does ---------------------------------------------------------------------------------------------

    @abstractmethod
    def start(self, rows: Rows) -> State:
        """The state of images that begin a run (`rows.run`), with "images", the first that the network is shown."""

    def loss_of(self, logits: Tensor, rows: Rows, state: State) -> Tensor:
        """(n,) what it asks about, and wants the gradient of; logits are (n, n_classes)."""
        return logits.new_zeros(len(logits))

    def step(self, rows: Rows, state: State, seen: Seen) -> State:
        """The state after one step of every image, now that the network was asked about `state["images"]`."""
        raise NotImplementedError  # whose runs begin with their last image

    def finished(self, state: State) -> Tensor:
        """(n,) whether "images" are the last of their run."""
        return torch.ones(len(state["images"]), dtype=torch.bool, device=state["images"].device)

    @abstractmethod
    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        """(n,) by how much each perturbed image exceeds the budget, in the budget's unit; at most 0 within it."""

    # --- on anybody's module --------------------------------------------------------------------------------------

    def __call__(
        self, module: Network | nn.Module, images: Tensor, labels: Tensor, *, seed: int = 0, batch_size: int = 128
    ) -> Tensor:
        """Adversarial images: of each the last of the first run that succeeds, or else of the last run.

        The module is attacked in evaluation mode, and found afterwards as it was: modes, flags, gradients and buffers.

        Args:
            module: images in [0, 1] to logits (n, n_classes).
            images: (n, channels, height, width) in [0, 1], of as many channels as the module takes: an attack does not
                look at them as pictures. An `ImageSet`, which is preprocessed and shown, is grey or in colour.
            labels: (n,)
            seed: of the random numbers; an image draws the same ones in the same place.
            batch_size: images at a time.

        Returns:
            (n, channels, height, width), on the device of the images.

        Raises:
            AttackError: images that are none, or an attack that cannot be run on them or with so few classes.
            ModelError: a label for which the module has no output, images that it does not take, no class for any
                image, or what `as_logits` refuses.
        """
        from manifoldscope.attacks.calling import adversarial_images

        return adversarial_images(self, module, images, labels, seed=seed, batch_size=batch_size)

    def run(
        self,
        module: Network | nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int = 0,
        streams: Generators | None = None,
    ) -> Iterator[Iterate]:
        """The iterates of one run of all images together, from the first to the last.

        Args:
            module, images, labels, seed: as for a call.
            streams: where random numbers come from, instead of `seed`: one generator, or one for each image.
        """
        from manifoldscope.attacks.calling import iterates

        return iterates(self, module, images, labels, seed=seed, streams=streams)


@dataclass(frozen=True, eq=False)
class Iterate:
    """One iterate of a run.

    Attributes:
        images: (n, channels, height, width)
        loss: (n,) of the attack; None of the last iterate, which no step follows.
    """

    images: Tensor
    loss: Tensor | None


def make(kind: str, settings: Mapping[str, Any]) -> Perturbation:
    """The attack or corruption `kind` with these settings; the errors name what is wrong."""
    entry = registered(kind)
    perturbation: Perturbation = entry.target(**entry.validate(settings, where=kind))
    return perturbation


def registered(kind: str) -> Entry:
    """The attack or corruption of this name. Raises StudyError where there is none."""
    for registry in (CORRUPTIONS, ATTACKS):
        if kind in registry.names():
            return registry[kind]
    raise StudyError(unknown("attack or corruption", kind, [*ATTACKS.names(), *CORRUPTIONS.names()]))


def as_attack(value: object) -> Perturbation:
    """An attack or a corruption as it is. Raises AttackError for anything else, with what to pass."""
    if isinstance(value, Perturbation):
        if not value.stages:  # to nothing every image is robust
            raise AttackError(f"{value.kind} has no stages; expected at least one attack, itself as a rule")
        return value
    what = f"the class {value.__name__}" if isinstance(value, type) else shortened(repr(value))
    raise AttackError(
        f"the attack is {what}; expected one that was made, such as PGD(epsilon=8/255), or a function or another "
        "library's in external(...)"
    )


def require_pixels(images: Tensor, labels: Tensor) -> None:
    """Raise AttackError unless these are images in [0, 1], with a label for each."""
    if not (isinstance(images, Tensor) and isinstance(labels, Tensor)):
        raise AttackError(
            f"images are {type(images).__name__} and labels {type(labels).__name__}; expected a tensor of each"
        )
    if kind := not_dense(images) or not_dense(labels):
        raise AttackError(
            f"images or labels are a {kind} tensor; expected dense ones, as .to_dense() makes of sparse ones"
        )
    precise = images.dtype in (torch.float32, torch.float64)  # others round pixels by more than the budget's tolerance
    n_images = images.shape[:1]
    if images.ndim != 4 or not precise or not images.numel() or labels.shape != n_images or labels.dtype != torch.int64:
        raise AttackError(
            f"images of shape {tuple(images.shape)} and type {images.dtype}, labels of shape {tuple(labels.shape)} and "
            f"type {labels.dtype}; expected (n, channels, height, width) in [0, 1], float32 or float64, and n labels, "
            "int64"
        )
    low, high = (float(end) for end in images.detach().aminmax())
    if not (low >= 0 and high <= 1):  # also true of NaN
        raise AttackError(
            f"images lie in [{low:.8g}, {high:.8g}]; expected pixels in [0, 1], with normalisation in the network, and "
            "what rounding carried beyond brought back by .clamp(0, 1)"
        )
    if int(labels.min()) < 0:
        raise AttackError(f"label {int(labels.min())}; expected class indices from 0")
