"""What a network is trained for: one class an objective, registered where it is defined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.ball import check_epsilon
from manifoldscope.attacks.pgd import PGD
from manifoldscope.errors import StudyError
from manifoldscope.registry import Registry
from manifoldscope.vision.network import Network

OBJECTIVES = Registry("objective", package="manifoldscope.training")
"""Every objective: a frozen dataclass whose fields are its settings."""


class Objective(Protocol):
    """Turns a batch into a loss."""

    @property
    def trains(self) -> bool:
        """Whether it changes weights at all."""
        ...

    @property
    def passes(self) -> float:
        """Gradient passes that an image costs in one epoch: what a forecast needs."""
        ...

    @property
    def radius(self) -> float | None:
        """Epsilon of the L-infinity ball in which it attacks what it trains on; None where it attacks nothing."""
        ...

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        """The loss of one batch, a scalar.

        Args:
            pixels: (n, channels, height, width) in [0, 1].
            labels: (n,) class indices.
            progress: share of the training that is done, from 0 to 1.
            generator: where random numbers come from.
        """
        ...


@OBJECTIVES.register("random")
@dataclass(frozen=True, kw_only=True)
class Random:
    """Untrained weights: the network as it was initialised."""

    trains: ClassVar[bool] = False

    @property
    def passes(self) -> float:
        return 0.0

    @property
    def radius(self) -> None:
        return None

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        raise StudyError("the objective 'random' is not trained")


@OBJECTIVES.register("standard")
@dataclass(frozen=True, kw_only=True)
class Standard:
    """Cross-entropy on clean images."""

    trains: ClassVar[bool] = True

    @property
    def passes(self) -> float:
        return 1.5  # the gradient of the weights costs about half a gradient pass more

    @property
    def radius(self) -> None:
        return None

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        return F.cross_entropy(network(pixels), labels)


@OBJECTIVES.register("adversarial")
@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Cross-entropy on images under PGD (Madry et al. 2018, equation 2.1), L-infinity, with a random start.

    The network is attacked in evaluation mode and trained in training mode.

    Attributes:
        epsilon: radius of the ball in pixel units (pixels are in [0, 1]).
        steps: PGD steps for each batch.
        relative_step_size: step size as a share of epsilon; 2.5 / steps if omitted.
        ramp: share of the training over which epsilon grows from 0 to its value; a ramp avoids the start at which a
            small network learns to answer the same for every image.
    """

    epsilon: float
    steps: int = 7
    relative_step_size: float | None = None
    ramp: float = 0.3

    trains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        if self.steps < 1:
            raise StudyError(f"steps = {self.steps}; expected at least 1 (the objective 'standard' attacks nothing)")
        if not 0 <= self.ramp <= 1:
            raise StudyError(f"ramp = {self.ramp}; expected a share from 0 to 1")

    @property
    def passes(self) -> float:
        return self.steps + 1.5

    @property
    def radius(self) -> float:
        return self.epsilon

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        epsilon = self.epsilon * (min(1.0, progress / self.ramp) if self.ramp else 1.0)
        relative = self.relative_step_size if self.relative_step_size is not None else 2.5 / self.steps

        attack = PGD(epsilon=epsilon, steps=self.steps, relative_step_size=relative)
        training = network.module.training
        network.module.eval()
        *_, last = attack.run(network, pixels, labels, streams=generator)
        network.module.train(training)
        return F.cross_entropy(network(last.images), labels)
