"""Uniform random noise in the L-infinity ball: the control that every attack must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from manifoldscope.attacks.ball import check_epsilon, random_start
from manifoldscope.attacks.perturbation import ATTACKS, Perturbation, Rows, State
from manifoldscope.errors import AttackError


@ATTACKS.register("noise")
@dataclass(frozen=True, kw_only=True)
class UniformNoise(Perturbation):
    """Uniform noise in the L-infinity ball, without any knowledge of the network.

    Attributes:
        epsilon: half-width of the noise, in pixel units (pixels are in [0, 1]).
        draws: how many independent draws an image must be robust to.

    Raises:
        AttackError: an impossible value.
    """

    kind: ClassVar[str] = "noise"
    strength_setting: ClassVar[str] = "epsilon"
    norm = "linf"

    epsilon: float
    draws: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon)
        if self.draws < 1:
            raise AttackError(f"draws = {self.draws}; expected at least 1")

    @property
    def passes(self) -> tuple[int, int]:
        return (self.draws, 0)

    def n_runs(self, n_classes: int) -> int:
        return self.draws

    def start(self, rows: Rows) -> State:
        radius = rows.clean.new_full((len(rows),), self.epsilon)
        return {"images": random_start(rows.clean, radius, rows.streams)}

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return (perturbed - clean).abs().flatten(1).amax(1) - self.epsilon
