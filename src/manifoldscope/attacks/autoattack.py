"""AutoAttack: four attacks in turn, each on the images that are still robust (Croce & Hein 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from manifoldscope.attacks.apgd import APGDCE, APGDT, at_least_one
from manifoldscope.attacks.ball import Norm, check_radius, distance
from manifoldscope.attacks.fab import FABT
from manifoldscope.attacks.perturbation import ATTACKS, Outcome, Perturbation, Rows, State
from manifoldscope.attacks.square import Square


@ATTACKS.register("autoattack", version=2)
@dataclass(frozen=True, kw_only=True)
class AutoAttack(Perturbation):
    """APGD-CE, APGD-T, FAB-T and Square in turn; an image is robust only if it is robust to all four.

    With the defaults it is what the authors call "standard".

    Attributes:
        epsilon: radius of the ball, in pixel units (pixels are in [0, 1]).
        norm: of the ball, "linf" or "l2".
        steps: gradient steps of a run of the first three.
        targets: classes at which APGD-T and FAB-T aim; all others where there are fewer.
        queries: forward passes of Square.

    Raises:
        AttackError: an impossible value; a network of fewer than 4 classes.
    """

    kind: ClassVar[str] = "autoattack"
    strength_setting: ClassVar[str] = "epsilon"
    counts: ClassVar[Outcome] = "any"
    asks_gradients: ClassVar[bool] = True

    epsilon: float
    norm: Norm = "linf"
    steps: int = 100
    targets: int = 9
    queries: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_radius(self.epsilon, self.norm)
        at_least_one(steps=self.steps, targets=self.targets, queries=self.queries)

    @cached_property
    def stages(self) -> Sequence[Perturbation]:
        epsilon, norm, steps, targets = self.epsilon, self.norm, self.steps, self.targets
        return (
            APGDCE(epsilon=epsilon, norm=norm, steps=steps),
            APGDT(epsilon=epsilon, norm=norm, steps=steps, targets=targets),
            FABT(epsilon=epsilon, norm=norm, steps=steps, targets=targets),
            Square(epsilon=epsilon, norm=norm, queries=self.queries),
        )

    @property
    def n_steps(self) -> int:
        return self.steps

    @property
    def targeted(self) -> bool:
        return True

    @property
    def passes(self) -> tuple[int, int]:
        forward, gradient = zip(*(stage.passes for stage in self.stages), strict=True)
        return (sum(forward), sum(gradient))

    def refuse(self, shape: torch.Size, n_classes: int) -> None:
        for stage in self.stages:
            stage.refuse(shape, n_classes)

    def start(self, rows: Rows) -> State:
        return self.stages[0].start(rows)  # never called: its stages are attacked with

    def excess(self, clean: Tensor, perturbed: Tensor) -> Tensor:
        return distance(clean, perturbed, self.norm) - self.epsilon
