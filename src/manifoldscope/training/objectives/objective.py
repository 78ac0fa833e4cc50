"""Objective: what a network is trained for, and the registry of all there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from manifoldscope.errors import StudyError
from manifoldscope.registry import Registry
from manifoldscope.settings import check_settings
from manifoldscope.vision.network import Network

OBJECTIVES = Registry("objective", package="manifoldscope.training.objectives")
"""Every objective: a frozen dataclass derived from `Objective`, whose fields are its settings."""

TRAINING_PASS = 1.5
"""Gradient passes that training on an image costs: the gradient of the weights costs about half a pass more."""


def check_ramp(ramp: float) -> None:
    """Raise StudyError unless it is a share of the training."""
    if not 0 <= ramp <= 1:
        raise StudyError(f"ramp = {ramp}; expected a share from 0 to 1")


def ramped(value: float, ramp: float, progress: float) -> float:
    """What a setting that grows from 0 to `value` over the share `ramp` of the training is at `progress`."""
    return value * (min(1.0, progress / ramp) if ramp else 1.0)


class Objective(ABC):
    """Turns a batch into a loss.

    A subclass is a frozen, keyword-only dataclass without state: all that it draws comes from the generator that it is
    given, so that training can be interrupted and go on as if it had not been.
    """

    trains: ClassVar[bool] = True
    """Whether it changes weights at all."""

    def __post_init__(self) -> None:
        """Raise StudyError where a setting is not of its type; a subclass that checks more calls it first."""
        check_settings(StudyError, self)

    @property
    def passes(self) -> float:
        """Gradient passes that an image costs in one epoch: what a forecast needs."""
        return TRAINING_PASS

    @property
    def training_passes(self) -> float:
        """How many of these are in training mode; the others, of an attack on what it trains on, in evaluation mode."""
        return min(self.passes, TRAINING_PASS)

    @property
    def radius(self) -> float | None:
        """Epsilon of the L-infinity ball in which it attacks what it trains on; None where it attacks nothing."""
        return None

    @abstractmethod
    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        """The loss of one batch, a scalar.

        Args:
            network: in training mode, and left in it.
            pixels: (n, channels, height, width) in [0, 1].
            labels: (n,) class indices.
            progress: share of the training that is done, from 0 to 1.
            generator: where random numbers come from; on the CPU.
        """
