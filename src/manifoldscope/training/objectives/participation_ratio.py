"""Class manifolds of few dimensions, by their participation ratio."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldscope.training.objectives.objective import OBJECTIVES
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.penalties.participation_ratio import participation_ratio


@OBJECTIVES.register("participation_ratio")
@dataclass(frozen=True, kw_only=True)
class ParticipationRatio(Shaping):
    """Cross-entropy, plus the mean participation ratio of the class manifolds; see `penalties.participation_ratio`.

    Attributes:
        strength: weight of the penalty; a negative one spreads the variance of a class over more dimensions.
        layer: whose activations are shaped: "penultimate", or a module by name.
        ramp: share of the training over which the strength grows from 0 to its value.
    """

    strength: float = 0.1

    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        return participation_ratio(features, labels)
