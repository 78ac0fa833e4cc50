"""A spectrum that follows a power law."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from manifoldscope.training.objectives.objective import OBJECTIVES
from manifoldscope.training.objectives.shaping import Shaping
from manifoldscope.training.penalties.power_law import check_law, power_law


@OBJECTIVES.register("power_law")
@dataclass(frozen=True, kw_only=True)
class PowerLaw(Shaping):
    """Cross-entropy, plus the distance of the eigenvalues from 1/n (Nassar et al. 2020); see `penalties.power_law`.

    Attributes:
        strength: weight of the penalty; a negative one drives the spectrum away from the law.
        layer: whose activations are shaped: "penultimate", or a module by name.
        ramp: share of the training over which the strength grows from 0 to its value.
        exponent: of the law n^-exponent.
        first: rank of the eigenvalue from which on the law is asked for.
    """

    strength: float = 0.1
    exponent: float = 1.0
    first: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_law(self.exponent, self.first)

    def penalty(self, features: Tensor, labels: Tensor) -> Tensor:
        return power_law(features, labels, exponent=self.exponent, first=self.first)
