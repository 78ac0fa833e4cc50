"""Maximum manifold capacity representations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldscope.training.objectives.objective import OBJECTIVES
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.penalties.mmcr import mmcr


@OBJECTIVES.register("mmcr")
@dataclass(frozen=True, kw_only=True)
class MMCR(Shaping):
    """Cross-entropy, minus the nuclear norm of the class centroids (Yerxa et al. 2023); see `penalties.mmcr`.

    Attributes:
        strength: weight of the penalty; a negative one brings the directions of the classes together.
        layer: whose activations are shaped: "penultimate", or a module by name.
        ramp: share of the training over which the strength grows from 0 to its value.
    """

    strength: float = 0.1

    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        return mmcr(features, labels)
