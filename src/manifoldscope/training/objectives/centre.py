"""The centre loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldscope.training.objectives.objective import OBJECTIVES
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.penalties.centre import centre


@OBJECTIVES.register("centre")
@dataclass(frozen=True, kw_only=True)
class Centre(Shaping):
    """Cross-entropy, plus the squared distance from the class centroids (Wen et al. 2016); see `penalties.centre`.

    Attributes:
        strength: weight of the penalty; a negative one drives points away from their centroid, without bound.
        layer: whose activations are shaped: "penultimate", or a module by name.
        ramp: share of the training over which the strength grows from 0 to its value.
    """

    strength: float = 0.01

    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        return centre(features, labels)
