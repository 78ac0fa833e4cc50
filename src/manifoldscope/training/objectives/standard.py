"""Standard training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.training.objectives.objective import OBJECTIVES, Objective
from manifoldscope.vision.network import Network


@OBJECTIVES.register("standard")
@dataclass(frozen=True, kw_only=True)
class Standard(Objective):
    """Cross-entropy on clean images."""

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        return F.cross_entropy(network(pixels), labels)
