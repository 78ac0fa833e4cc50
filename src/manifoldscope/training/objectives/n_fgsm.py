"""Adversarial training by one step from strong noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.ball import drawn
from manifoldscope.errors import StudyError
from manifoldscope.training.objectives.attacked import Attacked, evaluated, gradient_of
from manifoldscope.training.objectives.objective import OBJECTIVES, TRAINING_PASS
from manifoldscope.vision.network import Network


@OBJECTIVES.register("n_fgsm")
@dataclass(frozen=True, kw_only=True)
class NFGSM(Attacked):
    """Cross-entropy on images under Noise-FGSM (de Jorge et al. 2022, Algorithm 1).

    A step of epsilon from an image with uniform noise in [-noise epsilon, noise epsilon]; what results is clipped to
    [0, 1], but not to the L-infinity ball, and may lie (1 + noise) epsilon from the image.

    Attributes:
        epsilon: size of the step, and the radius of the ball in which robustness is sought, in pixel units (pixels are
            in [0, 1]).
        ramp: share of the training over which epsilon grows from 0 to its value.
        noise: half-width of the noise in units of epsilon; k in the paper.
    """

    noise: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise StudyError(f"noise = {self.noise}; expected a multiple of epsilon of at least 0, such as 2.0")

    @property
    def passes(self) -> float:
        return 1 + TRAINING_PASS

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        epsilon = self.epsilon_at(progress)
        noise = self.noise * epsilon * (2 * drawn(torch.rand, pixels.shape, generator) - 1)
        noisy = (pixels + noise.to(pixels.device)).clamp(0, 1)
        with evaluated(network.module):
            gradient = gradient_of(network, noisy, lambda logits: F.cross_entropy(logits, labels, reduction="sum"))
        return F.cross_entropy(network((noisy + epsilon * gradient.sign()).clamp(0, 1)), labels)
