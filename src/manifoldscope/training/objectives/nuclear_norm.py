"""Class manifolds of few dimensions, by their nuclear norm."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldscope.training.objectives.objective import OBJECTIVES
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.penalties.nuclear_norm import nuclear_norm


@OBJECTIVES.register("nuclear_norm")
@dataclass(frozen=True, kw_only=True)
class NuclearNorm(Shaping):
    """Cross-entropy, plus the scale-free nuclear norm of the class manifolds; see `penalties.nuclear_norm`.

    Attributes:
        strength: weight of the penalty; a negative one spreads the variance of a class over more dimensions.
        layer: whose activations are shaped: "penultimate", or a module by name.
        ramp: share of the training over which the strength grows from 0 to its value.
    """

    strength: float = 0.1

    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        return nuclear_norm(features, labels)
