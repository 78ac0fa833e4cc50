"""Maximal coding rate reduction."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldscope.training.objectives.objective import OBJECTIVES
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.penalties.coding_rate import check_distortion, coding_rate


@OBJECTIVES.register("coding_rate")
@dataclass(frozen=True, kw_only=True)
class CodingRate(Shaping):
    """Cross-entropy, minus the rate reduction of the class manifolds (Yu et al. 2020); see `penalties.coding_rate`.

    Attributes:
        strength: weight of the penalty; a negative one lowers the rate reduction.
        layer: whose activations are shaped: "penultimate", or a module by name.
        ramp: share of the training over which the strength grows from 0 to its value.
        squared_distortion: up to which features of length 1 are coded.
    """

    strength: float = 0.01
    squared_distortion: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distortion(self.squared_distortion)

    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        return coding_rate(features, labels, squared_distortion=self.squared_distortion)
