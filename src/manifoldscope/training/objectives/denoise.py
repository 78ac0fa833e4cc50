"""Training a network and the denoiser in front of it on noisy images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.attacks.ball import drawn
from manifoldscope.errors import StudyError
from manifoldscope.training.objectives.objective import OBJECTIVES, Objective
from manifoldscope.vision.defences import denoiser_of
from manifoldscope.vision.network import Network, as_logits


@OBJECTIVES.register("denoise", defence="denoiser")
@dataclass(frozen=True, kw_only=True)
class Denoise(Objective):
    """Cross-entropy of noisy images behind a denoiser, plus the squared error of what the denoiser gives.

    Noise is Gaussian and clipped to [0, 1], as in `input_noise`. The error is the mean over pixels of the squared
    difference between the denoised and the clean image, in pixel units, as DnCNN is trained by (Zhang et al. 2017).

    Attributes:
        std: standard deviation of the noise, in pixel units (pixels are in [0, 1]).
        weight: factor of the squared error, which is at most about std^2.
    """

    std: float = 0.25
    weight: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.std) and self.std >= 0):
            raise StudyError(f"std = {self.std}; expected a standard deviation of at least 0, in pixel units")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise StudyError(f"weight = {self.weight}; expected a factor of at least 0")

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        """As of every objective.

        Raises:
            ModelError: the network has no denoiser.
        """
        behind = denoiser_of(network)
        noise = drawn(torch.randn, pixels.shape, generator).to(pixels.device)
        denoised: Tensor = behind.front(network.normalise((pixels + self.std * noise).clamp(0, 1)))
        logits = as_logits(behind.module(denoised), len(pixels), name=network.name)
        error = (denoised - network.normalise(pixels)) * denoised.new_tensor(network.std).view(-1, 1, 1)
        return F.cross_entropy(logits, labels) + self.weight * error.square().mean()
