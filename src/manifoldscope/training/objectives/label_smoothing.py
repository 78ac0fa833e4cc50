"""Label smoothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manifoldscope.errors import StudyError
from manifoldscope.training.objectives.objective import OBJECTIVES, Objective
from manifoldscope.vision.network import Network


@OBJECTIVES.register("label_smoothing")
@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Objective):
    """Cross-entropy on smoothed labels (Szegedy et al. 2016, section 7).

    Attributes:
        smoothing: share of each label that is spread evenly over all classes, from 0 to below 1.
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.smoothing < 1:
            raise StudyError(f"smoothing = {self.smoothing}; expected a share from 0 to below 1, such as 0.1")

    def loss(
        self, network: Network, pixels: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> Tensor:
        return F.cross_entropy(network(pixels), labels, label_smoothing=self.smoothing)
