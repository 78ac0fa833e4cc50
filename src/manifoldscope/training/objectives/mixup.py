"""Mixup."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from manifoldscope.training.objectives.mixing import Mix, check_alpha
from manifoldscope.training.objectives.objective import OBJECTIVES, Objective
from manifoldscope.vision.network import Network


@OBJECTIVES.register("mixup")
@dataclass(frozen=True, kw_only=True)
class Mixup(Objective):
    """Cross-entropy on convex combinations of images and of their labels (Zhang et al. 2018, equation 1).

    Attributes:
        alpha: of Beta(alpha, alpha), from which the share of each batch is drawn; 1 is uniform, and near 0 one of the
            two images has nearly all of it.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_alpha(self.alpha)

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        mix = Mix.drawn(len(pixels), self.alpha, generator, pixels.device)
        return mix.cross_entropy(network(mix.of(pixels)), labels)
