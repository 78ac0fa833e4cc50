"""Class manifolds that a linear readout can tell apart, as if they were balls."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldscope.training.objectives.objective import OBJECTIVES
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.penalties.ball_capacity import ball_capacity


@OBJECTIVES.register("ball_capacity")
@dataclass(frozen=True, kw_only=True)
class BallCapacity(Shaping):
    """Cross-entropy, plus the mean 1 / capacity of the class manifolds as balls; see `penalties.ball_capacity`.

    Attributes:
        strength: weight of the penalty; a negative one lowers the capacity.
        layer: whose activations are shaped: "penultimate", or a module by name.
        ramp: share of the training over which the strength grows from 0 to its value.
    """

    strength: float = 0.3

    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        return ball_capacity(features, labels)
