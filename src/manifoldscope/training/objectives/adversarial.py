"""Adversarial training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.calling import last_images
from manifoldscope.training.objectives.attacked import AttackedBySteps
from manifoldscope.training.objectives.objective import OBJECTIVES, TRAINING_PASS
from manifoldscope.vision.network import Network


@OBJECTIVES.register("adversarial")
@dataclass(frozen=True, kw_only=True)
class Adversarial(AttackedBySteps):
    """Cross-entropy on images under PGD (Madry et al. 2018, equation 2.1), L-infinity, with a random start.

    The network is attacked in evaluation mode and trained in training mode.

    Attributes:
        epsilon: radius of the ball in pixel units (pixels are in [0, 1]).
        ramp: share of the training over which epsilon grows from 0 to its value.
        steps: PGD steps for each batch.
        relative_step_size: step size as a share of epsilon; 2.5 / steps if omitted.
    """

    @property
    def passes(self) -> float:
        return self.steps + TRAINING_PASS

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        images = last_images(self.pgd_at(progress), network, pixels, labels, generator)
        return F.cross_entropy(network(images), labels)
