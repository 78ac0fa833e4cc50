"""Class manifolds of low rank."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldscope.training.objectives.objective import OBJECTIVES
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.penalties.low_rank import check_rank, low_rank


@OBJECTIVES.register("low_rank")
@dataclass(frozen=True, kw_only=True)
class LowRank(Shaping):
    """Cross-entropy, plus the variance of each class outside a flat (Sanyal et al. 2018); see `penalties.low_rank`.

    Attributes:
        strength: weight of the penalty; a negative one drives classes out of the flat.
        layer: whose activations are shaped: "penultimate", or a module by name.
        ramp: share of the training over which the strength grows from 0 to its value.
        rank: dimensions of the flat, which is the class's own.
    """

    strength: float = 1.0
    rank: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rank(self.rank)

    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        return low_rank(features, labels, rank=self.rank)
