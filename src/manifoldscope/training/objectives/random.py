"""No training: the weights as they were initialised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from manifoldscope.errors import StudyError
from manifoldscope.training.objectives.objective import OBJECTIVES, Objective
from manifoldscope.vision.network import Network


@OBJECTIVES.register("random")
@dataclass(frozen=True, kw_only=True)
class Random(Objective):
    """Untrained weights: the network as it was initialised."""

    trains: ClassVar[bool] = False

    @property
    def passes(self) -> float:
        return 0.0

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        raise StudyError("the objective 'random' is not trained")
