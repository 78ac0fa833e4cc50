"""TRADES."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.ball import drawn, projected
from manifoldscope.errors import StudyError
from manifoldscope.training.objectives.attacked import AttackedBySteps, evaluated, gradient_of
from manifoldscope.training.objectives.objective import OBJECTIVES, TRAINING_PASS
from manifoldscope.vision.network import Network

_START = 1e-3
"""Standard deviation of the noise that the ascent starts with, in pixel units: the divergence has no gradient at 0."""


@OBJECTIVES.register("trades")
@dataclass(frozen=True, kw_only=True)
class TRADES(AttackedBySteps):
    """Cross-entropy on clean images, plus `beta` times their divergence from attacked ones (Zhang et al. 2019).

    The divergence is KL(clean || attacked) between predicted probabilities, the mean over the batch (equation 5). The
    attack is an ascent of it by steps along the sign of its gradient in the L-infinity ball, from Gaussian noise with a
    standard deviation of 0.001, on the network in evaluation mode.

    Attributes:
        epsilon: radius of the ball in pixel units (pixels are in [0, 1]).
        ramp: share of the training over which epsilon grows from 0 to its value.
        steps: gradient steps for each batch; 10 in the paper.
        relative_step_size: step size as a share of epsilon; 2.5 / steps if omitted.
        beta: weight of the divergence, 1 / lambda in the paper; larger values buy robustness with clean accuracy.
    """

    beta: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise StudyError(f"beta = {self.beta}; expected a weight of at least 0, such as 6.0")

    @property
    def passes(self) -> float:
        return self.steps + 0.5 + 2 * TRAINING_PASS  # half a pass for the probabilities of the clean images

    @property
    def training_passes(self) -> float:
        return 2 * TRAINING_PASS

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        attacked = self._attacked(network, pixels, self.pgd_at(progress).resolved_step_size, progress, generator)
        clean = network(pixels)
        return F.cross_entropy(clean, labels) + self.beta * divergence(clean, network(attacked)).mean()

    def _attacked(
        self, network: Network, pixels: Tensor, step_size: float, progress: float, generator: torch.Generator
    ) -> Tensor:
        radius = pixels.new_full((len(pixels),), self.epsilon_at(progress))
        noise = drawn(torch.randn, pixels.shape, generator).to(pixels.device)
        images = projected(pixels + _START * noise, pixels, radius, "linf")
        with evaluated(network.module):
            with torch.no_grad():
                clean = network(pixels)
            for _ in range(self.steps):
                gradient = gradient_of(network, images, lambda logits: divergence(clean, logits).sum())
                images = projected(images + step_size * gradient.sign(), pixels, radius, "linf")
        return images


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """(n,) KL(first || second) in nats between the probabilities that two sets of logits (n, n_classes) give."""
    return F.kl_div(second.log_softmax(1), first.log_softmax(1), reduction="none", log_target=True).sum(1)
