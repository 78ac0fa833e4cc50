"""Training on noisy images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.ball import drawn
from manifoldscope.errors import StudyError
from manifoldscope.training.objectives.objective import OBJECTIVES, Objective
from manifoldscope.vision.network import Network


@OBJECTIVES.register("input_noise")
@dataclass(frozen=True, kw_only=True)
class InputNoise(Objective):
    """Cross-entropy on images with Gaussian noise, clipped to [0, 1].

    To first order, noise that is not clipped penalises the Jacobian of the network (Bishop 1995).

    Attributes:
        std: standard deviation of the noise, in pixel units (pixels are in [0, 1]).
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.std) and self.std >= 0):
            raise StudyError(f"std = {self.std}; expected a standard deviation of at least 0, in pixel units")

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        noise = drawn(torch.randn, pixels.shape, generator).to(pixels.device)
        return F.cross_entropy(network((pixels + self.std * noise).clamp(0, 1)), labels)
