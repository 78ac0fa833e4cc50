"""Classes at right angles."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldscope.training.objectives.objective import OBJECTIVES
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.penalties.orthogonal_projection import check_weight, orthogonal_projection


@OBJECTIVES.register("orthogonal_projection")
@dataclass(frozen=True, kw_only=True)
class OrthogonalProjection(Shaping):
    """Cross-entropy, plus cosines between classes (Ranasinghe et al. 2021); see `penalties.orthogonal_projection`.

    Attributes:
        strength: weight of the penalty; a negative one mixes the directions of the classes.
        layer: whose activations are shaped: "penultimate", or a module by name.
        ramp: share of the training over which the strength grows from 0 to its value.
        between: weight of pairs of different classes.
    """

    strength: float = 1.0
    between: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight(self.between)

    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        return orthogonal_projection(features, labels, between=self.between)
