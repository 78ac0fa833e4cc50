"""Fast adversarial training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.calling import last_images
from manifoldscope.attacks.fgsm import FGSM
from manifoldscope.training.objectives.attacked import Attacked
from manifoldscope.training.objectives.objective import OBJECTIVES, TRAINING_PASS
from manifoldscope.vision.network import Network


@OBJECTIVES.register("fast")
@dataclass(frozen=True, kw_only=True)
class Fast(Attacked):
    """Cross-entropy on images under FGSM with a random start (Wong, Rice and Kolter 2020, Algorithm 3).

    A step of 1.25 epsilon from a uniform random point of the L-infinity ball, brought back into it. At larger epsilons
    such training can suddenly lose all robustness to more than one step (catastrophic overfitting); the history of the
    training then shows robustness to FGSM alone. `n_fgsm` is less prone to it.

    Attributes:
        epsilon: radius of the ball in pixel units (pixels are in [0, 1]).
        ramp: share of the training over which epsilon grows from 0 to its value.
    """

    @property
    def passes(self) -> float:
        return 1 + TRAINING_PASS

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        attack = FGSM(epsilon=self.epsilon_at(progress), random_start=True)
        return F.cross_entropy(network(last_images(attack, network, pixels, labels, generator)), labels)
